"""``livesam embed``: encode many images ahead of time, for ``segment --embeddings`` and for sessions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from livesam.app.options import (
    CheckpointOption,
    DeviceOption,
    ModelOption,
    PrecisionOption,
    Runtime,
    RuntimeOption,
    SizeOption,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from livesam.engine.cache import EmbeddingCache
    from livesam.engine.protocols import ImageEncoder

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
INDEX = "index.json"


def embed(
    paths: Annotated[list[Path], typer.Argument(help="Images, or folders of them.", metavar="PATHS...")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the embeddings; made when missing.")],
    model: ModelOption = "nano",
    size: SizeOption = None,
    checkpoint: CheckpointOption = None,
    runtime: RuntimeOption = Runtime.auto,
    precision: PrecisionOption = None,
    device: DeviceOption = None,
) -> None:
    """Encode images ahead of time; run again, it goes on where it stopped."""
    from livesam.app.progress import counting, working
    from livesam.engine.errors import ImageError, LivesamError

    images = find_images(paths)
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out names a file, a folder is wanted: {str(out)!r}")
    out.mkdir(parents=True, exist_ok=True)

    from livesam.engine.cache import EmbeddingCache
    from livesam.export.serving import open_encoder

    with working(f"opening {model}'s encoder") as stage:
        encoder = open_encoder(
            model,
            checkpoint,
            size=size,
            runtime=runtime.value,
            precision=precision,
            device=device,
            progress=stage,
        )
    cache = EmbeddingCache(0, out, required=True)
    index = _read_index(out / INDEX)
    before = dict(index)
    done, skipped, bad = 0, 0, []
    try:
        with counting("encoding", len(images)) as progress:
            for position, path in enumerate(images):
                try:
                    key, was_there = _embed_one(encoder, cache, path, out)
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
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        raise LivesamError(f"{len(bad)} of {len(images)} images were left out: {bad[0]}{more}")


def find_images(paths: Sequence[Path]) -> list[Path]:
    """The images among files and below folders, each once, folders in sorted order.

    Raises:
        ValueError: a path does not exist, or there is no image at all.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = (p for p in sorted(path.rglob("*")) if p.suffix.lower() in SUFFIXES and p.is_file())
            found.update(dict.fromkeys(inside))
        elif path.exists():
            found[path] = None
        else:
            raise ValueError(f"no such file or folder: {str(path)!r}")
    if not found:
        raise ValueError(f"no images in {', '.join(str(path) for path in paths)}: {', '.join(SUFFIXES)} are looked for")
    return list(found)


def _embed_one(encoder: ImageEncoder, cache: EmbeddingCache, path: Path, out: Path) -> tuple[str, bool]:
    from livesam.engine.errors import LivesamError
    from livesam.engine.image import image_hash, read_image

    image = read_image(path)
    key_of = getattr(encoder, "key", None)
    if key_of is not None:
        key = str(key_of(image_hash(image)))
        if cache.get(key) is not None:  # read in full, so a damaged file is encoded anew
            return key, True
    embedding = encoder.encode(image)
    try:
        cache.put(embedding)
    except OSError as error:
        raise LivesamError(
            f"the embedding of {path} could not be written to {out}: {error.strerror or error}"
        ) from error
    return embedding.key, False


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

    from livesam.engine.atomic import atomic_write

    with atomic_write(path) as file:
        file.write((json.dumps(index, indent=1, sort_keys=True) + "\n").encode())
