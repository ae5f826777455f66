"""What the commands that work in shards have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from livesam.app.jobs.pool import Cluster
    from livesam.app.jobs.run import Outcome
    from livesam.app.jobs.worker import Work
    from livesam.export.opening import Opening


@dataclass(frozen=True)
class JobOptions:
    """The options that such commands share.

    Attributes:
        ray: where Ray is; None for this process.
        workers, shard: how many, and how many images of a shard; None for what is usual.
        bands: of the images, as ``parse_bands`` gives them.
        said: what the manifest keeps of the other options.
    """

    ray: str | None = None
    workers: int | None = None
    shard: int | None = None
    bands: tuple[int, ...] | None = None
    said: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Done:
    """A job that has run to its end."""

    target: str
    outcome: Outcome

    def tell(self, what: str, more: str = "") -> None:
        """Say so on stdout, and what was left out on stderr.

        Raises:
            LivesamError: something was left out.
        """
        from livesam.engine.values.errors import LivesamError

        one = self.outcome
        typer.echo(
            f"{self.target}: {one.made} {what}, {one.found} were there already, {len(one.shards)} shards{more}, "
            f"{one.runtime}"
        )
        if one.left_out:
            *others, last = one.left_out.values()
            for reason in others:
                typer.echo(f"livesam: left out: {reason}", err=True)
            raise LivesamError(f"{len(one.left_out)} of {one.of} images were left out: {last}")


def run_job(work: Work, opening: Opening, given: Sequence[str], out: str, options: JobOptions) -> Done:
    """Run a job, with its progress on a terminal. Errors as ``livesam.app.jobs.run.run``."""
    from livesam.app.jobs.run import Request, run
    from livesam.app.jobs.shards import SIZE
    from livesam.app.progress import counting
    from livesam.app.storage import Target, absolute

    size = SIZE if options.shard is None else options.shard
    if size < 1:
        raise ValueError(f"--shard has 1 or more images, got {size}")
    said = {"model": opening.model, **options.said}
    target = Target(absolute(out))
    request = Request(work, given, target, _cluster(opening, options), size, options.bands, said)
    with counting(work.kind, None) as progress:
        return Done(out, run(request, progress))


def _cluster(opening: Opening, options: JobOptions) -> Cluster | None:
    """Where workers run; each takes a GPU if that is where the encoder would run here, or where a cluster has some."""
    from livesam.app.jobs.pool import LOCAL, Cluster

    if options.ray is None:
        if options.workers is not None:
            raise ValueError("--workers are Ray's: add --ray")
        return None
    if options.workers is not None and options.workers < 1:
        raise ValueError(f"--workers must be 1 or more, got {options.workers}")
    device = opening.device
    if device is not None and device.startswith("cuda:"):
        raise ValueError(f"with --ray each worker has the GPU that Ray gives it: --device cuda, not {device}")
    gpu = None if device is None else device == "cuda"
    if gpu is None and options.ray == LOCAL:
        gpu = opening.choice("encoder").device.startswith("cuda")
    return Cluster(options.ray, options.workers, gpu)
