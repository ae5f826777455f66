"""Logits drawn to the image's own edges: what ragged borders, islands and holes of a coarse mask give way to.

A decoder scales its map up by transposed convolutions without overlap, so where it is unsure its mask falls into blocks
of 2 x 2 and 4 x 4 cells. The guided filter (He, Sun, Tang, "Guided Image Filtering", TPAMI 2013, equations 19 to 21)
replaces the logits by a linear function of the image's colours, fitted in every small window: even where colours are
even, and with its steps where theirs are. A closed form of box filters, on the grid of the low-res logits.

It is for decoders with coarse masks, such as nano's 128 x 128, and off unless asked for (``Look(edges=True)``).
"""

from __future__ import annotations

from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

Logits = npt.NDArray[np.float32]
Colours = npt.NDArray[np.float32]

# Chosen on validation sets: wide enough to bridge blocks of 4 x 4 cells, narrow enough to keep objects of few cells.
RADIUS = 1 / 64  # of a window, of the side of the low-res logits
SOFTNESS = 1e-3  # variance of colours (of 1) below which they count as even


class EdgeFilter:
    """Draws logits to the edges of one image.

    Args:
        colours: float32 ``(rows, columns, 3)``, 0 to 255, of ``low_res_colours``.
        side: of the low-res logits, in cells.
    """

    def __init__(self, colours: Colours, side: int) -> None:
        self._guide = colours / np.float32(255)
        self._window = (2 * max(1, round(RADIUS * side)) + 1,) * 2

    def prepare(self) -> None:
        """Compute what every answer on the image needs, which the first one does otherwise."""
        _ = self._statistics

    def drawn(self, logits: Logits) -> Logits:
        """The logits, drawn to edges: a new array, but the same one where they are not finite. Deterministic.

        Args:
            logits: float32 ``(4h, 4w)``; what is beyond the colours is padding and stays.
        """
        if not np.isfinite(logits).all():
            return logits
        rows, columns = self._guide.shape[:2]
        seen = np.ascontiguousarray(logits[:rows, :columns])
        means, inverses = self._statistics
        level = self._mean(seen)
        covariances = self._mean(self._guide * seen[..., None]) - means * level[..., None]
        slopes = np.einsum("ijcd,ijd->ijc", inverses, covariances)
        offsets = level - np.einsum("ijc,ijc->ij", slopes, means)
        result = logits.copy()
        result[:rows, :columns] = np.einsum("ijc,ijc->ij", self._mean(slopes), self._guide) + self._mean(offsets)
        return result

    @cached_property
    def _statistics(self) -> tuple[Colours, Colours]:
        """Every window's mean colour ``(rows, columns, 3)`` and inverse covariance ``(..., 3, 3)``."""
        means = self._mean(self._guide)
        covariances = np.empty((*means.shape, 3), np.float32)
        for channel in range(3):
            products = self._mean(self._guide * self._guide[..., channel, None])
            covariances[..., channel] = products - means * means[..., channel, None]
        inverses = np.linalg.inv(covariances + SOFTNESS * np.eye(3, dtype=np.float32))
        return means, np.asarray(inverses, np.float32)

    def _mean(self, maps: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.asarray(cv2.blur(maps, self._window), np.float32)
