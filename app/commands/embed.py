"""``livesam embed``: encode many images ahead of time, for ``segment --embeddings``, for sessions, or in shards."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from livesam.app.options import (
    BandsOption,
    CheckpointOption,
    DeviceOption,
    ModelOption,
    PrecisionOption,
    RayOption,
    Runtime,
    RuntimeOption,
    ShardOption,
    SizeOption,
    WorkersOption,
)

if TYPE_CHECKING:
    from livesam.export.opening import Opening


class ShardFormat(StrEnum):
    """The formats of ``livesam.app.jobs.embeddings.FORMATS``."""

    parquet = "parquet"
    safetensors = "safetensors"


def embed(
    paths: Annotated[
        list[str],
        typer.Argument(help="Images, folders of them, or .txt lists; for shards URLs, too.", metavar="SOURCE..."),
    ],
    out: Annotated[
        str, typer.Option("--out", "-o", help="Folder for the embeddings; made when missing.", metavar="TARGET")
    ],
    model: ModelOption = "nano",
    size: SizeOption = None,
    checkpoint: CheckpointOption = None,
    runtime: RuntimeOption = Runtime.auto,
    precision: PrecisionOption = None,
    device: DeviceOption = None,
    bands: BandsOption = None,
    format: Annotated[
        ShardFormat | None,
        typer.Option("--format", "-f", help="Write shards of many images and a manifest.  [with --ray: parquet]"),
    ] = None,
    shard: ShardOption = None,
    ray: RayOption = None,
    workers: WorkersOption = None,
) -> None:
    """Encode images ahead of time; run again, it goes on where it stopped.

    Files that cannot be used are named and left out, and the exit code is then 1. Files whose name begins with a dot
    are no images. Without --format and --ray each embedding becomes a file that sessions find; with them, SOURCE and
    TARGET may be s3://, gs:// and other places that fsspec knows, and TARGET gets shards (docs/scale.md).
    """
    from livesam.app.arguments import parse_bands
    from livesam.app.opening import opening_of

    chosen = parse_bands(bands)
    opening = opening_of(model, checkpoint, runtime, precision, device, size)
    if format is None and ray is None:
        if shard is not None or workers is not None:
            raise ValueError("--shard and --workers are for shards: add --format parquet or --ray")
        _embed_files(paths, out, opening, chosen)
        return

    from livesam.app.commands.job import JobOptions, run_job
    from livesam.app.jobs.embeddings import Embed

    work = Embed(opening, (format or ShardFormat.parquet).value)
    done = run_job(work, opening, paths, out, JobOptions(ray, workers, shard, chosen))
    done.tell("encoded")


def _embed_files(paths: list[str], out: str, opening: Opening, bands: tuple[int, ...] | None) -> None:
    """A file an image, in a folder that sessions read from."""
    from livesam.app.progress import counting
    from livesam.embedding import embed_images, find_images
    from livesam.engine.values.errors import LivesamError

    for one in (*paths, out):
        if "://" in one:
            raise ValueError(f"{one!r} is read and written in shards only: add --format parquet or --ray")
    images, folder = find_images([Path(one) for one in paths]), Path(out)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--out names a file, a folder is wanted: {out!r}")
    with counting("encoding", len(images)) as progress:
        done = embed_images(images, folder, opening, bands=bands, progress=progress)
    typer.echo(f"{folder}: {done.encoded} encoded, {done.found} were there already, {done.runtime}")
    if done.left_out:
        *others, last = done.left_out.values()
        for reason in others:
            typer.echo(f"livesam: left out: {reason}", err=True)
        raise LivesamError(f"{len(done.left_out)} of {len(images)} images were left out: {last}")
