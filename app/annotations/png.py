"""Label maps: PNG files whose pixels are numbers."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from livesam.app.annotations.archive import write_zip
from livesam.app.annotations.values import Dataset
from PIL import Image


def write(dataset: Dataset, out: IO[bytes]) -> None:
    """Write a zip: ``labels/NAME.png`` with each pixel's label, ``objects/NAME.png`` with its object, and
    ``labels.json``, which says what the numbers are. 0 is nothing; a later object lies over an earlier one.
    """
    write_zip(_files(dataset), out)


def _files(dataset: Dataset) -> Iterator[tuple[str, bytes]]:
    number = {label: i + 1 for i, label in enumerate(dataset.labels)}
    told: dict[str, Any] = {}
    for image in dataset.images:
        labels, objects = np.zeros(image.hw, np.uint16), np.zeros(image.hw, np.uint16)
        for i, one in enumerate(image.objects):
            x0, y0, x1, y1 = one.box
            labels[y0:y1, x0:x1][one.crop] = number.setdefault(one.label, len(number) + 1)
            objects[y0:y1, x0:x1][one.crop] = i + 1
        told[image.name] = [one.label for one in image.objects]
        yield f"labels/{image.name}.png", _png(labels)
        yield f"objects/{image.name}.png", _png(objects)
    content = {"labels": {str(i): name for name, i in number.items()}, "objects": told}
    yield "labels.json", json.dumps(content, indent=1).encode()


def _png(numbers: npt.NDArray[np.uint16]) -> bytes:
    """8 bits where they are enough."""
    buffer = io.BytesIO()
    Image.fromarray(numbers.astype(np.uint8) if numbers.max(initial=0) < 256 else numbers).save(buffer, format="PNG")
    return buffer.getvalue()
