"""From objects' traces to the figures of the papers: NoC, failure rate, mean IoU after k clicks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from livesam.benchmarks.quality.protocol import ObjectRecord, iou_after, noc

IOU_AT = (1, 3, 5, 10, 20)
LOWER_TARGETS = (0.75, 0.8, 0.85)


def summarise(records: Sequence[ObjectRecord], target_iou: float, max_clicks: int) -> dict[str, Any]:
    """The figures of one sequence of objects.

    Keys: ``objects``; ``noc``; ``fr``, the share of objects that never reached the target; ``fr_at_limit``, RITM's and
    the paper's reading, which counts a success on the very last click as failure too; ``iou_at`` after 1, 3, 5, 10, 20
    clicks, None beyond ``max_clicks``, where an object that was finished earlier holds its last IoU; ``lower_targets``,
    the same trace read at lower targets (for a method that adapts this is not what a run with that target gives).

    Raises:
        ValueError: there are no records.
    """
    return {**_core(records, target_iou, max_clicks), "lower_targets": _lower(records, target_iou, max_clicks)}


def thirds(records: Sequence[ObjectRecord], target_iou: float, max_clicks: int) -> dict[str, Any] | None:
    """The first third of the sequence against the last, None below three objects."""
    third = len(records) // 3
    if third == 0:
        return None
    return {
        "first": _core(records[:third], target_iou, max_clicks),
        "last": _core(records[-third:], target_iou, max_clicks),
    }


def mean_of(sets: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Every figure's mean over the sets, each set counting the same; ``objects`` is their sum."""
    lower = list(sets[0]["lower_targets"])
    return {
        "objects": sum(s["objects"] for s in sets),
        **{key: float(np.mean([s[key] for s in sets])) for key in ("noc", "fr", "fr_at_limit")},
        "iou_at": {k: _mean_or_none([s["iou_at"][k] for s in sets]) for k in sets[0]["iou_at"]},
        "lower_targets": {
            t: {k: float(np.mean([s["lower_targets"][t][k] for s in sets])) for k in ("noc", "fr")} for t in lower
        },
    }


def seconds(records: Sequence[ObjectRecord]) -> dict[str, Any]:
    """Where the time went: seconds per image encoding, per click, per learning step after a click and per object."""
    click = [ms for r in records for ms in r.click_ms]
    step = [ms for r in records for ms in r.step_ms[:-1]]
    digest = [r.step_ms[-1] for r in records if r.step_ms]
    encode = [r.encode_ms for r in records]
    return {
        "per_click": _spread(click),
        "per_click_step": _spread(step),
        "per_object_step": _spread(digest),
        "per_image": _spread(encode),
        "total": (sum(click) + sum(step) + sum(digest) + sum(encode)) / 1e3,
    }


def _core(records: Sequence[ObjectRecord], target_iou: float, max_clicks: int) -> dict[str, Any]:
    if not records:
        raise ValueError("there are no objects to summarise")
    counts = [noc(r.ious, target_iou, max_clicks) for r in records]
    return {
        "objects": len(records),
        "noc": float(np.mean(counts)),
        "fr": float(np.mean([not r.reached for r in records])),
        "fr_at_limit": float(np.mean([count == max_clicks for count in counts])),
        "iou_at": {
            str(k): float(np.mean([iou_after(r.ious, k) for r in records])) if k <= max_clicks else None for k in IOU_AT
        },
    }


def _lower(records: Sequence[ObjectRecord], target_iou: float, max_clicks: int) -> dict[str, Any]:
    return {
        f"{target:.2f}": {
            "noc": float(np.mean([noc(r.ious, target, max_clicks) for r in records])),
            "fr": float(np.mean([max(r.ious) < target for r in records])),
        }
        for target in LOWER_TARGETS
        if target < target_iou
    }


def _spread(values_ms: Sequence[float]) -> dict[str, float] | None:
    """Mean, median and 95th percentile in seconds; None where nothing was measured."""
    if not values_ms:
        return None
    values = np.asarray(values_ms) / 1e3
    return {
        "mean": float(values.mean()),
        "p50": float(np.percentile(values, 50)),
        "p95": float(np.percentile(values, 95)),
    }


def _mean_or_none(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return float(np.mean(present)) if present else None
