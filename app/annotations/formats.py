"""The formats by their names. A new one is a file beside this, and its line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import IO

from livesam.app.annotations.values import Dataset


@dataclass(frozen=True, slots=True)
class Format:
    """A format that can be written.

    Attributes:
        module, function: beside this one; ``write(dataset, out)`` or the like.
        suffix: of the file.
        purpose: one line.
    """

    module: str
    suffix: str
    purpose: str
    function: str = "write"

    def write(self, dataset: Dataset, out: IO[bytes]) -> None:
        """Write a data set to a binary file.

        Raises:
            LivesamError: a library that it needs is not installed.
        """
        getattr(import_module(f"livesam.app.annotations.{self.module}"), self.function)(dataset, out)


EXPORTS: dict[str, Format] = {
    "coco": Format("coco", ".json", "COCO instances: polygons where they say the same as the mask, RLE where not"),
    "coco-rle": Format("coco", ".json", "COCO instances, all as RLE", "write_rle"),
    "png": Format("png", ".zip", "label maps: of each image a PNG with the label's number, and one with the object's"),
    "labelme": Format("labelme", ".zip", "labelme: of each image a JSON with masks"),
    "yolo": Format("yolo", ".zip", "YOLO segmentation: of each image a text with polygons, and data.yaml"),
    "cvat": Format("cvat", ".xml", "CVAT for images 1.1, with masks"),
}


def _reader(module: str) -> Callable[[bytes], Dataset]:
    def read(data: bytes) -> Dataset:
        found: Dataset = import_module(f"livesam.app.annotations.{module}").read(data)
        return found

    return read


# ``read(data)`` of the module; ValueError says what is wrong with the file.
IMPORTS: dict[str, Callable[[bytes], Dataset]] = {name: _reader(name) for name in ("coco", "labelme")}
