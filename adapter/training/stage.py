"""The stages of a training run."""

from __future__ import annotations

import math
from dataclasses import dataclass

FORM = "SIZExIMAGES[,SIZExIMAGES...]:LENGTH:OBJECTS:CLICKS:LR:LR_END, LENGTH in steps, or in seconds with an s"


@dataclass(frozen=True, slots=True)
class Stage:
    """One stretch of training at a falling rate.

    Attributes:
        sizes: input size in pixels and images a step; several take turns.
        length: steps, or seconds where ``timed``.
        objects: masks an image.
        clicks: the most in a sequence.
        lr, lr_end: the learning rate falls from one to the other by half a cosine.
    """

    sizes: tuple[tuple[int, int], ...]
    length: float
    timed: bool
    objects: int
    clicks: int
    lr: float
    lr_end: float

    @classmethod
    def parse(cls, text: str) -> Stage:
        """A stage from its command line form.

        Raises:
            ValueError: it is not of that form.
        """
        try:
            sizes, length, objects, clicks, lr, lr_end = text.split(":")
            pairs = [tuple(int(n) for n in pair.split("x")) for pair in sizes.split(",")]
            stage = cls(
                tuple((size, images) for size, images in pairs), float(length.rstrip("s")), length.endswith("s"),
                int(objects), int(clicks), float(lr), float(lr_end),
            )  # fmt: skip
        except ValueError as error:
            raise ValueError(f"a stage is {FORM}; got {text!r}") from error
        if any(size % 32 or size <= 0 or images < 1 for size, images in stage.sizes):
            raise ValueError(f"sizes are multiples of 32 with one image or more, got {sizes!r}")
        if stage.length <= 0 or stage.objects < 1 or stage.clicks < 1:
            raise ValueError(f"length, objects and clicks are positive, got {text!r}")
        return stage

    def __str__(self) -> str:
        """The form that ``parse`` reads."""
        sizes = ",".join(f"{size}x{images}" for size, images in self.sizes)
        length = f"{self.length:.10g}{'s' if self.timed else ''}"
        return f"{sizes}:{length}:{self.objects}:{self.clicks}:{self.lr:.10g}:{self.lr_end:.10g}"

    def part(self, steps: int, seconds: float) -> float:
        """How much of the stage is done, 0 to 1."""
        return min(1.0, (seconds if self.timed else steps) / self.length)

    def rate(self, part: float) -> float:
        """The learning rate there."""
        return self.lr_end + (self.lr - self.lr_end) * 0.5 * (1 + math.cos(math.pi * part))

    def turn(self, step: int) -> tuple[int, int]:
        """Input size and images of a step."""
        return self.sizes[step % len(self.sizes)]
