"""What a domain costs elsewhere: adapt on one set, then measure the adapted decoder, frozen, on others.

``python -m livesam.benchmarks.quality.forgetting ADAPT_ON... --on SET... --data DIR`` prints, for every set that was
adapted on, the mean IoU after 1 and 5 clicks over the other sets, before and after. Beside it stands whether the base
decoder came back bit for bit when the method was reset. The JSON is written after every set, and a later call with the
same settings goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from livesam.benchmarks.quality.command import run_command
from livesam.benchmarks.quality.evaluation import run as evaluate
from livesam.benchmarks.quality.settings import Settings
from livesam.benchmarks.quality.unfinished import read_unfinished

if TYPE_CHECKING:
    from livesam.engine.values.protocols import DecoderWeights
    from segment_anything.modeling import Sam

TARGET_LOSS = 0.03  # of mean IoU after 5 clicks


def measure(
    adapt_on: Sequence[Path],
    on: Sequence[Path],
    settings: Settings,
    sam: Sam,
    *,
    done: Mapping[str, Any] | None = None,
    save: Callable[[dict[str, Any]], None] = lambda result: None,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Adapt on each set from the base weights, and evaluate each adapted decoder on the other sets without learning.

    Args:
        done: an earlier, unfinished result with the same settings; what it holds is not measured again.
        save: given the result after every part.

    Returns:
        the settings, ``base`` and ``adapted``: the mean over ``on`` of the figures of ``livesam eval``; by set in the
        latter also ``lost``, base minus adapted IoU by number of clicks, and ``base_is_back``.

    Raises:
        ValueError: as ``livesam.benchmarks.quality.evaluation.run``.
    """
    from livesam.adapter.learning.loop_state import same_weights
    from livesam.adapter.registry import create
    from livesam.benchmarks.quality.predictors import MethodPredictor
    from livesam.engine.models.loading import decoder_weights
    from livesam.engine.runtimes.torch_encoder import TorchEncoder

    encoder = TorchEncoder(sam)
    result: dict[str, Any] = {**(done or {}), "adapted": dict((done or {}).get("adapted", {}))}

    def frozen(weights: DecoderWeights) -> dict[str, Any]:
        found = evaluate(on, MethodPredictor(create("frozen", with_decoder(sam, weights)), encoder), settings)
        return {"objects": found["mean"]["objects"], "iou_at": found["mean"]["iou_at"], "fr": found["mean"]["fr"]}

    base = decoder_weights(sam)
    if "base" not in result:
        progress("base")
        result["base"] = frozen(base)
        save(result)
    for folder in adapt_on:
        if folder.name in result["adapted"]:
            continue
        progress(f"adapting on {folder.name}")
        method = create(settings.method, sam, seed=settings.seed)
        evaluate([folder], MethodPredictor(method, encoder), settings)
        weights = method.domain_weights()
        method.reset()
        now = method.weights()
        progress(f"measuring what {folder.name} left")
        after = frozen(weights)
        lost = {k: None if v is None else result["base"]["iou_at"][k] - v for k, v in after["iou_at"].items()}
        back = same_weights(base, now)
        result["adapted"][folder.name] = {**after, "lost": lost, "base_is_back": back}
        save(result)
    return result


def with_decoder(sam: Sam, weights: DecoderWeights) -> Sam:
    """A copy of the model with these decoder weights."""
    import torch

    copy = deepcopy(sam)
    copy.mask_decoder.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in weights.items()})
    return copy


def table(result: Mapping[str, Any]) -> str:
    """The figures for reading, with the target under them."""
    base = result["base"]["iou_at"]
    lines = [
        f"{'adapted on':20}{'IoU@1':>8}{'IoU@5':>8}{'lost@1':>9}{'lost@5':>9}",
        f"{'(base)':20}{base['1']:8.3f}{base['5']:8.3f}",
    ]
    for name, row in result["adapted"].items():
        figures = row["iou_at"]["1"], row["iou_at"]["5"], row["lost"]["1"], row["lost"]["5"]
        lines.append("{:20}{:8.3f}{:8.3f}{:+9.3f}{:+9.3f}".format(name, *figures))
    worst = max((row["lost"]["5"] for row in result["adapted"].values()), default=0.0)
    lines.append(f"at most {TARGET_LOSS} of IoU@5 may be lost; the most that was lost is {worst:.3f}")
    return "\n".join(lines)


def run(
    sets: Annotated[list[str], typer.Argument(help="Sets below --data to adapt on, by name or pattern.")],
    on: Annotated[list[str], typer.Option("--on", help="Sets to measure on; may be repeated.")],
    data: Annotated[
        Path, typer.Option(help="Folder that holds the sets.", envvar="LIVESAM_DATA", show_envvar=True)
    ] = Path("."),
    method: Annotated[str, typer.Option(help="A method that learns.")] = "live",
    limit: Annotated[int, typer.Option(min=1, help="At most so many objects a set.")] = 20,
    target_iou: Annotated[float, typer.Option(help="A mask this good is accepted.")] = 0.85,
    max_clicks: Annotated[int, typer.Option(min=5, help="The user gives up after so many clicks.")] = 20,
    seed: Annotated[int, typer.Option(help="Decides order and choice of the objects, and what a method draws.")] = 0,
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Write the result; an unfinished one is gone on with.")
    ] = None,
) -> None:
    """What adapting on some sets costs on others."""
    from livesam.benchmarks.quality.datasets import resolve_sets
    from livesam.engine.files.atomic import write_json
    from livesam.engine.files.hashing import weights_hash
    from livesam.engine.models.loading import decoder_weights, load

    adapt_on, measure_on = resolve_sets(sets, data), resolve_sets(on, data)
    sam = load("nano")
    settings = Settings(method, "nano", seed, target_iou, max_clicks, limit)
    echo = {
        "method": method, "model": "nano", "seed": seed, "target_iou": target_iou, "max_clicks": max_clicks,
        "limit": limit, "on": [folder.name for folder in measure_on], "decoder": weights_hash(decoder_weights(sam)),
    }  # fmt: skip
    done = read_unfinished(json_path, echo)

    def save(result: dict[str, Any]) -> None:
        if json_path is not None:
            write_json(json_path, {**echo, **result})

    result = measure(
        adapt_on, measure_on, settings, sam, done=done, save=save, progress=lambda line: typer.echo(line, err=True)
    )
    typer.echo(table(result))


def main() -> None:
    """``python -m livesam.benchmarks.quality.forgetting``."""
    run_command("forgetting", run)


if __name__ == "__main__":
    main()
