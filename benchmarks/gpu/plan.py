"""Which sections there are, in the order in which one would miss them, and what each may take on a fast GPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from livesam.benchmarks.gpu import other_runtimes, ours, peers
from livesam.benchmarks.gpu.answers import parity
from livesam.benchmarks.gpu.device_clock import ceilings
from livesam.benchmarks.gpu.learning import clicks_beside_a_learner
from livesam.benchmarks.gpu.model_bench import ModelBench
from livesam.benchmarks.gpu.sections import Section

Measure = Callable[[ModelBench], Mapping[str, Any]]

# Seconds that a section may take: nano, then another model. By ``results/gpu_h100.json``, whose swaps and clicks beside
# the learner were several times as many.
FIRST: tuple[tuple[str, Measure, tuple[float, float]], ...] = (
    ("parity", parity, (19, 11)),
    ("encode", ours.encode, (4, 4)),
    ("click", ours.click, (2, 2)),
    ("looked_click", ours.looked_click, (4, 5)),
    ("prompts", ours.prompts, (3, 3)),
    ("peer/eager", peers.eager, (8, 8)),
    ("swap", ours.swap, (6, 6)),
    ("learning", clicks_beside_a_learner, (9, 9)),
    ("throughput", ours.throughput, (9, 5)),
)
COMPILED: tuple[tuple[str, Measure, tuple[float, float]], ...] = (
    ("encode_compiled", ours.compiled_encode, (30, 45)),
    ("peer/sdpa", peers.sdpa, (1, 45)),
    ("peer/compiled", peers.compiled, (60, 75)),
)
ENCODE_ONLY_S = {"vit_t": 8.0, "vit_b": 10.0, "vit_l": 15.0, "vit_h": 20.0}


def plan(
    whole: Sequence[ModelBench], encode_only: Sequence[ModelBench], device: str, *, quick: bool, others: bool
) -> list[Section]:
    """The sections of the models that get all of them, and of those whose encoder alone is measured."""
    found = _each(FIRST, whole, quick)
    for bench in encode_only:
        budget_s = _scaled(ENCODE_ONLY_S[bench.model], quick)
        found.append(Section(f"{bench.model}/encode_only", partial(ours.encode_only, bench), budget_s))
    found.append(Section("ceilings", partial(_ceilings, device, quick), _scaled(5, quick)))
    found += _each(COMPILED, list(reversed(whole)), quick)
    if others:
        found += [section for bench in whole for section in other_runtimes.sections(bench)]
    return found


def _each(
    parts: Sequence[tuple[str, Measure, tuple[float, float]]], benches: Sequence[ModelBench], quick: bool
) -> list[Section]:
    return [
        Section(f"{bench.model}/{name}", partial(measure, bench), _scaled(budget[bench.model != "nano"], quick))
        for name, measure, budget in parts
        for bench in benches
    ]


def _scaled(budget_s: float, quick: bool) -> float:
    return budget_s / 10 if quick else budget_s


def _ceilings(device: str, quick: bool) -> Mapping[str, Any]:
    """What this device reaches at best, which the other figures are shares of."""
    return ceilings(device, size=512, copy_mib=16, seconds=0.05) if quick else ceilings(device)
