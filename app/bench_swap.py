"""The work behind ``livesam bench swap``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def measure_swap(
    model: str, *, checkpoint: Path | None, runtime: str, precision: str | None, device: str | None, swaps: int
) -> dict[str, Any]:
    """Publish changed weights again and again while a thread clicks; returns the report."""
    from livesam.app.opening import open_session
    from livesam.app.progress import counting
    from livesam.benchmarks.environment import environment
    from livesam.benchmarks.stream import picture
    from livesam.benchmarks.swap import perturbed, run_swaps
    from livesam.engine.prompt import Click, Prompt

    session = open_session(model, checkpoint=checkpoint, runtime=runtime, precision=precision, device=device)
    try:
        image = picture()
        session.set_image(image)
        prompt = Prompt((Click(image.shape[1] / 2, image.shape[0] / 2),))
        slot = session.slot
        base = slot.weights(slot.current)
        with counting("swaps", swaps) as progress:
            run = run_swaps(
                lambda: session.predict(prompt).timings_ms,
                slot.publish,
                [perturbed(base, seed=seed) for seed in range(4)],
                model=model,
                runtime=session.runtime,
                swaps=swaps,
                progress=progress,
            )
    finally:
        session.close()
    facts = environment()
    return {"environment": facts.to_json(), "machine": facts.line(), "runs": [run.to_json()]}


def print_swap(report: Mapping[str, Any]) -> None:
    """The report as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"weight swaps, ms: {report['machine']}")
    for heading in (
        "model",
        "runtime",
        "swaps",
        "swap p50",
        "swap max",
        "click p50 apart",
        "click p50 during",
        "stall",
    ):
        table.add_column(heading, justify="left" if heading in ("model", "runtime") else "right")
    for run in report["runs"]:
        table.add_row(
            run["model"],
            run["runtime"],
            str(run["swaps"]),
            _ms(run["swap_ms"], "p50"),
            _ms(run["swap_ms"], "max"),
            _ms(run["click_apart_ms"], "p50"),
            _ms(run["click_during_ms"], "p50"),
            f"{run['stall_ms']:.2f}",
        )
    console = Console()
    console.print(table)
    console.print(
        "swap: from weights at hand to serving, checks included; stall: longest wait for a decoder of any click"
    )


def _ms(spread: Mapping[str, float], name: str) -> str:
    return f"{spread[name]:.2f}" if name in spread else "-"
