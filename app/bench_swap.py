"""The work behind ``livesam bench swap``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from livesam.engine.protocols import DecoderWeights
    from livesam.engine.slot import DecoderSlot


def measure_swap(
    model: str,
    *,
    size: int | None,
    checkpoint: Path | None,
    runtime: str,
    precision: str | None,
    device: str | None,
    swaps: int,
) -> dict[str, Any]:
    """Publish changed weights again and again while a thread clicks; returns the report.

    The weights are changed where ``live`` changes them: in the head, a fifth of the bytes, which is what it publishes.
    The exchange is also measured with every tensor changed, as ``paper`` and ``dctta`` publish.
    """
    from livesam.adapter.methods.live import HEAD
    from livesam.app.opening import open_session
    from livesam.app.progress import counting
    from livesam.benchmarks.environment import environment
    from livesam.benchmarks.stream import picture
    from livesam.benchmarks.swap import perturbed, run_swaps, spread
    from livesam.engine.prompt import Click, Prompt
    from livesam.engine.slot import DecoderSlot
    from livesam.export.serving import decoder_compiler

    session = open_session(model, size=size, checkpoint=checkpoint, runtime=runtime, precision=precision, device=device)
    unchecked: DecoderSlot | None = None
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
                [perturbed(base, seed=seed, parts=HEAD) for seed in range(4)],
                model=model,
                runtime=session.runtime,
                swaps=swaps,
                progress=progress,
            )
        # The same again without the comparison with PyTorch: what the runtime itself needs for new weights.
        compiler = decoder_compiler(model, checkpoint, runtime, precision, size=size, device=device)
        unchecked = DecoderSlot(compiler, base)
        head_ms, all_ms = (
            _publishing_ms(unchecked, [perturbed(base, seed=seed, parts=parts) for seed in range(2)], swaps)
            for parts in (HEAD, ("",))
        )
    finally:
        session.close()
        if unchecked is not None:
            unchecked.close()
    facts = environment()
    return {
        "environment": facts.to_json(),
        "machine": facts.line(),
        "runs": [
            {
                **run.to_json(),
                "changed": list(HEAD),
                "exchange_ms": spread(head_ms),
                "exchange_all_ms": spread(all_ms),
            }
        ],
    }


def print_swap(report: Mapping[str, Any]) -> None:
    """The report as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"weight swaps, ms: {report['machine']}")
    for heading in ("model", "swap", "exchange", "all tensors", "click apart", "click during", "stall"):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    shown = ("swap_ms", "exchange_ms", "exchange_all_ms", "click_apart_ms", "click_during_ms")
    for run in report["runs"]:
        table.add_row(
            run["model"],
            *(_ms(run[name], "p50") for name in shown),
            f"{run['stall_ms']:.2f}",
        )
    console = Console()
    console.print(table)
    for run in report["runs"]:
        console.print(f"{run['model']}: {run['runtime']}, {run['swaps']} swaps", highlight=False)
    console.print(
        "medians. swap: from weights at hand to serving, the comparison with PyTorch included; exchange: without it; "
        "of these weights the head differs from the base's, as live publishes, and for `all tensors` all; stall: the "
        "longest that any click waited for a decoder",
        highlight=False,
    )


def _publishing_ms(slot: DecoderSlot, variants: Sequence[DecoderWeights], count: int) -> list[float]:
    import time

    slot.publish(variants[1])  # makes the second decoder, if it is the first
    times = []
    for i in range(count):
        started = time.perf_counter()
        slot.publish(variants[i % 2])
        times.append((time.perf_counter() - started) * 1e3)
    return times


def _ms(spread: Mapping[str, float], name: str) -> str:
    return f"{spread[name]:.2f}" if name in spread else "-"
