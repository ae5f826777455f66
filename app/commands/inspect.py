"""``livesam inspect``, ``livesam merge`` and ``livesam import``: looking at weights, joining them, taking them over."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from livesam.app.options import CheckpointOption, ModelOption
from livesam.app.progress import working


class How(StrEnum):
    """What is done with the differences."""

    mean = "mean"
    sum = "sum"


class Into(StrEnum):
    """What an import becomes."""

    auto = "auto"
    base = "base"
    decoder = "decoder"


def inspect(
    file: Annotated[Path, typer.Argument(help="Weights, graph, or a folder that an export wrote.")],
    as_json: Annotated[bool, typer.Option("--json", help="Everything as JSON.")] = False,
) -> None:
    """Say what a file is, without running anything of it."""
    from livesam.export.foreign.inspect import inspect_file

    found = inspect_file(file).as_dict()
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    typer.echo(f"{found['path']}: {found['summary']}")
    labels = {
        "kind": "kind",
        "model": "model",
        "method": "method",
        "base_sha256": "base",
        "learned": "learned on",
        "metrics": "metrics",
        "precision": "precision",
        "size_bytes": "size",
        "sha256": "sha256",
        "inputs": "inputs",
        "outputs": "outputs",
        "details": "details",
    }
    for key, label in labels.items():
        value = found[key]
        if not value:
            continue
        if key == "size_bytes":
            value = f"{value / 2**20:.2f} MiB"
        typer.echo(f"  {label + ':':12}{_text(value)}")
    for warning in found["warnings"]:
        typer.echo(f"  warning:    {warning}")


def merge(
    files: Annotated[list[Path], typer.Argument(help="Adapted decoders of one base.", metavar="FILE...")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Adapted decoder to write, .safetensors.")],
    model: ModelOption = "nano",
    checkpoint: CheckpointOption = None,
    how: Annotated[How, typer.Option("--how", help="Mean or sum of what each has learned.")] = How.mean,
    factor: Annotated[float, typer.Option("--factor", help="Times that mean or sum.")] = 1.0,
) -> None:
    """Make several people's adapted decoders of one base into one: base + factor * mean (or sum) of the differences."""
    from livesam.engine.models.loading import decoder_weights, load
    from livesam.export.foreign.merge import merge_adapted

    with working(f"merging {len(files)} decoders"):
        base = decoder_weights(load(model, checkpoint))
        info = merge_adapted(files, base, out, how="sum" if how is How.sum else "mean", factor=factor)
    typer.echo(f"{out}: {how.value} of {len(files)} adapted decoders of {info.model}, times {factor:g}")


def import_(
    file: Annotated[Path, typer.Argument(help="A .pth or .pt, safetensors, or a Hugging Face folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="What to write, .safetensors (a base: or .pth).")],
    model: ModelOption,
    checkpoint: CheckpointOption = None,
    into: Annotated[Into, typer.Option("--into", help="Insist on a base or an adapted decoder.")] = Into.auto,
) -> None:
    """Take over weights that were adapted or fine-tuned elsewhere."""
    from livesam.engine.models.loading import downloaded
    from livesam.export.foreign.importing import import_weights

    base = downloaded(model) if checkpoint is None else checkpoint
    with working(f"importing {file.name}"):
        became = import_weights(file, model, out, checkpoint=base, into=into.value)
    option = "--adapted" if became == "decoder" else "--checkpoint"
    what = "an adapted decoder" if became == "decoder" else "a base"
    typer.echo(f"{out}: {what} of {model}; give it with {option}")


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(inner)}" for key, inner in value.items() if inner not in ("", [], {}, None))
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_text, value))}]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
