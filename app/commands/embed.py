"""``livesam embed``: encode many images ahead of time, for ``segment --embeddings`` and for sessions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from livesam.app.options import (
    BandsOption,
    CheckpointOption,
    DeviceOption,
    ModelOption,
    PrecisionOption,
    Runtime,
    RuntimeOption,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from livesam.engine.session.cached_encoder import CachedEncoder

INDEX = "index.json"


def embed(
    paths: Annotated[list[Path], typer.Argument(help="Images, or folders of them.", metavar="PATHS...")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the embeddings; made when missing.")],
    model: ModelOption = "nano",
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
    from livesam.app.progress import counting, working
    from livesam.engine.values.errors import ImageError, LivesamError

    chosen = parse_bands(bands)
    images = find_images(paths)
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out names a file, a folder is wanted: {str(out)!r}")
    out.mkdir(parents=True, exist_ok=True)

    from livesam.engine.session.cache import EmbeddingCache
    from livesam.engine.session.cached_encoder import CachedEncoder
    from livesam.export.opening import open_encoder

    with working(f"opening {model}'s encoder") as stage:
        opened = open_encoder(opening_of(model, checkpoint, runtime, precision, device), progress=stage)
    encoder = CachedEncoder(opened, EmbeddingCache(0, out, required=True))
    index = _read_index(out / INDEX)
    before = dict(index)
    done, skipped = 0, 0
    bad: list[str] = []
    try:
        with counting("encoding", len(images)) as progress:
            for position, path in enumerate(images):
                try:
                    key, was_there = _embed_one(encoder, path, out, chosen)
                except ImageError as error:
                    bad.append(str(error))
                else:
                    index[str(path)] = {"key": key, "file": f"{_digest(key)}.safetensors"}
                    skipped, done = skipped + was_there, done + (not was_there)
                progress(position + 1, len(images))
    finally:
        encoder.close()
        if index != before:
            _write_index(out / INDEX, index)
    typer.echo(f"{out}: {done} encoded, {skipped} were there already, {encoder.runtime}")
    if bad:
        for reason in bad[:-1]:
            typer.echo(f"livesam: left out: {reason}", err=True)
        raise LivesamError(f"{len(bad)} of {len(images)} images were left out: {bad[-1]}")


def find_images(paths: Sequence[Path]) -> list[Path]:
    """The images among files and below folders, each once, folders in sorted order.

    A file that is named is taken whatever its name; below a folder those are taken that have an image's suffix, but
    none whose name, or whose folder's name, begins with a dot (``._photo.jpg``, ``.thumbnails``).

    Raises:
        ValueError: a path does not exist, or there is no image at all.
    """
    from livesam.engine.files.image import SUFFIXES

    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = (p for p in sorted(path.rglob("*")) if p.suffix.lower() in SUFFIXES and p.is_file())
            seen = (p for p in inside if not any(part.startswith(".") for part in p.relative_to(path).parts))
            found.update(dict.fromkeys(seen))
        elif path.exists():
            found[path] = None
        else:
            raise ValueError(f"no such file or folder: {str(path)!r}")
    if not found:
        raise ValueError(f"no images in {', '.join(str(path) for path in paths)}: {', '.join(SUFFIXES)} are looked for")
    return list(found)


def _embed_one(encoder: CachedEncoder, path: Path, out: Path, bands: tuple[int, ...] | None) -> tuple[str, bool]:
    """The key of an image's embedding, and whether it was there already; a damaged file is encoded anew."""
    from livesam.engine.files.image import read_image
    from livesam.engine.values.errors import ImageError, LivesamError

    image = read_image(path, bands=bands)
    try:
        encoded = encoder.encode(image)
    except ValueError as error:  # too thin for the encoder
        raise ImageError(f"{path}: {error}") from error
    except OSError as error:
        raise LivesamError(
            f"the embedding of {path} could not be written to {out}: {error.strerror or error}"
        ) from error
    return encoded.embedding.key, encoded.found


def _digest(key: str) -> str:
    import hashlib

    return hashlib.sha256(key.encode()).hexdigest()


def _read_index(path: Path) -> dict[str, dict[str, str]]:
    import json

    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}  # it is made anew from what is encoded
    return content if isinstance(content, dict) else {}


def _write_index(path: Path, index: dict[str, dict[str, str]]) -> None:
    import json

    from livesam.engine.files.atomic import atomic_write

    with atomic_write(path) as file:
        file.write((json.dumps(index, indent=1, sort_keys=True) + "\n").encode())
