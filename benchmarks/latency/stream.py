"""A click stream like a person's: thinking, quick corrections, and hovering at 30 a second."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Kind = Literal["click", "hover"]


@dataclass(frozen=True, slots=True)
class Event:
    """One request for a mask.

    Attributes:
        due_s: seconds after the stream's start at which the user acts.
        kind: ``click`` adds to the current object; ``hover`` asks for a preview of one click and keeps nothing.
        x, y: place as a share of width and height, in ``[0, 1)``.
        positive: the click's label.
        new_object: the user accepts what was there and starts the next object with this click.
    """

    due_s: float
    kind: Kind
    x: float
    y: float
    positive: bool = True
    new_object: bool = False


@dataclass(frozen=True)
class Pace:
    """How the user behaves; the shares are of actions, an action being one click, one burst or one hover sweep."""

    think_ms: float = 350.0
    think_spread: float = 0.6
    burst_share: float = 0.15
    burst_gap_ms: float = 120.0
    hover_share: float = 0.06
    hover_hz: float = 30.0
    clicks_an_object: int = 4

    def to_json(self) -> dict[str, float]:
        """As a JSON object."""
        return asdict(self)


def click_stream(count: int, seed: int = 0, pace: Pace | None = None) -> tuple[Event, ...]:
    """``count`` events, the same for the same seed.

    Think times are log-normal around ``think_ms`` and at most ten times it; a burst is 2 to 4 clicks, a hover sweep
    0.3 to 1 second along a straight line.

    Raises:
        ValueError: ``count`` is below 1.
    """
    if count < 1:
        raise ValueError(f"a click stream needs at least one click, got {count}")
    pace = pace or Pace()
    rng = np.random.default_rng(seed)
    events: list[Event] = []
    now_s, in_object = 0.0, 0
    while len(events) < count:
        think = min(10.0, math.exp(pace.think_spread * rng.standard_normal()))
        now_s += pace.think_ms * think / 1000
        draw = rng.random()
        if draw < pace.hover_share and events:
            start, end = rng.random(2), rng.random(2)
            steps = int(rng.integers(round(0.3 * pace.hover_hz), round(pace.hover_hz) + 1))
            for step in range(max(1, steps)):
                x, y = start + (end - start) * step / max(1, steps)
                events.append(Event(now_s, "hover", float(x), float(y)))
                now_s += 1 / pace.hover_hz
            continue
        clicks = int(rng.integers(2, 5)) if draw < pace.hover_share + pace.burst_share else 1
        for _ in range(clicks):
            first = in_object == 0
            x, y = rng.random(2)
            events.append(Event(now_s, "click", float(x), float(y), bool(first or rng.random() < 0.6), first))
            in_object = (in_object + 1) % pace.clicks_an_object
            now_s += pace.burst_gap_ms / 1000
    return tuple(events[:count])


def picture(height: int = 768, width: int = 1024, seed: int = 0) -> npt.NDArray[np.uint8]:
    """A synthetic picture, RGB uint8 ``(height, width, 3)``: bright ellipses on a textured ground."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    out = np.empty((height, width, 3), np.float32)
    out[:] = 60 + 30 * np.sin(x / 17)[..., None] + 12 * rng.standard_normal((height, width, 1))
    for _ in range(9):
        cx, cy = rng.random(2) * (width, height)
        rx, ry = rng.uniform(0.05, 0.18, 2) * min(height, width)
        out[((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1] = rng.uniform(40, 255, 3)
    return np.clip(out, 0, 255).astype(np.uint8)
