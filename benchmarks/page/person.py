"""A person at the page, simulated: clicks come from the truth, one at a time, and the next object follows."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from livesam.adapter.oracle import next_click
from livesam.benchmarks.page.browser import Visitor
from livesam.engine.values.prompt import Click

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Person:
    """How patient it is.

    Attributes:
        good_enough: the mask is accepted from this IoU with the truth on.
        most_clicks: or after so many clicks, as it is.
        pause_s: between two clicks; learning goes on meanwhile, as it does while somebody looks.
    """

    good_enough: float = 0.9
    most_clicks: int = 20
    pause_s: float = 1.0

    def annotate(self, visitor: Visitor, truth: Mask) -> tuple[int, float]:
        """Click until the object is right, and accept it; the clicks that took, and the mask's IoU with the truth."""
        said: list[Click] = []
        shown: Mask = np.zeros_like(truth)
        while len(said) < self.most_clicks and iou(shown, truth) < self.good_enough:
            click = next_click(truth, shown, visited=said)
            if click is None:
                break
            time.sleep(self.pause_s)
            visitor.click(click.x, click.y, click.positive)
            painted = visitor.painted()
            shown = np.zeros_like(truth) if painted is None else painted
            said.append(click)
        time.sleep(self.pause_s)
        visitor.key("Enter")
        return len(said), iou(shown, truth)


def iou(one: Mask, other: Mask) -> float:
    """Of two masks; 1 for two empty ones."""
    union = int((one | other).sum())
    return float((one & other).sum()) / union if union else 1.0
