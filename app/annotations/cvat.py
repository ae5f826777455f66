"""CVAT for images 1.1: one XML file with masks."""

from __future__ import annotations

import re
from typing import IO
from xml.etree import ElementTree as Xml

import numpy as np
from livesam.app.annotations.values import Annotated, Dataset, Mask

CONTROL = re.compile(r"[\x00-\x1f\x7f\ufffe\uffff]")  # XML cannot say them, and files may be called so


def write(dataset: Dataset, out: IO[bytes]) -> None:
    """Write the file; CVAT takes it as "CVAT 1.1" for a task that has the images."""
    root = Xml.Element("annotations")
    Xml.SubElement(root, "version").text = "1.1"
    labels = Xml.SubElement(Xml.SubElement(Xml.SubElement(root, "meta"), "task"), "labels")
    names = list(dataset.labels)
    for i, image in enumerate(dataset.images):
        height, width = image.hw
        name = CONTROL.sub("", image.name)
        node = Xml.SubElement(root, "image", {"id": str(i), "name": name, "width": str(width), "height": str(height)})
        for one in image.objects:
            Xml.SubElement(node, "mask", _mask(one))
            names += [] if one.label in names else [one.label]
    for name in names:
        label = Xml.SubElement(labels, "label")
        Xml.SubElement(label, "name").text = name
        Xml.SubElement(label, "attributes")
    Xml.indent(root)
    Xml.ElementTree(root).write(out, encoding="utf-8", xml_declaration=True)


def _mask(one: Annotated) -> dict[str, str]:
    x0, y0, x1, y1 = one.box
    return {
        "label": one.label,
        "source": "semi-auto",
        "occluded": "0",
        "rle": ", ".join(str(run) for run in _runs(one.crop)),
        "left": str(x0),
        "top": str(y0),
        "width": str(x1 - x0),
        "height": str(y1 - y0),
        "z_order": "0",
    }


def _runs(crop: Mask) -> list[int]:
    """Lengths of runs, row by row, beginning with what is outside."""
    flat = np.concatenate([[False], crop.ravel()])
    changes = np.flatnonzero(np.diff(flat))
    return [int(run) for run in np.diff(np.concatenate([[0], changes, [crop.size]]))]
