"""``livesam embed``: encode many images ahead of time, for ``segment --embeddings`` and for sessions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from livesam.app.options import (
    BandsOption,
    CheckpointOption,
    DeviceOption,
    ModelOption,
    PrecisionOption,
    Runtime,
    RuntimeOption,
    SizeOption,
)


def embed(
    paths: Annotated[list[Path], typer.Argument(help="Images, or folders of them.", metavar="PATHS...")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the embeddings; made when missing.")],
    model: ModelOption = "nano",
    size: SizeOption = None,
    checkpoint: CheckpointOption = None,
    runtime: RuntimeOption = Runtime.auto,
    precision: PrecisionOption = None,
    device: DeviceOption = None,
    bands: BandsOption = None,
) -> None:
    """Encode images ahead of time; run again, it goes on where it stopped.

    Files that cannot be used are named and left out, and the exit code is then 1. Files whose name begins with a dot
    are no images.
    """
    from livesam.app.arguments import parse_bands
    from livesam.app.opening import opening_of
    from livesam.app.progress import counting
    from livesam.embedding import embed_images, find_images
    from livesam.engine.values.errors import LivesamError

    chosen, images = parse_bands(bands), find_images(paths)
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out names a file, a folder is wanted: {str(out)!r}")
    opening = opening_of(model, checkpoint, runtime, precision, device, size)
    with counting("encoding", len(images)) as progress:
        done = embed_images(images, out, opening, bands=chosen, progress=progress)
    typer.echo(f"{out}: {done.encoded} encoded, {done.found} were there already, {done.runtime}")
    if done.left_out:
        *others, last = done.left_out.values()
        for reason in others:
            typer.echo(f"livesam: left out: {reason}", err=True)
        raise LivesamError(f"{len(done.left_out)} of {len(images)} images were left out: {last}")
