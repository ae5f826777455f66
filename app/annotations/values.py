"""Annotations, as every format is written from and read into."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Annotated:
    """One object.

    Attributes:
        label: what it is.
        box: x0, y0, x1, y1 of its mask in whole pixels; x1 and y1 are the first beside it.
        crop: the mask in the box, bool ``(y1 - y0, x1 - x0)``.
        id: a number of its own.
    """

    label: str
    box: tuple[int, int, int, int]
    crop: Mask
    id: int = 0

    @property
    def area(self) -> int:
        """Pixels in it."""
        return int(self.crop.sum())

    def mask(self, hw: tuple[int, int]) -> Mask:
        """The mask of the whole image, bool ``(H, W)``."""
        whole = np.zeros(hw, np.bool_)
        x0, y0, x1, y1 = self.box
        whole[y0:y1, x0:x1] = self.crop
        return whole

    @classmethod
    def of(cls, label: str, mask: Mask) -> Annotated | None:
        """From a mask of the whole image; None where it is empty."""
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not rows.size:
            return None
        x0, y0, x1, y1 = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
        return cls(label, (x0, y0, x1, y1), mask[y0:y1, x0:x1].copy())


@dataclass(frozen=True, slots=True, eq=False)
class AnnotatedImage:
    """One image and what is in it.

    Attributes:
        name: its path in the folder, with slashes.
        hw: height and width in pixels.
        objects: in the order in which they were accepted; a later one lies over an earlier one.
        path: the file, where it is at hand.
        problems: what of it could not be read, a sentence each.
    """

    name: str
    hw: tuple[int, int]
    objects: tuple[Annotated, ...] = ()
    path: Path | None = None
    problems: tuple[str, ...] = ()

    @classmethod
    def unread(cls, name: str, problem: str) -> AnnotatedImage:
        """What stands for a file that could not be read: it has no size."""
        return cls(name, (0, 0), problems=(problem[:300],))


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Images, which may come one by one, and the labels in their order."""

    labels: tuple[str, ...]
    images: Iterable[AnnotatedImage]


@dataclass(frozen=True, slots=True)
class Label:
    """What objects may be.

    Attributes:
        name: unique.
        color: ``#rrggbb``.
    """

    name: str
    color: str


@dataclass(slots=True)
class Imported:
    """What an import took.

    Attributes:
        objects, images: how many.
        skipped: what was left out, a sentence each.
    """

    objects: int = 0
    images: int = 0
    skipped: list[str] = field(default_factory=list)
