"""Methods side by side as a Markdown table, from results of ``livesam eval``.

``python -m livesam.benchmarks.methods_table RESULT.json...`` wants results over the same sets, objects and stop rule;
one of them is of ``frozen``. Results of one method with several seeds become one column, the mean and the spread (the
standard deviation over seeds of each figure).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import typer

# Hyper-parameters were chosen on these (README, Learning).
TUNED_ON = ("nov_wbc", "nov_steel", "nov_nuclei", "nov2_solar", "nov_potholes")
BASELINE = "frozen"
TOO_EASY, TOO_HARD = 0.05, 0.95  # failure rates of the baseline between which a set can show a difference
Figures = Mapping[str, Any]


def methods_table(results: Sequence[Mapping[str, Any]]) -> str:
    """Failure rate, NoC and IoU by set and method, then means over the sets that can tell methods apart.

    Args:
        results: as ``livesam.benchmarks.quality.run`` returns them.

    Raises:
        ValueError: no baseline, or results over other sets, other numbers of objects, or by another stop rule.
    """
    by_method = _grouped(results)
    sets = list(results[0]["sets"])
    rule = f"{results[0]['target_iou'] * 100:.0f}"
    clicks = results[0]["max_clicks"]
    telling = [
        name for name in sets if TOO_EASY <= fmean(_fr(r["sets"][name]) for r in by_method[BASELINE]) <= TOO_HARD
    ]
    labels = [f"{name} ({len(runs)} seeds)" if len(runs) > 1 else name for name, runs in by_method.items()]
    lines = [
        f"Each cell: {' / '.join(labels)}. † hyper-parameters chosen here; (-) left out of the mean.",
        "",
        f"| set | objects | FR{clicks}@{rule} | FR{clicks}@75 | NoC{clicks}@{rule} | IoU@1 | IoU@5 |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in sets:
        marks = (" †" if name in TUNED_ON else "") + ("" if name in telling else " (-)")
        rows = {method: [run["sets"][name] for run in runs] for method, runs in by_method.items()}
        lines.append(_row(f"{name}{marks}", results[0]["sets"][name]["objects"], rows))
    if telling:
        means = {
            method: [_mean([run["sets"][name] for name in telling]) for run in runs]
            for method, runs in by_method.items()
        }
        objects = sum(results[0]["sets"][name]["objects"] for name in telling)
        lines.append(_row(f"**mean of {len(telling)} sets**", objects, means))
        lines += ["", *_changes(means, f"FR{clicks}@{rule}")]
    return "\n".join(lines)


def _grouped(results: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    by_method: dict[str, list[Mapping[str, Any]]] = {}
    for result in results:
        by_method.setdefault(str(result["method"]), []).append(result)
    if BASELINE not in by_method:
        raise ValueError(f"one result must be of {BASELINE}, got {', '.join(by_method) or 'none'}")
    shape = {
        (r["target_iou"], r["max_clicks"], tuple((name, s["objects"]) for name, s in r["sets"].items()))
        for r in results
    }
    if len(shape) > 1:
        raise ValueError("these results are over different sets, objects or stop rules: compare like with like")
    for method, runs in by_method.items():
        if len({run["seed"] for run in runs}) < len(runs):
            raise ValueError(f"two results of {method} have the same seed")
    return by_method


def _fr(figures: Figures) -> float:
    return float(figures["fr"])


def _mean(sets: Sequence[Figures]) -> dict[str, Any]:
    return {
        "fr": fmean(_fr(s) for s in sets),
        "noc": fmean(s["noc"] for s in sets),
        "iou_at": {k: fmean(s["iou_at"][k] for s in sets) for k in ("1", "5")},
        "lower_targets": {"0.75": {"fr": fmean(s["lower_targets"]["0.75"]["fr"] for s in sets)}},
    }


def _row(name: str, objects: int, by_method: Mapping[str, Sequence[Figures]]) -> str:
    def cell(figure: Any, digits: int) -> str:
        return " / ".join(_spread([figure(run) for run in runs], digits) for runs in by_method.values())

    columns = [
        cell(_fr, 2),
        cell(lambda f: f["lower_targets"]["0.75"]["fr"], 2),
        cell(lambda f: f["noc"], 1),
        cell(lambda f: f["iou_at"]["1"], 2),
        cell(lambda f: f["iou_at"]["5"], 2),
    ]
    return f"| {name} | {objects} | {' | '.join(columns)} |"


def _spread(values: Sequence[float], digits: int) -> str:
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{fmean(values):.{digits}f} ± {stdev(values):.{digits}f}"


def _changes(means: Mapping[str, Sequence[Figures]], label: str) -> list[str]:
    """How much less each method fails than the baseline, on the mean of the sets."""
    base = fmean(_fr(run) for run in means[BASELINE])
    return [
        f"{method}: {label} {fmean(_fr(run) for run in runs) / base - 1:+.0%} against {BASELINE}."
        for method, runs in means.items()
        if method != BASELINE
    ]


def main() -> None:
    """``python -m livesam.benchmarks.methods_table``."""
    from livesam.benchmarks.quality_command import read_result

    def command(results: list[Path]) -> None:
        """Print methods side by side as Markdown."""
        typer.echo(methods_table([read_result(path) for path in results]))

    try:
        typer.run(command)
    except ValueError as error:
        typer.echo(f"methods_table: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
