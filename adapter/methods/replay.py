"""Finished objects as lessons, and the memory of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Label:
    """What is known about a view of an object, on the grid of the low-res logits.

    Attributes:
        target: ``(4h, 4w)``, in 0..1.
        weight: ``(4h, 4w)``, 0 in the padding and where nobody knows.
    """

    target: Tensor
    weight: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """A prompt on a finished object: what the late layers get of it, and what they should make of that.

    Attributes:
        queries: float16 ``(5, 256)``, of ``two_way``.
        image: float16 ``(h*w, 256)``, likewise.
        label: of the view in which the prompt was given.
        xy: places of the clicks in -1..1, ``(K, 2)``.
        positive: 1 or 0 for each click, ``(K,)``.
        first: one of the multi-mask tokens is shown for this prompt, as after a first click; else token 0.
        trust: how much the lesson counts; 1 for a mask that was accepted.
    """

    queries: Tensor
    image: Tensor
    label: Label
    xy: Tensor
    positive: Tensor
    first: bool
    trust: float


@dataclass(slots=True, eq=False)
class Example:
    """A finished object.

    Attributes:
        first, later: its lessons, by the token that is shown; in no order.
        scores: mean IoU by weights' name, for the gate.
    """

    first: tuple[Lesson, ...]
    later: tuple[Lesson, ...]
    scores: dict[str, float] = field(default_factory=dict)

    @property
    def exam(self) -> tuple[Lesson, ...]:
        """What the gate asks."""
        return (*self.first[:3], *self.later[:5])

    @property
    def megabytes(self) -> float:
        lessons = (*self.first, *self.later)
        return sum(t.numel() * t.element_size() for lesson in lessons for t in (lesson.queries, lesson.image)) / 2**20


class Memory:
    """The last finished objects, of which batches are drawn; bounded by count and by size."""

    def __init__(self, count: int, megabytes: float) -> None:
        self._examples: deque[Example] = deque(maxlen=count)
        self._megabytes = megabytes

    def __len__(self) -> int:
        return len(self._examples)

    def __iter__(self) -> Iterator[Example]:
        return iter(self._examples)

    def add(self, example: Example) -> None:
        """Keep an object, the newest from now on; the oldest go where there is no room."""
        self._examples.append(example)
        while len(self._examples) > 1 and sum(kept.megabytes for kept in self._examples) > self._megabytes:
            self._examples.popleft()

    def clear(self) -> None:
        self._examples.clear()

    def draw(self, count: int, newest: float, first: float, rng: np.random.Generator) -> list[Lesson]:
        """Lessons at random.

        Args:
            newest: the share that the newest object gets beside its part in all of them.
            first: the share of first clicks.
        """
        drawn = []
        for _ in range(count):
            of_newest = rng.random() < newest
            example = self._examples[-1 if of_newest else int(rng.integers(len(self._examples)))]
            one, other = (example.first, example.later) if rng.random() < first else (example.later, example.first)
            pool = one or other
            drawn.append(pool[int(rng.integers(len(pool)))])
        return drawn
