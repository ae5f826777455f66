"""The work behind ``livesam bench throughput``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any


def measure_throughput(
    model: str,
    *,
    size: int | None,
    checkpoint: Path | None,
    runtime: str,
    precision: str | None,
    device: str | None,
    batches: Sequence[int],
    workers: Sequence[int],
    seconds: float,
) -> dict[str, Any]:
    """Every batch size with every number of workers; returns the report."""
    from livesam.app.progress import counting
    from livesam.benchmarks.environment import environment
    from livesam.benchmarks.stream import picture
    from livesam.benchmarks.throughput import measure
    from livesam.export.serving import open_encoder

    image = picture()
    settings = [(batch, count) for batch in batches for count in workers]
    rows: list[dict[str, object]] = []
    with counting("throughput", len(settings)) as progress:
        for batch, count in settings:
            run = measure(
                partial(
                    open_encoder,
                    model,
                    checkpoint,
                    size=size,
                    runtime=runtime,
                    precision=precision,
                    device=device,
                    batch=1 if batch == 1 else max(batches),  # all that are above 1 share one graph or plan
                ),
                image,
                model=model,
                batch=batch,
                workers=count,
                seconds=seconds,
            )
            rows.append(run.to_json())
            progress(len(rows), len(settings))
    facts = environment()
    return {"environment": facts.to_json(), "machine": facts.line(), "runs": rows}


def print_throughput(report: Mapping[str, Any]) -> None:
    """The report as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"encoder throughput: {report['machine']}")
    for heading in ("model", "runtime", "batch", "workers", "images/s", "call p50 ms"):
        table.add_column(heading, justify="left" if heading in ("model", "runtime") else "right")
    for run in report["runs"]:
        figures = (
            (str(run["skipped"]), "-") if "skipped" in run else (f"{run['images_per_s']:.2f}", f"{run['p50_ms']:.1f}")
        )
        table.add_row(run["model"], run["runtime"], str(run["batch"]), str(run["workers"]), *figures)
    Console().print(table)
