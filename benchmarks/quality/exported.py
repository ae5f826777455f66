"""What an exported decoder is worth in the official predictor.

``python -m livesam.benchmarks.quality.exported SET... --data DIR`` learns on each set's first objects as a session
does, with zoom, and exports the decoder as an official ``.pth`` and as the official ONNX graph. Then the official
predictor answers simulated clicks on the set's other objects (``official.py``), beside the base exported alike. The
JSON is written after every set, and a later call with the same settings goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer
from livesam.benchmarks.quality.command import run_command
from livesam.benchmarks.quality.datasets import objects
from livesam.benchmarks.quality.metrics import mean_of, summarise
from livesam.benchmarks.quality.settings import Settings
from livesam.benchmarks.quality.side_by_side import evaluated
from livesam.benchmarks.quality.unfinished import read_unfinished

if TYPE_CHECKING:
    from livesam.benchmarks.quality.datasets import ObjectRef
    from livesam.engine.values.protocols import DecoderWeights

SHOWN = ("1", "3", "5", "10")


def measure(
    sets: Sequence[Path],
    settings: Settings,
    learn: int,
    *,
    device: str = "cpu",
    done: Mapping[str, Any] | None = None,
    save: Callable[[dict[str, Any]], None] = lambda result: None,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """By set the figures of ``base``, ``pth`` and ``onnx`` on the objects after the first ``learn``.

    Args:
        settings: ``limit`` counts the objects learned from too.
        done: an earlier, unfinished result with the same settings; what it holds is not measured again.
        save: given the result after every set.

    Raises:
        ValueError: a set has no object beyond those learned from.
        ExportError: a decoder could not be exported.
    """
    result: dict[str, Any] = {**(done or {}), "sets": dict((done or {}).get("sets", {}))}
    for folder in sets:
        if folder.name in result["sets"]:
            continue
        found = objects(folder, settings.min_area, settings.limit, settings.seed)
        if len(found) <= learn:
            progress(f"{folder.name} has {len(found)} objects: left out")
            continue
        progress(f"{folder.name}: learning from {learn} objects")
        weights = adapted(found[:learn], folder.name, settings, device)
        progress(f"{folder.name}: {len(found) - learn} objects in the official predictor")
        result["sets"][folder.name] = _driven(found[learn:], weights, settings)
        save(result)
    return result


def adapted(found: Sequence[ObjectRef], name: str, settings: Settings, device: str = "cpu") -> DecoderWeights:
    """The decoder that a method has after these objects, worked on with zoom."""
    from livesam.adapter.registry import create
    from livesam.benchmarks.quality.predictors import MethodPredictor
    from livesam.engine.models.loading import load
    from livesam.engine.runtimes.torch_encoder import TorchEncoder
    from livesam.engine.view.look import Look

    sam = load("nano")
    method = create(settings.method, sam, seed=settings.seed, device=device)
    predictor = MethodPredictor(method, TorchEncoder(sam, device), look=Look(zoom=True))
    predictor.begin_set(name, settings.seed)
    for _ in evaluated(found, predictor, settings):
        pass
    return method.domain_weights()


def _driven(found: Sequence[ObjectRef], weights: DecoderWeights, settings: Settings) -> dict[str, Any]:
    from livesam.benchmarks.quality.official import OfficialOnnxPredictor, OfficialPredictor
    from livesam.engine.models.loading import load
    from livesam.export.decoder_export import export_decoder

    images: dict[bytes, Any] = {}
    base = load("nano")
    with TemporaryDirectory() as folder:
        pth, onnx = Path(folder) / "adapted.pth", Path(folder) / "adapted.onnx"
        export_decoder("nano", format="sam-pth", out=pth, weights=weights)
        export_decoder("nano", format="sam-onnx", out=onnx, weights=weights)
        predictors = {
            "base": OfficialPredictor(base, images),
            "pth": OfficialPredictor(load("nano", pth), images),
            "onnx": OfficialOnnxPredictor(base, onnx, images),
        }
        return {
            name: summarise(list(evaluated(found, predictor, settings)), settings.target_iou, settings.max_clicks)
            for name, predictor in predictors.items()
        }


def table(result: Mapping[str, Any]) -> str:
    """The means over the sets in Markdown, and each set's clicks."""
    sets = result["sets"]
    lines = ["| mean of the sets | IoU@1 | IoU@3 | IoU@5 | IoU@10 | NoC | FR |", "| --- " * 7 + "|"]
    for kind in ("base", "pth", "onnx"):
        mean = mean_of([figures[kind] for figures in sets.values()])
        ious = " | ".join(f"{mean['iou_at'][k]:.3f}" for k in SHOWN)
        lines.append(f"| {kind} | {ious} | {mean['noc']:.2f} | {mean['fr']:.3f} |")
    lines += ["", "| set | base NoC | pth NoC | base IoU@1 | pth IoU@1 |", "| --- " * 5 + "|"]
    for name, figures in sorted(sets.items()):
        base, pth = figures["base"], figures["pth"]
        first = f"{base['iou_at']['1']:.2f} | {pth['iou_at']['1']:.2f}"
        lines.append(f"| {name} | {base['noc']:.1f} | {pth['noc']:.1f} | {first} |")
    return "\n".join(lines)


def run(
    sets: Annotated[list[str], typer.Argument(help="Sets below --data, by name or pattern.")],
    data: Annotated[
        Path, typer.Option(help="Folder that holds the sets.", envvar="LIVESAM_DATA", show_envvar=True)
    ] = Path("."),
    method: Annotated[str, typer.Option(help="A method that learns.")] = "live",
    learn: Annotated[int, typer.Option(min=1, help="Learn from a set's first so many objects.")] = 20,
    limit: Annotated[int, typer.Option(min=2, help="Objects a set, those learned from included.")] = 40,
    target_iou: Annotated[float, typer.Option(help="A mask this good is accepted.")] = 0.85,
    max_clicks: Annotated[int, typer.Option(min=10, help="The user gives up after so many clicks.")] = 20,
    seed: Annotated[int, typer.Option(help="Decides order and choice of the objects, and what a method draws.")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda, for learning.")] = "cpu",
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Write the result; an unfinished one is gone on with.")
    ] = None,
) -> None:
    """What an exported decoder is worth in the official predictor."""
    from livesam.benchmarks.quality.datasets import resolve_sets
    from livesam.engine.files.atomic import write_json

    folders = resolve_sets(sets, data)
    settings = Settings(method, "nano", seed, target_iou, max_clicks, limit)
    echo = {
        "method": method, "learn": learn, "seed": seed, "target_iou": target_iou, "max_clicks": max_clicks,
        "limit": limit,
    }  # fmt: skip
    done = read_unfinished(json_path, echo)

    def save(result: dict[str, Any]) -> None:
        if json_path is not None:
            write_json(json_path, {**echo, **result})

    def say(line: str) -> None:
        typer.echo(line, err=True)

    result = measure(folders, settings, learn, device=device, done=done, save=save, progress=say)
    if not result["sets"]:
        raise ValueError(f"no set has more than {learn} objects: lower --learn")
    typer.echo(table(result))


def main() -> None:
    """``python -m livesam.benchmarks.quality.exported``."""
    run_command("exported", run)


if __name__ == "__main__":
    main()
