"""``livesam download``: a model's official weights file, whole and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def download(
    model: Annotated[str, typer.Argument(help="vit_t, vit_b, vit_l or vit_h; nano is bundled.", metavar="MODEL")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Folder for the file; where every command looks when not given.", metavar="DIR"
        ),
    ] = None,
) -> None:
    """Fetch a model's official weights and check their SHA-256; run again, it goes on where it stopped."""
    from livesam.app.progress import fetching
    from livesam.engine.files.places import checkpoints_folder
    from livesam.engine.models.download import download as fetch
    from livesam.engine.models.spec import spec

    file = spec(model).checkpoint
    if file is None:
        raise ValueError(f"{model} needs no download, its weights are bundled: choose vit_t, vit_b, vit_l or vit_h")
    if out is not None and out.exists() and not out.is_dir():
        raise ValueError(f"--out names a file, a folder is wanted: {str(out)!r}")
    with fetching(file.filename, file.size) as progress:
        path = fetch(file, checkpoints_folder() if out is None else out, progress)
    how = f"--model {model} finds it there" if out is None else f"give it with --model {model} --checkpoint {path}"
    typer.echo(f"{path}: {file.size / 2**20:.1f} MiB, SHA-256 as expected; {how}")
