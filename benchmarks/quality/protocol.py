"""One simulated annotator on one object: click, look, click again until the mask is good enough.

Every predictor runs in this loop with the same oracle, so methods differ only in what they answer. RITM's evaluation
(``isegm/inference/evaluation.py``): IoU at the image's own size after every click, stop at the target or at the limit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from livesam.adapter.oracle import next_click
from livesam.benchmarks.quality.datasets import Image, LabelledObject, Mask
from livesam.engine.values.prompt import Click


class Predictor(Protocol):
    """Whatever turns clicks into a mask. The evaluator calls, for every set, image, object and click::

        begin_set -> (begin_image -> begin_object -> (click -> after_click)* -> finish_object)*

    ``adapts`` is False where no answer depends on earlier objects; then a run may be resumed inside a set.
    """

    @property
    def adapts(self) -> bool: ...

    def begin_set(self, name: str, seed: int) -> None:
        """A new domain: go back to the start state, whatever was learnt before."""
        ...

    def begin_image(self, image: Image) -> None:
        """The image of the next object."""
        ...

    def begin_object(self) -> None: ...

    def click(self, clicks: tuple[Click, ...]) -> Mask:
        """The mask for all clicks so far, bool ``(H, W)``."""
        ...

    def after_click(self, clicks: tuple[Click, ...], last: bool) -> None:
        """Time to learn from a click, after its mask was shown; ``last`` where no further click will come."""
        ...

    def finish_object(self, clicks: tuple[Click, ...], accepted: Mask | None) -> None:
        """The object is done; ``accepted`` is the mask that reached the target, None where the user gave up."""
        ...

    def stats(self) -> dict[str, Any]:
        """What the predictor counted since ``begin_set``; goes into the result as it is."""
        ...


@dataclass(frozen=True, slots=True)
class ObjectRecord:
    """One object's trace.

    Attributes:
        name: the object, ``stem#id``.
        ious: IoU after each click.
        reached: the target was reached.
        clicks: ``(x, y, positive)`` of each click.
        click_ms: time to each answer.
        step_ms: time spent in learning after each click; the last entry holds the learning from the finished object.
        encode_ms: time spent on the image before the first click.
    """

    name: str
    ious: tuple[float, ...]
    reached: bool
    clicks: tuple[tuple[int, int, bool], ...]
    click_ms: tuple[float, ...] = ()
    step_ms: tuple[float, ...] = ()
    encode_ms: float = 0.0


def check_stop_rule(target_iou: float, max_clicks: int) -> None:
    """Raises ``ValueError`` unless ``0 < target_iou <= 1`` and ``max_clicks >= 1``."""
    if not (math.isfinite(target_iou) and 0 < target_iou <= 1):
        raise ValueError(f"the target IoU must be above 0 and at most 1, got {target_iou}")
    if max_clicks < 1:
        raise ValueError(f"at least one click is needed, got max_clicks {max_clicks}")


def iou(truth: Mask, predicted: Mask, ignore: Mask | None = None) -> float:
    """Intersection over union without the ignored pixels; 1.0 where both are empty."""
    if ignore is not None:
        truth, predicted = truth & ~ignore, predicted & ~ignore
    intersection = int(np.count_nonzero(truth & predicted))
    union = int(np.count_nonzero(truth)) + int(np.count_nonzero(predicted)) - intersection
    return intersection / union if union else 1.0


def evaluate_object(
    predictor: Predictor, name: str, labelled: LabelledObject, target_iou: float, max_clicks: int
) -> ObjectRecord:
    """Click on one object until its mask reaches ``target_iou``, or ``max_clicks`` are used.

    Should the oracle find no error pixel that was not clicked before, the user gives up: the target is not reached.

    Raises:
        ValueError: the stop rule is out of range, or an answer has another size than the image.
    """
    check_stop_rule(target_iou, max_clicks)
    image, truth, ignore = labelled
    started = time.perf_counter()
    predictor.begin_image(image)
    encode_ms = _ms_since(started)
    predictor.begin_object()
    mask = np.zeros(truth.shape, np.bool_)
    clicks: tuple[Click, ...] = ()
    ious: list[float] = []
    click_ms: list[float] = []
    step_ms: list[float] = []
    reached = False
    while not reached and len(clicks) < max_clicks:
        click = next_click(truth, mask, ignore, clicks)
        if click is None:
            break
        clicks = (*clicks, click)
        started = time.perf_counter()
        mask = predictor.click(clicks)
        click_ms.append(_ms_since(started))
        if mask.shape != truth.shape or mask.dtype != np.bool_:
            raise ValueError(f"the answer must be bool {truth.shape} like the image, got {mask.dtype} {mask.shape}")
        ious.append(iou(truth, mask, ignore))
        reached = ious[-1] >= target_iou
        started = time.perf_counter()
        predictor.after_click(clicks, last=reached or len(clicks) == max_clicks)
        step_ms.append(_ms_since(started))
    started = time.perf_counter()
    predictor.finish_object(clicks, mask if reached else None)
    step_ms.append(_ms_since(started))
    return ObjectRecord(
        name,
        tuple(ious),
        reached,
        tuple((int(c.x), int(c.y), c.positive) for c in clicks),
        tuple(click_ms),
        tuple(step_ms),
        encode_ms,
    )


def noc(ious: Sequence[float], target_iou: float, max_clicks: int) -> int:
    """Number of clicks: the 1-based index of the first IoU at or above the target, else ``max_clicks``."""
    return next((i for i, value in enumerate(ious, 1) if value >= target_iou), max_clicks)


def iou_after(ious: Sequence[float], clicks: int) -> float:
    """IoU after so many clicks; an object that was finished earlier keeps the IoU that it was accepted with.

    Raises:
        ValueError: ``clicks`` is below 1, or the object has no click.
    """
    if clicks < 1 or not ious:
        raise ValueError(f"an IoU needs at least one click, got {clicks} of {len(ious)}")
    return ious[min(clicks, len(ious)) - 1]


def _ms_since(started: float) -> float:
    return (time.perf_counter() - started) * 1e3
