"""Masks with one bit a pixel, as a device hands them down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from livesam.engine.values.threads import threads

MANY = 4 << 20  # pixels of all masks: below, handing them to threads takes longer than they save


@dataclass(frozen=True, slots=True, eq=False)
class PackedMasks:
    """One mask for each of P prompts on one image, one bit a pixel.

    Attributes:
        packed: uint8 ``(P, H, ceil(W / 8))`` at the image's size; the first pixel is a byte's highest bit.
        low_res_logits: float32 ``(P, 4h, 4w)`` of these masks, to feed back.
        ious: float32 ``(P,)``, the decoder's own estimates of these masks' IoU.
        original_hw: height and width of the image.
    """

    packed: npt.NDArray[np.uint8]
    low_res_logits: npt.NDArray[np.float32]
    ious: npt.NDArray[np.float32]
    original_hw: tuple[int, int]

    def mask(self, index: int) -> npt.NDArray[np.bool_]:
        """The mask of prompt ``index``, bool ``(H, W)``; unpacking takes 0.4 ms for each megapixel (one CPU core)."""
        return unpack_masks(self.packed[index], self.original_hw)


def unpack_masks(packed: npt.NDArray[np.uint8], original_hw: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Packed masks (..., H, ceil(W / 8)) back to bool (..., H, W)."""
    return np.unpackbits(packed, axis=-1, count=original_hw[1]).view(np.bool_)


def unpack_each(packed: Sequence[npt.NDArray[np.uint8]], original_hw: tuple[int, int]) -> list[npt.NDArray[np.bool_]]:
    """Several packed masks, each ``(H, ceil(W / 8))``, as bool ``(H, W)`` each in its own memory; many by threads.

    Sixty-four masks of a megapixel take one core as long as a GPU takes to make them twice over.
    """
    if len(packed) * original_hw[0] * original_hw[1] < MANY:
        return [unpack_masks(mask, original_hw) for mask in packed]
    return list(threads("unpack").map(unpack_masks, packed, [original_hw] * len(packed)))
