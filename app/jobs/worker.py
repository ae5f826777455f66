"""What does shards, one after the other: reads images ahead, makes something of each, writes the shard."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
from livesam.app.jobs.shards import FOLDER, Record, Shard, record_of
from livesam.app.jobs.source import Source
from livesam.app.storage import Target, read
from livesam.embedding import WORKERS, ahead
from livesam.engine.values.errors import ImageError, LivesamError

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """An image that was read: its name, and its pixels as RGB uint8 ``(H, W, 3)``."""

    name: str
    pixels: Pixels


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """What was made of an image.

    Attributes:
        name: of the image.
        facts: what the shard's record says of it, ``key`` in any case.
        content: what the shard's file holds.
    """

    name: str
    facts: Mapping[str, Any]
    content: Any


class Maker(Protocol):
    """Makes something of images, and files of that."""

    made_by: str  # changes with everything that changes the result
    runtime: str
    suffix: str  # of its files
    batch: int  # images that it takes at once

    def make(self, pictures: Sequence[Picture]) -> list[Made]:
        """Raises ``ValueError`` where one of the images cannot be used."""
        ...

    def write(self, made: Sequence[Made], path: Path) -> None: ...

    def close(self) -> None: ...


class Work(Protocol):
    """What a maker is opened from, in the process that does the work; travels there by pickle."""

    kind: ClassVar[str]  # what it makes, in a word

    def open(self, threads: int) -> Maker: ...


@dataclass(frozen=True)
class Job:
    """A job, as its workers need to know it.

    Attributes:
        work: what is made of each image.
        root: of the source, as in ``Source``.
        target: where shards go.
        made_by: what made the shards that are there already; empty where there are none.
        bands: which bands of the images are red, green and blue, from 1; None for the usual.
    """

    work: Work
    root: str
    target: Target
    made_by: str = ""
    bands: tuple[int, ...] | None = None


class Worker:
    """One process's part of a job.

    Args:
        threads: of the engine on a CPU; 0 for one a core.
        readers: images that are read at once, while others are at work.

    Raises:
        LivesamError: the model cannot be opened, or is another than the one that made what is there.
    """

    def __init__(self, job: Job, threads: int = 0, readers: int = WORKERS) -> None:
        self._job, self._source, self._readers = job, Source(job.root, ()), readers
        self._maker = job.work.open(threads)
        if job.made_by not in ("", self._maker.made_by):
            made_by = self._maker.made_by
            self._maker.close()
            raise LivesamError(
                f"{job.target.url} holds {job.work.kind} made by {job.made_by}, this would be {made_by}: give the "
                "options of then, or another --out"
            )

    def do(self, shard: Shard) -> Record:
        """Do a shard; one that is done already, because its worker died on the way home, is not done again.

        Raises:
            OSError: it cannot be written.
        """
        maker, target = self._maker, self._job.target
        known = record_of(target, shard)
        if known is not None and known.made_by == maker.made_by and not known.left_out:
            return known
        left_out: dict[str, str] = {}
        made = self._make_all(shard, left_out)
        file = posixpath.join(FOLDER, shard.name + maker.suffix) if made else ""
        digest = ""
        if made:
            from livesam.engine.files.hashing import file_sha256

            with target.writing(file) as path:
                maker.write(made, path)
                digest = file_sha256(path)
        facts = {one.name: one.facts for one in made}
        record = Record(shard.name, file, digest, maker.made_by, maker.runtime, facts, left_out)
        record.write(target)
        return record

    def close(self) -> None:
        """Free the engine."""
        self._maker.close()

    def _make_all(self, shard: Shard, left_out: dict[str, str]) -> list[Made]:
        made: list[Made] = []
        waiting: list[Picture] = []
        for name, ask in ahead(shard.images, self._read, self._readers):
            try:
                waiting.append(ask())
            except ImageError as error:
                left_out[name] = str(error)
            if len(waiting) == self._maker.batch:
                made += self._make(waiting, left_out)
                waiting = []
        return made + (self._make(waiting, left_out) if waiting else [])

    def _make(self, pictures: Sequence[Picture], left_out: dict[str, str]) -> list[Made]:
        """One that cannot be used takes none of its batch with it."""
        try:
            return self._maker.make(pictures)
        except ValueError as error:
            if len(pictures) == 1:
                left_out[pictures[0].name] = f"{pictures[0].name}: {error}"
                return []
        return [made for one in pictures for made in self._make([one], left_out)]

    def _read(self, name: str) -> Picture:
        from livesam.engine.files.image import decode_image

        try:
            data = read(self._source.url(name))
        except LivesamError:
            raise
        except Exception as error:  # each of fsspec's file systems has errors of its own
            raise ImageError(f"cannot read the image {name}: {str(error) or type(error).__name__}") from error
        return Picture(name, decode_image(data, name, bands=self._job.bands))
