"""A part of an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from livesam.engine.values.prompt import Click


@dataclass(frozen=True, slots=True)
class Window:
    """Whole pixels of an image, ``x0 <= x < x1`` and ``y0 <= y < y1``.

    Raises:
        ValueError: it is empty.
    """

    x0: int
    y0: int
    x1: int
    y1: int

    def __post_init__(self) -> None:
        if not (0 <= self.x0 < self.x1 and 0 <= self.y0 < self.y1):
            raise ValueError(f"a window needs 0 <= x0 < x1 and 0 <= y0 < y1, got {self}")

    @classmethod
    def whole(cls, hw: tuple[int, int]) -> Window:
        """All of an image of this height and width."""
        return cls(0, 0, hw[1], hw[0])

    @property
    def hw(self) -> tuple[int, int]:
        return (self.y1 - self.y0, self.x1 - self.x0)

    @property
    def part(self) -> tuple[slice, slice]:
        """Its rows and columns, to index an image with."""
        return (slice(self.y0, self.y1), slice(self.x0, self.x1))

    def clicks(self, clicks: Sequence[Click]) -> tuple[Click, ...]:
        """The clicks in it, in its own pixels."""
        return tuple(
            Click(click.x - self.x0, click.y - self.y0, click.positive)
            for click in clicks
            if self.x0 <= click.x < self.x1 and self.y0 <= click.y < self.y1
        )

    def within(self, hw: tuple[int, int]) -> bool:
        """Whether it fits into an image of this height and width."""
        return self.x1 <= hw[1] and self.y1 <= hw[0]
