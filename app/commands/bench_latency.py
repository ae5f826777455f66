"""The work behind ``livesam bench latency``: sessions with and without the learner, and peers, in turns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from livesam.app.progress import counting
from livesam.benchmarks.latency.samples import LatencyRun, report
from livesam.benchmarks.latency.stream import Pace, click_stream, picture
from livesam.benchmarks.latency.targets import SessionTarget
from livesam.benchmarks.latency.turns import Entrant, run_turns
from livesam.benchmarks.reports.environment import environment

if TYPE_CHECKING:
    from livesam.adapter.learning.learner import Learner
    from livesam.engine.session.session import Session
    from livesam.export.opening import Opening


def measure_latency(
    opening: Opening,
    *,
    modes: Sequence[str],
    method: str,
    clicks: int,
    pace: Pace,
    seed: int,
    peers: bool,
) -> tuple[list[LatencyRun], dict[str, Any]]:
    """Run the stream in every mode and through the peers, in turns; returns the runs and the report around them."""
    from livesam.app.opening import open_session

    model, checkpoint = opening.model, opening.checkpoint
    events = click_stream(clicks, seed, pace)
    image = picture()
    facts = environment()
    entrants: list[Entrant] = []
    features: Any = None
    loop: Learner | None = None
    with ExitStack() as stack:
        for mode in modes:
            session = open_session(opening)
            stack.callback(session.close)
            features = session.set_image(image).numpy()
            if mode == "on":
                entrant, loop = _learning(session, opening, method, stack)
            else:
                entrant = Entrant(SessionTarget(session, model))
            entrants.append(entrant)
        if peers:
            entrants += _peers(model, opening.size, checkpoint, features, stack)
        progress = stack.enter_context(counting("clicks", len(events) * len(entrants)))
        runs = run_turns(entrants, events, (image.shape[0], image.shape[1]), progress=progress)
        if loop is not None:
            notes = {"method": method, "learner": asdict(loop.stats())}
            runs = [replace(run, notes=notes) if run.learning == "on" else run for run in runs]
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
    for run in runs:
        learner: Any = run.notes.get("learner")
        if learner is not None:
            counts = Counter(learner["counts"])
            console.print(
                f"meanwhile learned: {counts['steps']} steps, {counts['published']} decoders published", highlight=False
            )
    ratios = content["learning_ratios"]
    if ratios:
        console.print(f"learning on / off: p50 {ratios['p50']:.2f}, p99 {ratios['p99']:.2f}", highlight=False)
    for name, ratio in content["peer_ratios"].items():
        console.print(f"{name}: median {ratio:.1f} times ours (learning off)", highlight=False)


def _learning(session: Session, opening: Opening, method: str, stack: ExitStack) -> tuple[Entrant, Learner]:
    """A session that learns in its own turns only, and its learner."""
    from livesam.adapter.learning.learner import learn

    learner = stack.enter_context(learn(session, method, device=opening.device or "cpu"))
    # None: its last micro-step or publish ends before the next one's turn begins.
    target = SessionTarget(session, opening.model)
    return Entrant(target, "on", None, learner.resume, lambda: learner.pause(None)), learner


def _peers(model: str, size: int | None, checkpoint: Path | None, features: Any, stack: ExitStack) -> list[Entrant]:
    """The same weights through ``segment_anything`` itself, and through the official ONNX decoder."""
    from importlib.util import find_spec
    from tempfile import TemporaryDirectory

    from livesam.benchmarks.latency.targets import OfficialOnnxTarget, PredictorTarget, export_official_decoder
    from livesam.engine.models.loading import load

    sam, image = load(model, checkpoint, size), picture()
    peers = [Entrant(PredictorTarget(sam, image, model), peer="SamPredictor, eager")]
    if find_spec("onnxruntime") is not None:
        path = Path(stack.enter_context(TemporaryDirectory())) / "decoder.onnx"
        export_official_decoder(sam, path)
        side = int(sam.image_encoder.img_size)
        official = OfficialOnnxTarget(path, features, (image.shape[0], image.shape[1]), side, model)
        peers.append(Entrant(official, peer="official ONNX decoder"))
    return peers
