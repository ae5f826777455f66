"""Many images encoded ahead of time, into a folder that sessions read from."""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from livesam.engine.session.cached_encoder import CachedEncoder
    from livesam.export.opening import Opening

INDEX = "index.json"
WORKERS = min(4, (os.cpu_count() or 1) + 1)  # images at once; the largest that is read takes 200 MB

Item = TypeVar("Item")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Embedded:
    """The result of embedding a set of images.

    Attributes:
        encoded: number encoded in this call.
        found: number that was there already.
        left_out: those that could not be used, with the reason.
        runtime: what encoded them.
    """

    encoded: int
    found: int
    left_out: dict[Path, str] = field(default_factory=dict)
    runtime: str = ""


def _quiet(done: int, total: int) -> None: ...


def embed_images(
    images: Sequence[Path],
    out: Path,
    opening: Opening,
    *,
    bands: tuple[int, ...] | None = None,
    progress: Callable[[int, int], None] = _quiet,
) -> Embedded:
    """Encode images into the folder ``out``; those that are there already are not encoded again.

    ``index.json`` there says which file has which image's embedding. While one image is encoded, others are read,
    looked up and written.

    Args:
        bands: which bands of the images are red, green and blue, from 1; None for the usual.
        progress: is told how many of how many are done.

    Raises:
        ValueError: ``out`` is a file.
        LivesamError: the model cannot be opened, or an embedding could not be written.
    """
    from livesam.engine.files.lock import exclusive
    from livesam.engine.session.cache import EmbeddingCache
    from livesam.engine.session.cached_encoder import CachedEncoder
    from livesam.engine.values.errors import ImageError
    from livesam.export.opening import open_encoder

    if out.exists() and not out.is_dir():
        raise ValueError(f"a folder is wanted for the embeddings, {str(out)!r} is a file")
    out.mkdir(parents=True, exist_ok=True)
    encoder = CachedEncoder(open_encoder(opening), EmbeddingCache(0, out, required=True))
    index = _read_index(out / INDEX)
    before = dict(index)
    encoded, found, left_out = 0, 0, {}
    try:
        for done, (path, ask) in enumerate(ahead(images, lambda path: _embed_one(encoder, path, out, bands)), 1):
            try:
                key, was_there = ask()
            except ImageError as error:
                left_out[path] = str(error)
            else:
                index[str(path)] = {"key": key, "file": f"{hashlib.sha256(key.encode()).hexdigest()}.safetensors"}
                encoded, found = encoded + (not was_there), found + was_there
            progress(done, len(images))
    finally:
        encoder.close()
        if index != before:
            new = {path: entry for path, entry in index.items() if before.get(path) != entry}
            with exclusive(out / f".{INDEX}.lock"):  # another process may have embedded other images into it meanwhile
                _write_index(out / INDEX, {**_read_index(out / INDEX), **new})
    return Embedded(encoded, found, left_out, encoder.runtime)


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
            inside = (p for p in sorted(path.rglob("*")) if is_image_name(p.relative_to(path)) and p.is_file())
            found.update(dict.fromkeys(inside))
        elif path.exists():
            found[path] = None
        else:
            raise ValueError(f"no such file or folder: {str(path)!r}")
    if not found:
        raise ValueError(f"no images in {', '.join(str(path) for path in paths)}: {', '.join(SUFFIXES)} are looked for")
    return list(found)


def is_image_name(path: PurePath) -> bool:
    """Whether a file that lies so below a folder is one of its images, by its name alone."""
    from livesam.engine.files.image import SUFFIXES

    return path.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in path.parts)


def ahead(
    items: Iterable[Item], work: Callable[[Item], T], workers: int = WORKERS
) -> Iterator[tuple[Item, Callable[[], T]]]:
    """Each item in turn with what asks for its result; meanwhile threads are at work on the next few."""
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[tuple[Item, Future[T]]] = deque()
        try:
            for item in items:
                waiting.append((item, pool.submit(work, item)))
                if len(waiting) > workers:
                    done, future = waiting.popleft()
                    yield done, future.result
            while waiting:
                done, future = waiting.popleft()
                yield done, future.result
        finally:
            for _, future in waiting:  # an error, or the user, ended it
                future.cancel()


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


def _read_index(path: Path) -> dict[str, dict[str, str]]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}  # it is made anew from what is encoded
    return content if isinstance(content, dict) else {}


def _write_index(path: Path, index: dict[str, dict[str, str]]) -> None:
    from livesam.engine.files.atomic import atomic_write

    with atomic_write(path) as file:
        file.write((json.dumps(index, indent=1, sort_keys=True) + "\n").encode())
