"""The work behind ``livesam bench latency``: sessions with and without the learner, and the peers, on one stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from livesam.app.progress import counting
from livesam.benchmarks.environment import environment
from livesam.benchmarks.latency import LatencyRun, report, run_stream
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
    from livesam.app.opening import open_session

    events = click_stream(clicks, seed, pace)
    image = picture()
    facts = environment()
    runs: list[LatencyRun] = []
    features: Any = None
    for mode in modes:
        session = open_session(model, checkpoint=checkpoint, runtime=runtime, precision=precision, device=device)
        try:
            features = session.set_image(image).numpy()
            runs.append(_run(session, model, checkpoint, method if mode == "on" else None, events, device))
        finally:
            session.close()
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
    for heading in ("what", "events", "p50", "p95", "p99", "max"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for run in runs:
        figures = (f"{run.percentile_ms(p):.1f}" for p in (50, 95, 99, 100))
        table.add_row(run.peer or f"{run.model}, learning {run.learning}", str(len(run.samples)), *figures)
    console = Console()
    console.print(table)
    for run in runs:
        stages = ", ".join(f"{name} {ms:.2f}" for name, ms in run.stages_ms().items() if name != "total")
        if stages:
            what = run.peer or f"learning {run.learning}"
            console.print(f"{what}: {run.runtime}; median {stages}", highlight=False)
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


def _run(
    session: Session,
    model: str,
    checkpoint: Path | None,
    method: str | None,
    events: Sequence[Event],
    device: str | None,
) -> LatencyRun:
    """The stream through a session that has its image; with a method, it learns from it meanwhile."""
    from dataclasses import asdict, replace

    target, image_hw = SessionTarget(session, model), session.embedding.original_hw
    if method is None:
        with counting("learning off", len(events)) as progress:
            return run_stream(target, events, image_hw, learning="off", progress=progress)

    from livesam.adapter.learner import learning
    from livesam.engine.models import load

    with (
        learning(session, load(model, checkpoint), method, device or "cpu") as loop,
        counting("learning on", len(events)) as progress,
    ):
        run = run_stream(target, events, image_hw, learning="on", progress=progress)
        return replace(run, notes={"method": method, "learner": asdict(loop.stats())})
