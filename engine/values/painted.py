"""A mask that a user painted, as it is kept while its object is open."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, eq=False)
class Painted:
    """One bit a pixel of the mask's bounding box: an object may have hundreds of strokes, and an image 64 Mpx.

    Attributes:
        hw: height and width of the image.
        box: x0, y0, x1, y1 in whole pixels; x1 and y1 are the first beside it.
        bits: uint8, rows of the box, each padded to whole bytes.
    """

    hw: tuple[int, int]
    box: tuple[int, int, int, int]
    bits: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, mask: npt.NDArray[np.bool_]) -> Painted:
        """Of a mask of the image, bool ``(H, W)``."""
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        hw = (mask.shape[0], mask.shape[1])
        if not rows.size:
            return cls(hw, (0, 0, 0, 0), np.zeros((0, 0), np.uint8))
        x0, y0, x1, y1 = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
        return cls(hw, (x0, y0, x1, y1), np.packbits(mask[y0:y1, x0:x1], axis=1))

    def mask(self) -> npt.NDArray[np.bool_]:
        """The mask of the image, bool ``(H, W)``; made anew."""
        x0, y0, x1, y1 = self.box
        mask = np.zeros(self.hw, np.bool_)
        if self.bits.size:
            mask[y0:y1, x0:x1] = np.unpackbits(self.bits, axis=1, count=x1 - x0)
        return mask
