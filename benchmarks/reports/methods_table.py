"""Methods side by side as Markdown, from results of ``livesam eval``.

``python -m livesam.benchmarks.reports.methods_table RESULT.json...`` wants results over the same sets and numbers of
objects, for each stop rule one of plain ``frozen``. Results that differ in the seed only are one method: the mean,
behind ± the standard deviation over the seeds. Results by a second stop rule give two more columns.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Annotated, Any, TypeAlias

import typer

# Hyper-parameters were chosen on these (README, Learning).
TUNED_ON = ("nov_wbc", "nov_steel", "nov_nuclei", "nov2_solar", "nov_potholes")
BASELINE = "frozen"
TOO_EASY, TOO_HARD = 0.05, 0.95  # failure rates of the baseline between which a set can show a difference

Result: TypeAlias = Mapping[str, Any]
Runs: TypeAlias = dict[str, list[Result]]  # by label, one for each seed
Figure: TypeAlias = Callable[[Mapping[str, Any]], float]


def methods_table(results: Sequence[Result], without: Sequence[str] = ()) -> str:
    """Failure rates by set and method, then means over the sets that can tell methods apart.

    Args:
        results: as ``livesam.benchmarks.quality.evaluation`` returns them; the first one's stop rule comes first.
        without: means over all sets but these, in place of those that the baseline fails on sometimes.

    Raises:
        ValueError: no baseline, or results over other sets, other numbers of objects, or by a third stop rule.
    """
    rules = _by_rule(results)
    (target, clicks), first = next(iter(rules.items()))
    telling = _telling(first, without)
    labels = list(dict.fromkeys(label for runs in rules.values() for label in runs))
    lines = [f"| FR{clicks}@{target:.0f} | {' | '.join(first)} |", "| --- " * (len(first) + 1) + "|"]
    for name in results[0]["sets"]:
        cells = " | ".join(f"{fmean(_over(runs, [name], _fr)):.2f}" for runs in first.values())
        lines.append(f"| {name}{' †' if name in TUNED_ON else ''}{'' if name in telling else ' (-)'} | {cells} |")
    why = "not in the means" if without else "frozen fails never or always: left out of the means"
    lines += ["", f"† hyper-parameters were chosen here; (-) {why}."]
    figures: list[tuple[str, Runs, list[str], int, Figure]] = [
        (f"FR{clicks}@{target:.0f}", first, telling, 2, _fr),
        (f"FR{clicks}@75", first, telling, 2, lambda s: float(s["lower_targets"]["0.75"]["fr"])),
        (f"NoC{clicks}@{target:.0f}", first, telling, 1, _noc),
        ("IoU@1", first, telling, 2, lambda s: float(s["iou_at"]["1"])),
        ("IoU@5", first, telling, 2, lambda s: float(s["iou_at"]["5"])),
    ]
    counts = [f"{len(telling)} sets"]
    for (other, most), runs in list(rules.items())[1:]:
        there = _telling(runs, without)
        counts.append(f"{len(there)} by {other:.0f}/{most}")
        figures += [(f"FR{most}@{other:.0f}", runs, there, 2, _fr), (f"NoC{most}@{other:.0f}", runs, there, 1, _noc)]
    lines += [
        "",
        f"| mean of {', '.join(counts)} | {' | '.join(name for name, *_ in figures)} |",
        "| --- " * (len(figures) + 1) + "|",
    ]
    for label in labels:
        cells = " | ".join(_cell(runs, label, sets, digits, figure) for _, runs, sets, digits, figure in figures)
        lines.append(f"| {label} | {cells} |")
    return "\n".join(lines)


def label_of(result: Result) -> str:
    """The method, what else was switched on, and which of its numbers are not the usual ones."""
    details = result.get("details", {})
    looks = [name.replace("_", " ") for name in ("edges", "zoom", "obey", "size_prior") if details.get(name)]
    size = [f"{details['image_size']} px"] if details.get("image_size") else []
    return ", ".join([str(result["method"]), *size, *looks, *_unusual(result["method"], details.get("config", {}))])


def _unusual(method: str, config: Mapping[str, Any]) -> list[str]:
    from livesam.adapter.registry import METHODS, config_of

    if method not in METHODS:  # GrabCut; a preset is its name
        return []
    usual = config_of(method)
    told = {
        name: value
        for name, value in config.items()
        if name not in ("seed", "guard") and value != getattr(usual, name, value)
    }
    return [f"no {_words(name)}" if value is False else f"{_words(name)} {value}" for name, value in told.items()]


def _words(name: str) -> str:
    return name.replace("_", " ")


def _by_rule(results: Sequence[Result]) -> dict[tuple[float, int], Runs]:
    rules: dict[tuple[float, int], Runs] = {}
    for result in results:
        runs = rules.setdefault((100 * result["target_iou"], result["max_clicks"]), {})
        runs.setdefault(label_of(result), []).append(result)
    if not rules or any(BASELINE not in runs for runs in rules.values()):
        raise ValueError(
            f"for each stop rule one result must be of {BASELINE}, got {[list(r) for r in rules.values()]}"
        )
    shapes = {tuple((name, figures["objects"]) for name, figures in result["sets"].items()) for result in results}
    if len(shapes) > 1 or len(rules) > 2:
        raise ValueError("these results are over different sets or objects, or more than two stop rules")
    for runs in rules.values():
        for label, same in runs.items():
            if len({run["seed"] for run in same}) < len(same):
                raise ValueError(f"two results of {label} have the same seed and stop rule")
            if len({_but_the_seed(run) for run in same}) > 1:
                raise ValueError(f"results of {label} differ in more than the seed: in model, weights or settings")
    return rules


def _but_the_seed(result: Result) -> str:
    details = dict(result.get("details", {}))
    config = {name: value for name, value in details.pop("config", {}).items() if name != "seed"}
    switched_on = {name: value for name, value in details.items() if value is not False}  # older results say less
    return json.dumps([result.get("model"), switched_on, config], sort_keys=True)


def _telling(runs: Runs, without: Sequence[str]) -> list[str]:
    sets = runs[BASELINE][0]["sets"]
    if without:
        return [name for name in sets if name not in without]
    return [name for name in sets if TOO_EASY <= fmean(_over(runs[BASELINE], [name], _fr)) <= TOO_HARD]


def _fr(figures: Mapping[str, Any]) -> float:
    return float(figures["fr"])


def _noc(figures: Mapping[str, Any]) -> float:
    return float(figures["noc"])


def _over(runs: Sequence[Result], sets: Sequence[str], figure: Figure) -> list[float]:
    """The figure's mean over the sets, for each run."""
    return [fmean(figure(run["sets"][name]) for name in sets) for run in runs]


def _cell(runs: Runs, label: str, sets: Sequence[str], digits: int, figure: Figure) -> str:
    if label not in runs or not sets:
        return "-"
    values = _over(runs[label], sets, figure)
    spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{fmean(values):.{digits}f}{spread}"


def main() -> None:
    """``python -m livesam.benchmarks.reports.methods_table``."""
    from livesam.benchmarks.quality.command import run_command
    from livesam.benchmarks.quality.result import read_result

    def command(results: list[Path], without: Annotated[list[str] | None, typer.Option(metavar="SET")] = None) -> None:
        """Print methods side by side as Markdown, means over all sets but --without."""
        typer.echo(methods_table([read_result(path) for path in results], without or ()))

    run_command("methods_table", command)


if __name__ == "__main__":
    main()
