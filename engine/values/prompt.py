"""What a user says about one object: clicks, a box, an earlier mask."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Click:
    """A click at ``(x, y)`` in pixels of the original image; ``positive`` says "this belongs to the object".

    ``positive`` is a bool, or 1 or 0 as SAM's point labels.

    Raises:
        ValueError: a coordinate is not a finite number, or ``positive`` is something else.
    """

    x: float
    y: float
    positive: bool = True

    def __post_init__(self) -> None:
        if not (_is_finite(self.x) and _is_finite(self.y)):
            raise ValueError(f"a click needs two finite coordinates, got ({self.x!r}, {self.y!r})")
        _plain(self, "x", "y")
        positive: Any = self.positive
        if positive is not True and positive is not False:
            if not isinstance(positive, int | np.integer | np.bool_) or positive not in (0, 1):
                raise ValueError(f"positive is True (on the object) or False (beside it), got {positive!r}")
            object.__setattr__(self, "positive", bool(positive))


@dataclass(frozen=True, slots=True)
class Box:
    """A box in pixels of the original image, ``x0 < x1`` and ``y0 < y1``.

    Raises:
        ValueError: a coordinate is not a finite number, or the box is empty or reversed.
    """

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        if not all(_is_finite(v) for v in self.as_tuple()):
            raise ValueError(f"a box needs four finite coordinates, got {self.as_tuple()}")
        _plain(self, "x0", "y0", "x1", "y1")
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

    ``mask_logits`` are low-res logits of an earlier answer, ``(4h, 4w)`` for an ``h x w`` embedding; kept as float32.

    Raises:
        ValueError: there is no click, no box and no mask; ``clicks`` are no sequence of ``Click``, ``box`` is no
            ``Box``, or ``mask_logits`` is not a finite 2-D array of floating point numbers.
    """

    clicks: tuple[Click, ...] = ()
    box: Box | None = None
    mask_logits: npt.NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.clicks, tuple):
            object.__setattr__(self, "clicks", _as_tuple(self.clicks))
        for click in self.clicks:
            if not isinstance(click, Click):
                raise ValueError(f"a prompt's clicks are Click(x, y, positive), got {click!r}")
        if self.box is not None and not isinstance(self.box, Box):
            raise ValueError(f"a prompt's box is a Box(x0, y0, x1, y1), got {self.box!r}")
        if self.mask_logits is not None:
            object.__setattr__(self, "mask_logits", _logits(self.mask_logits))
        elif not self.clicks and self.box is None:
            raise ValueError("a prompt needs at least one click, a box or mask logits, got none of them")

    def with_click(self, click: Click) -> Prompt:
        """This prompt and one more click."""
        return replace(self, clicks=(*self.clicks, click))

    def with_mask(self, mask_logits: npt.NDArray[np.float32] | None) -> Prompt:
        """This prompt with the low-res logits of the previous answer fed back."""
        return replace(self, mask_logits=mask_logits)


def _is_finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except (TypeError, ValueError, OverflowError):  # text, None, an array; an integer beyond any float
        return False


def _plain(value: Click | Box, *names: str) -> None:
    """Make NumPy's and other numbers Python's, which JSON can hold."""
    for name in names:
        number = getattr(value, name)
        if type(number) not in (int, float):
            object.__setattr__(value, name, float(number))


def _as_tuple(clicks: Any) -> tuple[Any, ...]:
    if isinstance(clicks, Sequence) and not isinstance(clicks, str):
        return tuple(clicks)
    raise ValueError(f"a prompt's clicks are a sequence of Click(x, y, positive), got {clicks!r}")


def _logits(mask: Any) -> npt.NDArray[np.float32]:
    if not isinstance(mask, np.ndarray) or mask.dtype.kind != "f":
        got = mask.dtype if isinstance(mask, np.ndarray) else type(mask).__name__
        raise ValueError(
            f"mask_logits are logits, floating point numbers above 0 on the object, got {got}: give an answer's "
            "low_res_logits, not its mask"
        )
    if mask.ndim != 2 or not np.isfinite(mask).all():
        raise ValueError(f"mask_logits must be a finite 2-D array, got shape {mask.shape}")
    return mask.astype(np.float32, copy=False)
