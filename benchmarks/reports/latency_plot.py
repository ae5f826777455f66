"""Latency distributions as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from livesam.benchmarks.latency.samples import LatencyRun
from livesam.engine.files.atomic import atomic_write
from livesam.engine.values.errors import LivesamError


def plot_latency(runs: Sequence[LatencyRun], path: Path, title: str) -> None:
    """Draw the share of clicks answered within a time, one line a run, as PNG.

    Ours are solid, peers dashed; the dots are p50, p95 and p99.

    Raises:
        LivesamError: matplotlib is not installed.
        OSError: the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise LivesamError("the plot needs matplotlib, which is not installed: pip install 'livesam[app]'") from None

    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    axes = figure.subplots()
    for run in runs:
        values = np.sort(run.latencies_ms)
        share = 100 * np.arange(1, len(values) + 1) / len(values)
        name = run.peer or f"livesam, learning {run.learning}"
        label = f"{name}: p50 {run.percentile_ms(50):.1f}, p99 {run.percentile_ms(99):.1f} ms"
        (line,) = axes.plot(values, share, "--" if run.peer else "-", linewidth=1.4 if run.peer else 2.2, label=label)
        marks = [50, 95, 99]
        axes.plot([run.percentile_ms(p) for p in marks], marks, "o", color=line.get_color(), markersize=4)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:g}"[0] in "2358" else "")
    axes.set_xlabel("click latency, ms (log scale)")
    axes.set_ylabel("clicks answered, %")
    axes.set_ylim(0, 101)
    axes.grid(True, which="both", linewidth=0.4, alpha=0.5)
    axes.set_title(title, fontsize=10)
    axes.legend(loc="lower right", fontsize=8, frameon=True)
    with atomic_write(path) as file:
        figure.savefig(file, format="png")
