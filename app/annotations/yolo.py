"""YOLO segmentation: of each image a text, of each object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import IO

from livesam.app.annotations.archive import write_zip
from livesam.app.annotations.outline import joined, rings
from livesam.app.annotations.values import AnnotatedImage, Dataset


def write(dataset: Dataset, out: IO[bytes]) -> None:
    """Write a zip: ``labels/NAME.txt``, and ``data.yaml`` with the names.

    A line has one polygon, so the parts of an object are joined by bridges without width, and holes are filled.

    Raises:
        ValueError: two images have names that differ in the suffix alone, and YOLO has one text for both.
    """
    write_zip(_files(dataset), out)


def _files(dataset: Dataset) -> Iterator[tuple[str, bytes]]:
    number = {label: i for i, label in enumerate(dataset.labels)}
    taken: dict[str, str] = {}
    for image in dataset.images:
        stem = image.name.rpartition(".")[0] or image.name
        other = taken.setdefault(stem, image.name)
        if other != image.name:
            raise ValueError(f"YOLO has one text for {other} and {image.name}: rename one, or export another format")
        yield f"labels/{stem}.txt", _lines(image, number).encode()
    names = "".join(f"  {i}: {json.dumps(name, ensure_ascii=False)}\n" for name, i in number.items())
    yield "data.yaml", f"path: .\ntrain: images\nval: images\nnames:\n{names}".encode()


def _lines(image: AnnotatedImage, number: dict[str, int]) -> str:
    lines = []
    for one in image.objects:
        corners = (joined(rings(one.crop)[0]) + one.box[:2]) / (image.hw[1], image.hw[0])
        said = " ".join(f"{value:.6f}" for value in corners.ravel())
        lines.append(f"{number.setdefault(one.label, len(number))} {said}\n")
    return "".join(lines)
