"""``livesam bench``: click latency, weight swaps and encoder throughput on this machine."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer
from livesam.app.options import (
    CheckpointOption,
    DeviceOption,
    ModelOption,
    PrecisionOption,
    Runtime,
    RuntimeOption,
    SizeOption,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

bench = typer.Typer(
    help="Measure latency, swaps and throughput on this machine.", no_args_is_help=True, rich_markup_mode=None
)


class LearningMode(StrEnum):
    """Whether the learner runs beside the clicks."""

    on = "on"
    off = "off"
    both = "both"


JsonOption: TypeAlias = Annotated[
    Path | None, typer.Option("--json", help="Write the report here.", metavar="FILE", dir_okay=False)
]
RandomOption: TypeAlias = Annotated[
    bool, typer.Option("--random-weights", help="Random weights in place of a checkpoint; they take as long.")
]


@bench.command()
def latency(
    model: ModelOption = "nano",
    size: SizeOption = None,
    checkpoint: CheckpointOption = None,
    random_weights: RandomOption = False,
    runtime: RuntimeOption = Runtime.auto,
    precision: PrecisionOption = None,
    device: DeviceOption = None,
    learning: Annotated[LearningMode, typer.Option("--learning", help="With the learner, without, or both.")] = (
        LearningMode.both
    ),
    method: Annotated[str, typer.Option("--method", help="How it learns.")] = "live",
    clicks: Annotated[int, typer.Option("--clicks", "-n", min=1, help="Events for each target.")] = 200,
    peers: Annotated[bool, typer.Option("--peers/--no-peers", help="The same stream through SAM's own code.")] = True,
    think_ms: Annotated[float, typer.Option("--think-ms", min=0.0, help="Median time between two actions.")] = 350.0,
    seed: Annotated[int, typer.Option("--seed", help="Another stream.")] = 0,
    json_file: JsonOption = None,
    raw: Annotated[
        Path | None, typer.Option("--raw", help="Samples as JSON lines; beside --json when not given.", metavar="FILE")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Distributions as PNG; beside --json when not given.", metavar="FILE")
    ] = None,
    budget: Annotated[
        Path | None, typer.Option("--budget", help="Limits to check against; exit 1 when exceeded.", metavar="FILE")
    ] = None,
) -> None:
    """Click latency under a person's click stream: thinking, bursts, hovering at 30 a second.

    Sessions without and with the learner and the peers take turns, a few objects each.
    """
    from livesam.app.arguments import check_output
    from livesam.app.commands.bench_latency import measure_latency, print_latency
    from livesam.app.opening import opening_of
    from livesam.benchmarks.latency.budget import Budget
    from livesam.benchmarks.latency.random_weights import checkpoint_or_random
    from livesam.benchmarks.latency.stream import Pace
    from livesam.engine.files.atomic import write_json
    from livesam.engine.models.spec import spec

    limits = None if budget is None else Budget.read(budget)
    if json_file is not None:
        check_output(json_file, "--json", (".json",))
        raw = raw or json_file.with_suffix(".jsonl")
        plot = plot or (json_file.with_suffix(".png") if _has_matplotlib() else None)
    if plot is not None:
        check_output(plot, "--plot", (".png",))

    pace = Pace(think_ms=think_ms)
    with checkpoint_or_random(model, checkpoint, random_weights) as weights:
        runs, report = measure_latency(
            opening_of(model, weights, runtime, precision, device, size),
            modes=("off", "on") if learning is LearningMode.both else (learning.value,),
            method=method,
            clicks=clicks,
            pace=pace,
            seed=seed,
            peers=peers,
        )
    report["weights"] = "random" if random_weights else "checkpoint"
    report["image_size"] = spec(model, size).image_size
    if raw is not None:
        write_lines(raw, [sample for run in runs for sample in run.raw()])
    if plot is not None:
        from livesam.benchmarks.reports.latency_plot import plot_latency

        plot_latency(runs, plot, f"{model}, {clicks} events, {report['machine']}")
    if json_file is not None:
        write_json(json_file, report)
    print_latency(runs, report)
    if limits is not None:
        _judge(limits.violations(report))


@bench.command()
def swap(
    model: ModelOption = "nano",
    size: SizeOption = None,
    checkpoint: CheckpointOption = None,
    random_weights: RandomOption = False,
    runtime: RuntimeOption = Runtime.auto,
    precision: PrecisionOption = None,
    device: DeviceOption = None,
    swaps: Annotated[int, typer.Option("--swaps", "-n", min=1, help="How often new weights are published.")] = 50,
    json_file: JsonOption = None,
) -> None:
    """From new weights to serving: what it costs, and what clicks feel of it."""
    from livesam.app.arguments import check_output
    from livesam.app.commands.bench_swap import measure_swap, print_swap
    from livesam.app.opening import opening_of
    from livesam.benchmarks.latency.random_weights import checkpoint_or_random
    from livesam.engine.files.atomic import write_json
    from livesam.engine.models.spec import spec

    if json_file is not None:
        check_output(json_file, "--json", (".json",))
    with checkpoint_or_random(model, checkpoint, random_weights) as weights:
        report = measure_swap(
            opening_of(model, weights, runtime, precision, device, size),
            swaps=swaps,
        )
    report["weights"] = "random" if random_weights else "checkpoint"
    report["image_size"] = spec(model, size).image_size
    if json_file is not None:
        write_json(json_file, report)
    print_swap(report)


@bench.command()
def throughput(
    model: ModelOption = "nano",
    size: SizeOption = None,
    checkpoint: CheckpointOption = None,
    random_weights: RandomOption = False,
    runtime: RuntimeOption = Runtime.auto,
    precision: PrecisionOption = None,
    device: DeviceOption = None,
    batch: Annotated[list[int] | None, typer.Option("--batch", min=1, help="Batch size; repeatable.")] = None,
    workers: Annotated[list[int] | None, typer.Option("--workers", min=1, help="Threads; repeatable.")] = None,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, help="How long each setting runs.")] = 5.0,
    json_file: JsonOption = None,
) -> None:
    """Images that the encoder takes a second, over batch sizes and workers."""
    from livesam.app.arguments import check_output
    from livesam.app.commands.bench_throughput import measure_throughput, print_throughput
    from livesam.app.opening import opening_of
    from livesam.benchmarks.latency.random_weights import checkpoint_or_random
    from livesam.engine.files.atomic import write_json
    from livesam.engine.models.spec import spec

    if json_file is not None:
        check_output(json_file, "--json", (".json",))
    with checkpoint_or_random(model, checkpoint, random_weights) as weights:
        report = measure_throughput(
            opening_of(model, weights, runtime, precision, device, size),
            batches=batch or [1],
            workers=workers or [1, 2],
            seconds=seconds,
        )
    report["weights"] = "random" if random_weights else "checkpoint"
    report["image_size"] = spec(model, size).image_size
    if json_file is not None:
        write_json(json_file, report)
    print_throughput(report)


def write_lines(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write JSON lines, whole or not at all."""
    import json

    from livesam.engine.files.atomic import atomic_write

    with atomic_write(path) as file:
        file.writelines((json.dumps(row, allow_nan=False) + "\n").encode() for row in rows)


def _judge(violations: Sequence[str]) -> None:
    if violations:
        from livesam.engine.values.errors import LivesamError

        raise LivesamError(f"{len(violations)} limits of the budget are exceeded: {'; '.join(violations)}")
    typer.echo("every limit of the budget is kept")


def _has_matplotlib() -> bool:
    from importlib.util import find_spec

    return find_spec("matplotlib") is not None
