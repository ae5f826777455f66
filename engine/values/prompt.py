"""What a user says about one object: clicks, a box, an earlier mask."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Click:
    """A click at ``(x, y)`` in pixels of the original image; ``positive`` says "this belongs to the object".

    Raises:
        ValueError: a coordinate is not finite.
    """

    x: float
    y: float
    positive: bool = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.x) and math.isfinite(self.y)):
            raise ValueError(f"a click needs two finite coordinates, got ({self.x}, {self.y})")


@dataclass(frozen=True, slots=True)
class Box:
    """A box in pixels of the original image, ``x0 < x1`` and ``y0 < y1``.

    Raises:
        ValueError: a coordinate is not finite, or the box is empty or reversed.
    """

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        if not all(math.isfinite(v) for v in (self.x0, self.y0, self.x1, self.y1)):
            raise ValueError(f"a box needs four finite coordinates, got {self.as_tuple()}")
        if self.x1 <= self.x0 or self.y1 <= self.y0:
            raise ValueError(
                f"a box needs x0 < x1 and y0 < y1, got {self.as_tuple()}: give the top-left corner first, then the "
                "bottom-right one"
            )

    def as_tuple(self) -> tuple[float, float, float, float]:
        return (self.x0, self.y0, self.x1, self.y1)


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """Everything the decoder is told about one object; immutable, so undo is going back to the earlier value.

    ``mask_logits`` are low-res logits of an earlier answer, float32 ``(4h, 4w)`` for an ``h x w`` embedding.

    Raises:
        ValueError: there is no click, no box and no mask, or ``mask_logits`` is not a finite 2-D array.
    """

    clicks: tuple[Click, ...] = ()
    box: Box | None = None
    mask_logits: npt.NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if not self.clicks and self.box is None and self.mask_logits is None:
            raise ValueError("a prompt needs at least one click, a box or mask logits, got none of them")
        if self.mask_logits is not None and (self.mask_logits.ndim != 2 or not np.isfinite(self.mask_logits).all()):
            raise ValueError(f"mask_logits must be a finite 2-D array, got shape {self.mask_logits.shape}")

    def with_click(self, click: Click) -> Prompt:
        """This prompt and one more click."""
        return replace(self, clicks=(*self.clicks, click))

    def with_mask(self, mask_logits: npt.NDArray[np.float32] | None) -> Prompt:
        """This prompt with the low-res logits of the previous answer fed back."""
        return replace(self, mask_logits=mask_logits)
