"""Methods against a baseline, object by object, as Markdown, from results of ``livesam eval``.

``python -m livesam.benchmarks.reports.paired_table BASELINE.json... RESULT.json...`` compares on the objects that every
method was shown, seed by seed; results that differ in the seed only are one method. The method of the first file is
the baseline. Means are over the sets on which it has something to gain: it fails on 5 to 95 % of the objects, or takes
more than four clicks. The interval of the clicks saved is a bootstrap over the objects of each set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any, TypeAlias

import numpy as np
import typer
from livesam.benchmarks.quality.protocol import iou_after
from livesam.benchmarks.reports.methods_table import TOO_EASY, TOO_HARD, TUNED_ON, label_of

MANY_CLICKS = 4
DRAWS = 4000
NO_WORSE = 0.5, 0.02  # clicks and failure rate: a set that loses more is named

Key: TypeAlias = tuple[int, str, str]  # seed, set, object


@dataclass(frozen=True, slots=True)
class Trace:
    """How one object went.

    Attributes:
        place: where it came in its set's sequence, 0 to 1.
    """

    noc: int
    reached: bool
    ious: tuple[float, ...]
    place: float


Traces: TypeAlias = Mapping[Key, Trace]
Figure: TypeAlias = Callable[[Trace], float]

FIGURES: tuple[tuple[str, str, Figure], ...] = (
    ("NoC", ".2f", lambda trace: trace.noc),
    ("FR", ".3f", lambda trace: not trace.reached),
    ("IoU@1", ".3f", lambda trace: iou_after(trace.ious, 1)),
    ("IoU@3", ".3f", lambda trace: iou_after(trace.ious, 3)),
    ("IoU@5", ".3f", lambda trace: iou_after(trace.ious, 5)),
    ("IoU@10", ".3f", lambda trace: iou_after(trace.ious, 10)),
)


def paired_table(results: Sequence[Mapping[str, Any]], sets: Sequence[str] = ()) -> str:
    """Means over the sets, each set counting the same, then clicks and failures by set.

    Args:
        results: as ``livesam.benchmarks.quality.evaluation`` returns them, the baseline's first.
        sets: means over these, in place of those on which the baseline has something to gain.

    Raises:
        ValueError: there is nothing to compare, the stop rules differ, or no object was shown to every method.
    """
    methods = _shared(_by_method(results))
    baseline, *others = methods
    told = list(dict.fromkeys(name for _, name, _ in methods[baseline]))
    telling = [name for name in sets or told if sets or _has_room(methods[baseline], name)]
    if not telling or not set(telling) <= set(told):
        raise ValueError(f"means are over sets of the results, {told}, got {telling}")
    count = sum(name in telling for _, name, _ in methods[baseline])
    names = [name for name, *_ in FIGURES]
    lines = [
        f"| {len(telling)} sets, {count} objects | {' | '.join(names)} | clicks saved, 95 % | better / worse "
        "| NoC, first half | second half |",
        "| --- " * (len(names) + 5) + "|",
    ]
    for label, traces in methods.items():
        cells = [format(_mean(traces, telling, figure), digits) for _, digits, figure in FIGURES]
        halves = [format(_mean(_half(traces, late), telling, FIGURES[0][2]), ".2f") for late in (False, True)]
        against = ["", ""] if label == baseline else _against(methods[baseline], traces, telling)
        lines.append(f"| {' | '.join([label, *cells, *against, *halves])} |")
    lines += ["", f"| NoC (FR) | {' | '.join(methods)} |", "| --- " * (len(methods) + 1) + "|"]
    for name in told:
        cells = [
            f"{_mean(t, [name], FIGURES[0][2]):.1f} ({_mean(t, [name], FIGURES[1][2]):.2f})" for t in methods.values()
        ]
        marks = f"{' †' if name in TUNED_ON else ''}{'' if name in telling else ' (-)'}"
        lines.append(f"| {name}{marks} | {' | '.join(cells)} |")
    lines += ["", "† hyper-parameters were chosen here; (-) not in the means."]
    lines += [f"{label} is worse than {baseline} on {', '.join(lost)}." for label in others
              if (lost := _lost(methods[baseline], methods[label], told))]  # fmt: skip
    return "\n".join(lines)


def _by_method(results: Sequence[Mapping[str, Any]]) -> dict[str, dict[Key, Trace]]:
    if len({(result["target_iou"], result["max_clicks"]) for result in results}) > 1:
        raise ValueError("these results are by several stop rules: make a table of each")
    methods: dict[str, dict[Key, Trace]] = {}
    for result in results:
        traces = methods.setdefault(label_of(result), {})
        for name, figures in result["sets"].items():
            sequence = figures["sequence"]
            for index, one in enumerate(sequence):
                key = (int(result["seed"]), name, str(one["object"]))
                if key in traces:
                    raise ValueError(f"two results of {label_of(result)} with seed {key[0]} have {name}: give one")
                traces[key] = Trace(one["noc"], one["reached"], tuple(one["ious"]), index / len(sequence))
    if len(methods) < 2:
        raise ValueError(f"a baseline and another method are needed, got {list(methods)}")
    return methods


def _shared(methods: Mapping[str, Mapping[Key, Trace]]) -> dict[str, dict[Key, Trace]]:
    """Each method on the objects that all have, with their places among those."""
    keys = [key for key in next(iter(methods.values())) if all(key in traces for traces in methods.values())]
    if not keys:
        raise ValueError("no object was shown to every method: the results are over other sets or seeds")
    places: dict[Key, float] = {}
    for seed, name in dict.fromkeys((seed, name) for seed, name, _ in keys):
        same = [key for key in keys if key[:2] == (seed, name)]
        places |= {key: index / len(same) for index, key in enumerate(same)}
    return {
        label: {key: Trace(traces[key].noc, traces[key].reached, traces[key].ious, places[key]) for key in keys}
        for label, traces in methods.items()
    }


def _has_room(traces: Traces, name: str) -> bool:
    failed = _mean(traces, [name], FIGURES[1][2])
    return failed <= TOO_HARD and (failed >= TOO_EASY or _mean(traces, [name], FIGURES[0][2]) > MANY_CLICKS)


def _mean(traces: Traces, sets: Sequence[str], figure: Figure) -> float:
    by_set = [[figure(trace) for key, trace in traces.items() if key[1] == name] for name in sets]
    return fmean(fmean(values) for values in by_set if values)


def _half(traces: Traces, late: bool) -> dict[Key, Trace]:
    return {key: trace for key, trace in traces.items() if (trace.place >= 0.5) == late}


def _against(baseline: Traces, traces: Traces, sets: Sequence[str]) -> list[str]:
    """Clicks saved with their interval, and how many objects took fewer and more clicks."""
    rng = np.random.default_rng(0)
    saved = [np.array([baseline[key].noc - traces[key].noc for key in baseline if key[1] == name]) for name in sets]
    drawn = [values[rng.integers(len(values), size=(DRAWS, len(values)))].mean(1) for values in saved]
    low, high = np.percentile(np.mean(drawn, axis=0), (2.5, 97.5))
    mean = fmean(float(values.mean()) for values in saved)
    better, worse = (sum(int((sign * values > 0).sum()) for values in saved) for sign in (1, -1))
    return [f"{mean:.2f} ({low:.2f} to {high:.2f})", f"{better} / {worse}"]


def _lost(baseline: Traces, traces: Traces, sets: Sequence[str]) -> list[str]:
    """The sets that are worse by more than half a click or two points of failures, with the loss."""
    lost = []
    for name in sets:
        clicks, failures = (_mean(traces, [name], f) - _mean(baseline, [name], f) for _, _, f in FIGURES[:2])
        if clicks > NO_WORSE[0] or failures > NO_WORSE[1]:
            lost.append(f"{name} ({clicks:+.2f} clicks, {failures:+.3f} failures)")
    return lost


def main() -> None:
    """``python -m livesam.benchmarks.reports.paired_table``."""
    from livesam.benchmarks.quality.command import run_command
    from livesam.benchmarks.quality.result import read_result

    def command(
        results: list[Path], only: Annotated[list[str] | None, typer.Option("--set", metavar="SET")] = None
    ) -> None:
        """Print methods against the first one as Markdown; means over --set, or where that has something to gain."""
        typer.echo(paired_table([read_result(path) for path in results], only or ()))

    run_command("paired_table", command)


if __name__ == "__main__":
    main()
