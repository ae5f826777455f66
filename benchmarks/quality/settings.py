"""What decides the figures of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from livesam.benchmarks.quality.datasets import MIN_AREA


@dataclass(frozen=True, slots=True)
class Settings:
    """What decides the figures of a run, apart from the data.

    Attributes:
        method: ``frozen``, ``grabcut`` or a method of ``livesam.adapter``, e.g. ``paper/ca-reset``.
        model: the model's name; empty for ``grabcut``.
        seed: decides the order of the objects, which of them a limit keeps, and whatever a method draws.
        target_iou: a mask this good is accepted.
        max_clicks: the user gives up after so many clicks.
        limit: at most so many objects a set.
        min_area: smaller objects are left out; share of the image.
        only: objects of this class alone; empty for all.
        details: whatever else decides the figures: token rule, runtime, weights' hash, the method's own numbers.
    """

    method: str
    model: str
    seed: int = 0
    target_iou: float = 0.85
    max_clicks: int = 20
    limit: int | None = None
    min_area: float = MIN_AREA
    only: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
