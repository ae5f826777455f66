"""A job from its beginning to its manifest; run again, it goes on where it stopped."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from livesam.app.jobs import manifest
from livesam.app.jobs.claim import claimed
from livesam.app.jobs.pool import Cluster, connected, run_on_ray
from livesam.app.jobs.shards import FOLDER, OURS, SIZE, Record, divide, held, need_all, one_maker, records
from livesam.app.jobs.source import Source, find
from livesam.app.jobs.worker import Job, Work, Worker
from livesam.app.storage import Target


@dataclass(frozen=True)
class Outcome:
    """What a run did.

    Attributes:
        made: images done in this run.
        found: images that were done already.
        left_out: those that could not be used, with the reason.
        runtime: what ran.
        shards: all that the target now has.
    """

    made: int
    found: int
    left_out: Mapping[str, str]
    runtime: str
    shards: Sequence[Record]

    @property
    def of(self) -> int:
        """All images of the source."""
        return self.made + self.found + len(self.left_out)


@dataclass(frozen=True)
class Request:
    """What a user asks for.

    Attributes:
        work: what to make of each image.
        given: files, folders, lists of images.
        target: where the shards go.
        cluster: the Ray cluster that does it; None for this process.
        size: images of a shard at most.
        bands: as in ``Job``.
        options: what the manifest keeps of the command's options.
    """

    work: Work
    given: Sequence[str]
    target: Target
    cluster: Cluster | None = None
    size: int = SIZE
    bands: tuple[int, ...] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


def run(request: Request, progress: Callable[[int, int], None] = lambda done, all_: None) -> Outcome:
    """Do what is not done yet.

    Args:
        progress: is told how many images of how many are done, after each shard.

    Raises:
        ValueError: no images, or a target that cannot be written to.
        LivesamError: the model cannot be opened, or is another than the one that made what is there; something is not
            installed; another job writes to the target; a record in it is damaged.
        OSError: a shard cannot be written.
    """
    request.target.check()
    source = find(request.given)
    with claimed(request.target):
        return _run(request, source, progress)


def _run(request: Request, source: Source, progress: Callable[[int, int], None]) -> Outcome:
    target = request.target
    before = records(target)
    need_all(target, before)
    done = frozenset(held(before)).intersection(source.names)
    job = Job(request.work, source.root, target, one_maker(before), request.bands)
    rest = [name for name in source.names if name not in done]
    count = len(done)
    fresh: list[Record] = []
    progress(count, len(source.names))
    for record in _do(job, rest, request):
        fresh.append(record)
        one_maker(fresh)
        count += len(record.images) + len(record.left_out)
        progress(count, len(source.names))
    found = records(target)
    manifest.write(target, job.work.kind, source, found, request.options)
    if before:  # else nothing says that what lies there came from a job
        _sweep(target, found)
    left_out = {name: reason for one in fresh for name, reason in one.left_out.items()}
    made = sum(len(one.images) for one in fresh)
    runtime = ", ".join(sorted({one.runtime for one in fresh or found}))
    return Outcome(made, len(done), left_out, runtime, found)


def _do(job: Job, rest: Sequence[str], request: Request) -> Iterator[Record]:
    """Do what is left: on the cluster, or here."""
    if not rest:
        return
    if request.cluster is not None:
        with connected(request.cluster) as pool:
            yield from run_on_ray(job, divide(rest, request.size, pool.workers), pool)
        return
    worker = Worker(job)
    try:
        for shard in divide(rest, request.size):
            yield worker.do(shard)
    finally:
        worker.close()


def _sweep(target: Target, known: Sequence[Record]) -> None:
    """Remove files of shards that were never finished: who reads the folder's files would find images twice."""
    named = {one.file for one in known}
    for name in target.names(FOLDER):
        if OURS.fullmatch(name) and posixpath.join(FOLDER, name) not in named:
            target.remove(posixpath.join(FOLDER, name))
