"""Shards: how a job is divided, and what is known of each part that is done."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from livesam.app.storage import Target
from livesam.engine.values.errors import LivesamError

FOLDER, RECORDS = "shards", "records"  # apart, so that a reader of Parquet takes the folder as it is
# A shard's file, and what ``livesam.engine.files.atomic`` calls it before it is whole. All else is somebody else's.
OURS = re.compile(r"[0-9a-f]{24}\.(parquet|safetensors)|\.[0-9a-f]{24}\.(parquet|safetensors)\.[0-9a-f]{12}\.tmp")
SIZE = 64  # images: 64 MiB of embeddings at 512 px, 256 MiB at 1024, which a worker holds twice while it writes


@dataclass(frozen=True)
class Shard:
    """Images that one worker does, into one file.

    Attributes:
        name: of its files; the same images have the same, so that a worker who does them again writes over itself.
        images: their names.
    """

    name: str
    images: tuple[str, ...]


@dataclass(frozen=True)
class Record:
    """What is in a shard that is done; written after its file, so where there is one the shard is whole.

    Attributes:
        shard: its name.
        file: in the target; empty where every image was bad.
        sha256: of the file.
        made_by: what made it: weights, size, precision, and what else changes the result.
        runtime: what ran.
        images: by name what is known of each, ``key`` in any case.
        left_out: the images that could not be used, by name, with the reason.
    """

    shard: str
    file: str
    sha256: str
    made_by: str
    runtime: str
    images: Mapping[str, Mapping[str, Any]]
    left_out: Mapping[str, str] = field(default_factory=dict)

    def write(self, target: Target) -> None:
        """Write it; from now on the shard counts as done.

        Raises:
            OSError: it cannot be written.
        """
        target.write(posixpath.join(RECORDS, f"{self.shard}.json"), json.dumps(asdict(self)).encode())


def divide(images: Sequence[str], size: int, workers: int = 1) -> list[Shard]:
    """Shards of at most ``size`` images; smaller where workers would have nothing to do.

    Each worker has about four of them, so that at the end none waits long for the others.

    Raises:
        ValueError: ``size`` is not positive.
    """
    if size < 1:
        raise ValueError(f"a shard has 1 or more images, got {size}")
    size = max(1, min(size, -(-len(images) // (4 * workers))))
    parts = (tuple(images[start : start + size]) for start in range(0, len(images), size))
    return [Shard(_name(part), part) for part in parts]


def _name(images: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(images).encode()).hexdigest()[:24]


def records(target: Target) -> list[Record]:
    """All shards that are done, in the order of their names.

    A record that cannot be understood counts as absent; ``need_all`` finds it.

    Raises:
        OSError: one of them cannot be read.
    """
    read = (parse(data) for data in target.read_all(RECORDS, ".json"))
    return [one for one in read if one is not None]


def need_all(target: Target, found: Sequence[Record]) -> None:
    """Stop at a record that ``records`` has not understood: its shard may hold images that would be there twice.

    Raises:
        LivesamError: there is one; the message names it.
    """
    names = {name for name in target.names(RECORDS) if name.endswith(".json") and not name.startswith(".")}
    damaged = sorted(names - {f"{one.shard}.json" for one in found})
    if damaged:
        where, stem = target.where(posixpath.join(RECORDS, damaged[0])), damaged[0].removesuffix(".json")
        raise LivesamError(
            f"the record {where} is damaged ({len(damaged)} in all), so nobody knows which images its shard holds: "
            f"put it back, or remove it and {FOLDER}/{stem}.* to have them done again"
        )


def record_of(target: Target, shard: Shard) -> Record | None:
    """What is known of this shard, if it was done."""
    data = target.read(posixpath.join(RECORDS, f"{shard.name}.json"))
    return None if data is None else parse(data)


def parse(data: bytes) -> Record | None:
    """A record, or None where the bytes are none."""
    try:
        return Record(**json.loads(data))
    except (ValueError, TypeError):
        return None


def one_maker(found: Sequence[Record]) -> str:
    """What made all of them; empty where there are none.

    Raises:
        LivesamError: different things did.
    """
    makers = sorted({one.made_by for one in found})
    if len(makers) > 1:
        raise LivesamError(
            f"these shards were made by different models or precisions ({', '.join(makers)}): name --precision and "
            "--runtime, and another --out"
        )
    return makers[0] if makers else ""


def held(found: Sequence[Record]) -> Iterator[str]:
    """The images that shards hold."""
    for one in found:
        yield from one.images
