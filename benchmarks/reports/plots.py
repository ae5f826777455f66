"""Pictures of results: IoU over clicks, failures over objects seen. Needs matplotlib (``app`` extra)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from livesam.benchmarks.quality.protocol import iou_after
from livesam.engine.values.errors import RuntimeUnavailable

# Okabe and Ito's colours: told apart with every kind of colour vision, and in grey by their order.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LABELLED_CLICKS = (1, 3, 5, 10, 20)


def plot_iou_curve(results: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Mean IoU against clicks, one line a result: thick the mean over its sets, thin each set (for up to two results).

    Args:
        results: label to a result of ``quality.run``.
        path: the PNG to write.

    Raises:
        ValueError: there is no result.
        RuntimeUnavailable: matplotlib is not installed.
    """
    figure, axes = _canvas(results, (7.2, 4.5))
    most = max(result["max_clicks"] for result in results.values())
    for (label, result), colour in _coloured(results):
        clicks = np.arange(1, result["max_clicks"] + 1)
        curves = [_curve(a_set, result["max_clicks"]) for a_set in result["sets"].values()]
        if len(results) <= 2 and len(curves) > 1:
            for curve in curves:
                axes.plot(clicks, curve, color=colour, alpha=0.3, linewidth=0.9)
        axes.plot(clicks, np.mean(curves, axis=0), color=colour, linewidth=2.2, marker="o", markersize=3.5, label=label)
    targets = sorted({result["target_iou"] for result in results.values()})
    for target in targets:
        axes.axhline(target, color="0.5", linewidth=0.8, linestyle=":")
        axes.annotate(
            f"{target:g}", (1.01, target), xycoords=axes.get_yaxis_transform(), va="center", fontsize=8, color="0.35"
        )
    axes.set_xticks([k for k in LABELLED_CLICKS if k <= most])
    axes.set_xlim(0.5, most + 0.5)
    axes.set_ylim(0, 1)
    axes.set_xlabel("clicks (an object that reached the target keeps its IoU)")
    axes.set_ylabel("mean IoU")
    axes.set_title(_sets_title(results), fontsize=10)
    axes.legend(loc="lower right", frameon=False)
    _save(figure, path)


def plot_learning_curve(results: Mapping[str, Mapping[str, Any]], path: Path, window: int | None = None) -> None:
    """Failure rate against objects seen.

    Thick: the share that missed the target among the last ``window`` objects of each set, averaged over the sets that
    are long enough; faint: the share among all objects so far.

    Args:
        results: label to a result of ``quality.run``; adapted and frozen runs over the same sequence.
        path: the PNG to write.
        window: objects to average over; None: a third of the shortest set, at least 5.

    Raises:
        ValueError: there is no result.
        RuntimeUnavailable: matplotlib is not installed.
    """
    figure, axes = _canvas(results, (7.2, 4.2))
    shortest = min(len(s["sequence"]) for result in results.values() for s in result["sets"].values())
    width = window if window is not None else max(5, shortest // 3)
    for (label, result), colour in _coloured(results):
        failed = [np.array([not o["reached"] for o in s["sequence"]], float) for s in result["sets"].values()]
        longest = max(map(len, failed))
        moving, so_far = (np.full((len(failed), longest), np.nan) for _ in range(2))
        for row, values in enumerate(failed):
            total = np.concatenate([[0.0], np.cumsum(values)])
            so_far[row, : len(values)] = total[1:] / np.arange(1, len(values) + 1)
            if len(values) >= width:
                moving[row, width - 1 : len(values)] = (total[width:] - total[:-width]) / width
        seen = np.arange(1, longest + 1)
        axes.plot(seen, _column_mean(so_far), color=colour, alpha=0.3, linewidth=1)
        axes.plot(seen, _column_mean(moving), color=colour, linewidth=2.2, label=label)
    first = next(iter(results.values()))
    axes.set_ylim(0, min(1.0, 1.15 * axes.dataLim.ymax + 0.02))
    axes.set_xlim(left=0)
    axes.set_xlabel("objects seen")
    axes.set_ylabel(f"share that missed IoU {first['target_iou']:g} in {first['max_clicks']} clicks")
    axes.set_title(f"{_sets_title(results)}; thick: last {width} objects, faint: all so far", fontsize=10)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    _save(figure, path)


def _curve(a_set: Mapping[str, Any], max_clicks: int) -> npt.NDArray[np.float64]:
    traces = [o["ious"] for o in a_set["sequence"]]
    return np.array([np.mean([iou_after(trace, k) for trace in traces]) for k in range(1, max_clicks + 1)])


def _column_mean(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The mean of each column's numbers; NaN where a column has none."""
    present = np.isfinite(values)
    counts = present.sum(0)
    sums = np.where(present, values, 0.0).sum(0)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _sets_title(results: Mapping[str, Mapping[str, Any]]) -> str:
    names = list(dict.fromkeys(name for result in results.values() for name in result["sets"]))
    shown = ", ".join(names) if len(names) <= 4 else f"mean over {len(names)} sets"
    return f"{shown} ({next(iter(results.values()))['mean']['objects']} objects)"


def _coloured(results: Mapping[str, Mapping[str, Any]]) -> list[tuple[tuple[str, Mapping[str, Any]], str]]:
    return [(item, COLOURS[i % len(COLOURS)]) for i, item in enumerate(results.items())]


def _canvas(content: Mapping[str, Any], size: tuple[float, float]) -> tuple[Any, Any]:
    if not content:
        raise ValueError("there is nothing to plot")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RuntimeUnavailable("pictures need matplotlib: pip install 'livesam[app]'") from error
    figure = Figure(figsize=size, dpi=140, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
