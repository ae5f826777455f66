"""A training run's curve: ``python -m livesam.benchmarks.reports.training_curve RUN/log.jsonl --out FILE.png``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from livesam.benchmarks.reports.plots import COLOURS

SMOOTHING = 0.85  # weight of the past: a report averages only ten seconds


def smoothed(values: list[float]) -> list[float]:
    """An exponential moving average."""
    result: list[float] = []
    for value in values:
        result.append(value if not result else SMOOTHING * result[-1] + (1 - SMOOTHING) * value)
    return result


def plot_training(lines: list[dict[str, Any]], path: Path) -> None:
    """IoU after 1, 3 and 5 simulated clicks on the training stream against minutes, with the input size of each stage.

    Args:
        lines: the reports of ``livesam.adapter.training.pretrain``.
        path: the PNG to write.

    Raises:
        ValueError: there is no report.
    """
    if not lines:
        raise ValueError("the log holds no report yet: train for longer")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for clicks, colour in zip(("1", "3", "5"), COLOURS, strict=False):
        seen = [(line["seconds"] / 60, line["iou"][clicks]) for line in lines if clicks in line["iou"]]
        if seen:
            axes.plot([s[0] for s in seen], smoothed([s[1] for s in seen]), color=colour, label=f"after {clicks}")
    begun = {line["stage"]: line for line in reversed(lines)}
    for line in begun.values():
        minutes = line["seconds"] / 60
        axes.axvline(minutes, color="0.7", linewidth=0.8, zorder=0)
        axes.text(minutes, 0.01, f" {line['size']} px", rotation=90, color="0.35", fontsize=8)
    axes.set(xlabel="minutes of training", ylabel="mean IoU on the training stream", ylim=(0, 1))
    axes.legend(title="clicks")
    axes.grid(alpha=0.25)
    figure.savefig(path, dpi=130)


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m livesam.benchmarks.reports.training_curve", description=__doc__)
    parser.add_argument("log", type=Path, help="log.jsonl of a run folder")
    parser.add_argument("--out", type=Path, required=True, help="PNG to write")
    given = parser.parse_args(arguments)
    plot_training([json.loads(line) for line in given.log.read_text().splitlines()], given.out)


if __name__ == "__main__":
    main()
