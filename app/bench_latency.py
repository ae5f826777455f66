"""The work behind ``livesam bench latency``: sessions with and without the learner, and the peers, on one stream."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from livesam.app.progress import counting
from livesam.benchmarks.environment import environment
from livesam.benchmarks.latency import LatencyRun, Learning, report, run_stream
from livesam.benchmarks.stream import Event, Pace, click_stream, picture
from livesam.benchmarks.targets import SessionTarget

if TYPE_CHECKING:
    from livesam.engine.session import Session


def measure_latency(
    model: str,
    *,
    checkpoint: Path | None,
    runtime: str,
    precision: str | None,
    device: str | None,
    modes: Sequence[str],
    method: str,
    clicks: int,
    pace: Pace,
    seed: int,
    peers: bool,
) -> tuple[list[LatencyRun], dict[str, Any]]:
    """Run the stream in every mode and through the peers; returns the runs and the report around them."""
    from livesam.app.learning import learning_session
    from livesam.app.opening import open_session

    events = click_stream(clicks, seed, pace)
    image = picture()
    facts = environment()
    runs: list[LatencyRun] = []
    features: Any = None
    for mode in modes:
        learning: Learning = "on" if mode == "on" else "off"
        with contextlib.ExitStack() as stack:
            notes: dict[str, object] = {}
            session: Session
            if learning == "on":
                session, stats = stack.enter_context(
                    learning_session(
                        model, checkpoint=checkpoint, runtime=runtime, precision=precision, device=device, method=method
                    )
                )
                notes["method"] = method
            else:
                session = open_session(
                    model, checkpoint=checkpoint, runtime=runtime, precision=precision, device=device
                )
                stack.callback(session.close)
                stats = None
            features = session.set_image(image).numpy()
            with counting(f"learning {learning}", len(events)) as progress:
                run = run_stream(
                    SessionTarget(session, model), events, image.shape[:2], learning=learning, progress=progress
                )
            if stats is not None:
                notes["learner"] = stats()
            runs.append(_noted(run, notes))
    if peers:
        runs += _peers(model, checkpoint, events, features)
    content = report(runs, facts.to_json(), {"clicks": clicks, "seed": seed, **pace.to_json()})
    content["machine"] = facts.line()
    return runs, content


def print_latency(runs: Sequence[LatencyRun], content: Mapping[str, Any]) -> None:
    """The runs as a table, the ratios below it."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"click latency, ms: {content['machine']}")
    for heading in ("what", "runtime", "events", "p50", "p95", "p99", "max", "stages (median)"):
        table.add_column(heading, justify="left" if heading in ("what", "runtime") else "right")
    for run in runs:
        stages = ", ".join(f"{name} {ms:.1f}" for name, ms in run.stages_ms().items() if name != "total")
        table.add_row(
            run.peer or f"{run.model}, learning {run.learning}",
            run.runtime,
            str(len(run.samples)),
            *(f"{run.percentile_ms(p):.1f}" for p in (50, 95, 99, 100)),
            stages,
        )
    console = Console()
    console.print(table)
    ratios = content["learning_ratios"]
    if ratios:
        console.print(f"learning on / off: p50 {ratios['p50']:.2f}, p99 {ratios['p99']:.2f}", highlight=False)
    for name, ratio in content["peer_ratios"].items():
        console.print(f"{name}: median {ratio:.1f} times ours (learning off)", highlight=False)


def _peers(model: str, checkpoint: Path | None, events: Sequence[Event], features: Any) -> list[LatencyRun]:
    """The same weights through ``segment_anything`` itself, and through the official ONNX decoder."""
    from importlib.util import find_spec
    from tempfile import TemporaryDirectory

    from livesam.benchmarks.targets import OfficialOnnxTarget, PredictorTarget, export_official_decoder
    from livesam.engine.models import load

    sam, image = load(model, checkpoint), picture()
    image_hw = (image.shape[0], image.shape[1])
    with counting("SamPredictor", len(events)) as progress:
        predictor = PredictorTarget(sam, image, model)
        runs = [run_stream(predictor, events, image_hw, peer="SamPredictor, eager", progress=progress)]
    if find_spec("onnxruntime") is None:
        return runs
    with TemporaryDirectory() as folder, counting("official ONNX", len(events)) as progress:
        path = Path(folder) / "decoder.onnx"
        export_official_decoder(sam, path)
        side = int(sam.image_encoder.img_size)
        official = OfficialOnnxTarget(path, features, image_hw, side, model)
        runs.append(run_stream(official, events, image_hw, peer="official ONNX decoder", progress=progress))
    return runs


def _noted(run: LatencyRun, notes: Mapping[str, object]) -> LatencyRun:
    from dataclasses import replace

    return replace(run, notes=notes)
