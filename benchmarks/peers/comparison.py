"""Contestants timed in turn, and what the best of them has to reach.

Rounds are interleaved, so that whatever else the machine does hits both sides alike. Wall clock and CPU time are kept:
on a machine with other work the wall clock of two threads says little, the smallest CPU time still compares operations.
CPU time counts the processes that a contestant starts: a cold start is a process of its own on either side.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

Run = Callable[[], object]
REFERENCE = "torch eager fp32"


@dataclass(frozen=True)
class Sample:
    """One contestant's times in milliseconds: every round's wall clock and CPU time."""

    wall_ms: tuple[float, ...]
    cpu_ms: tuple[float, ...]

    @property
    def median_ms(self) -> float:
        return median(self.wall_ms)


@dataclass(frozen=True)
class Comparison:
    """One thing measured: contestants, and what the best of them has to reach."""

    name: str
    samples: Mapping[str, Sample]
    targets: Mapping[str, float] = field(default_factory=dict)
    note: str = ""

    @property
    def ours(self) -> dict[str, Sample]:
        """The contestants without the reference."""
        return {name: sample for name, sample in self.samples.items() if name != REFERENCE}

    def ratio(self, over: str, clock: str = "wall") -> float | None:
        """How many times faster the best contestant is than ``over``; medians of wall clock or minima of CPU time."""
        if over not in self.samples:
            return None

        def value(sample: Sample) -> float:
            return sample.median_ms if clock == "wall" else min(sample.cpu_ms)

        others = [value(sample) for sample in self.ours.values()]
        return value(self.samples[over]) / min(others) if others else None

    def met(self) -> dict[str, bool]:
        """Each target by name: ``at least Nx over X`` by the wall clock, or ``at most N ms``."""
        found = {}
        for over, target in self.targets.items():
            if over == "ms":
                found[f"at most {target:g} ms"] = min(s.median_ms for s in self.ours.values()) <= target
            else:
                ratio = self.ratio(over)
                found[f"at least {target:g}x over {over}"] = ratio is not None and ratio >= target
        return found

    def to_json(self) -> dict[str, Any]:
        ratios = {over: {c: self.ratio(over, c) for c in ("wall", "cpu")} for over in self.targets if over != "ms"}
        return asdict(self) | {
            "median_ms": {name: sample.median_ms for name, sample in self.samples.items()},
            "ratios": ratios,
            "targets_met": self.met(),
        }


def interleaved(runs: Mapping[str, Run], rounds: int) -> dict[str, Sample]:
    """Time all contestants in turn, after one warm-up each."""
    for run in runs.values():
        run()
    wall: dict[str, list[float]] = {name: [] for name in runs}
    cpu: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            started, busy = time.perf_counter(), _cpu_s()
            run()
            wall[name].append((time.perf_counter() - started) * 1e3)
            cpu[name].append((_cpu_s() - busy) * 1e3)
    return {name: Sample(tuple(wall[name]), tuple(cpu[name])) for name in runs}


def _cpu_s() -> float:
    """CPU time of this process and of the children that it has waited for."""
    import resource

    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def lines(found: Sequence[Comparison]) -> list[str]:
    """The comparisons for reading."""
    written = []
    for comparison in found:
        written.append(comparison.name)
        if comparison.note:
            written.append(f"  {comparison.note}")
        for name, sample in comparison.samples.items():
            written.append(f"  {name:24} {sample.median_ms:10.1f} ms median, {min(sample.cpu_ms):10.1f} ms CPU (least)")
        for over in comparison.targets:
            if over != "ms":
                wall, cpu = comparison.ratio(over), comparison.ratio(over, "cpu")
                written.append(f"  best over {over}: {wall or 0:.2f}x by the wall clock, {cpu or 0:.2f}x by CPU time")
        written += [f"  {what}: {'met' if met else 'not met'}" for what, met in comparison.met().items()]
    return written
