"""Workers as actors of Ray Data. The only module that imports ``ray``."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from livesam.app.jobs.shards import Record, Shard, divide
from livesam.app.jobs.worker import Job, Worker
from livesam.engine.values.errors import LivesamError

LOCAL = "local"
FATAL: dict[str, type[Exception]] = {"failure": LivesamError, "usage": ValueError, "system": OSError}
TRIES = 3  # for a shard whose worker died
MOST_LOST = 16  # shards in a round; where more kill their workers, it is the machines and not an image
STORE_BYTES = 128 << 20  # of the local object store: names and records pass through it, never pixels or features


@dataclass(frozen=True)
class Cluster:
    """Where workers run.

    Attributes:
        address: ``local`` starts Ray in this process and ends it with the job; ``auto``, ``HOST:PORT`` and
            ``ray://HOST:PORT`` are clusters that run.
        workers: at most so many; None for one a GPU, or one a core where no GPU is used.
        gpu: whether workers take a GPU each; None where the cluster has some.
    """

    address: str = LOCAL
    workers: int | None = None
    gpu: bool | None = None


@dataclass(frozen=True)
class Pool:
    """Workers, and the cores and GPUs of each."""

    workers: int
    cpus: int
    gpus: int


def pool_of(nodes: Sequence[Mapping[str, float]], cluster: Cluster) -> Pool:
    """The workers that these machines have room for.

    On a CPU a core each: two images on a core each take less time than one after the other on both.

    Args:
        nodes: the resources of each machine, ``CPU`` and ``GPU``.

    Raises:
        LivesamError: there is no room for one.
    """
    cores = [int(one.get("CPU", 0)) for one in nodes]
    cards = [int(one.get("GPU", 0)) for one in nodes]
    if cluster.gpu or (cluster.gpu is None and any(cards)):
        # A GPU's worker reads with its share of the cores: as many as the machine with the fewest has for each.
        share = min((core // card for core, card in zip(cores, cards, strict=True) if card), default=1)
        pool, wanted = Pool(sum(cards), max(1, share), 1), "a GPU"
    else:
        pool, wanted = Pool(sum(cores), 1, 0), "a core"
    if pool.workers < 1:
        raise LivesamError(f"the Ray cluster {cluster.address} has no machine with {wanted} for a worker")
    return pool if cluster.workers is None else replace(pool, workers=min(pool.workers, cluster.workers))


class _Actor:
    """A worker, as Ray Data calls it: rows of shards in, rows of their records out.

    What ends the job comes home as a row, too: of what an actor raises Ray keeps a page of text.
    """

    def __init__(self, job: Job, pool: Pool) -> None:
        self._job, self._threads = job, 0 if pool.gpus else pool.cpus
        self._readers = pool.cpus + 1  # one waits for the disk while the others decode
        self._worker: Worker | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        shards = [Shard(str(batch["name"][i]), tuple(json.loads(images))) for i, images in enumerate(batch["images"])]
        try:
            worker = self._worker = self._worker or Worker(self._job, self._threads, self._readers)
            done = [json.dumps(asdict(worker.do(one))) for one in shards]
        except (LivesamError, ValueError, OSError) as error:
            kind = next(name for name, one in FATAL.items() if isinstance(error, one))
            return {"record": [""], "kind": [kind], "said": [str(error)]}
        except Exception as error:  # raised, it would look like a worker's death
            return {"record": [""], "kind": ["failure"], "said": [f"{type(error).__name__}: {error}"]}
        return {"record": done, "kind": [""] * len(done), "said": [""] * len(done)}


@contextlib.contextmanager
def connected(cluster: Cluster) -> Iterator[Pool]:
    """The pool that a cluster has room for; one that was started for it ends with the block.

    Raises:
        LivesamError: Ray is not installed, the cluster does not answer, or has no room.
    """
    with _stderr_aside():
        ray = _import()
        started = _start(ray, cluster)
    try:
        yield pool_of([node["Resources"] for node in ray.nodes() if node["Alive"]], cluster)
    finally:
        if started:
            ray.shutdown()


def run_on_ray(job: Job, shards: Sequence[Shard], pool: Pool) -> Iterator[Record]:
    """The records of shards as they are done; while ``connected``.

    A worker that dies is started anew, and what it had in hand is done again. A shard that ends its worker ``TRIES``
    times is done in parts, until the image that does it is found; that one is left out.

    Raises:
        LivesamError: a worker could not do its work, or workers died of more than ``MOST_LOST`` shards.
        ValueError, OSError: what a worker raised.
    """
    maker: Record | None = None
    while shards:
        done: set[str] = set()
        for record in _round(job, shards, pool):
            done.add(record.shard)
            maker = record
            yield record
        lost, shards = [one for one in shards if one.name not in done], []
        for one in lost:
            if len(one.images) > 1:
                shards += divide(one.images, len(one.images))  # four parts
            elif maker is None:
                raise LivesamError(f"every worker died, the last at {one.images[0]}: Ray's logs say more")
            else:
                yield _without(one, maker, job)


def _without(shard: Shard, maker: Record, job: Job) -> Record:
    """The record of an image that no worker has survived."""
    (name,) = shard.images
    left_out = {name: f"{name}: {TRIES} workers died of it"}
    record = replace(maker, shard=shard.name, file="", sha256="", images={}, left_out=left_out)
    record.write(job.target)
    return record


def _round(job: Job, shards: Sequence[Shard], pool: Pool) -> Iterator[Record]:
    """Records of those shards that no worker has died of."""
    ray = _import()
    rows = [{"name": one.name, "images": json.dumps(one.images)} for one in shards]
    found = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        _Actor,
        fn_constructor_args=(job, pool),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(pool.workers, len(rows))),
        num_cpus=pool.cpus,
        num_gpus=pool.gpus or None,
        max_restarts=-1,
        max_task_retries=TRIES - 1,
    )
    try:
        for table in found.iter_batches(batch_size=None, prefetch_batches=0, batch_format="pyarrow"):
            for row in table.to_pylist():
                if row["kind"]:
                    raise FATAL[row["kind"]](row["said"])
                yield Record(**json.loads(row["record"]))
    except ray.exceptions.RayError as error:
        raise LivesamError(f"the job failed, what is done is kept: {error}") from error


@contextlib.contextmanager
def _stderr_aside() -> Iterator[None]:
    """Nothing on stderr while Ray starts: its C++ writes there past Python, if only to say which level it logs at."""
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _import() -> Any:
    # Read when ray is imported: no figures go to its makers, GPUs stay hidden from workers that have none, and its C++
    # keeps to itself that a restart needs the arguments of an actor, which this process holds to the end.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of options of its own that it no longer likes
            import ray
            import ray.data

            context = ray.data.DataContext.get_current()
    except ImportError as error:
        raise LivesamError(f"--ray needs Ray Data ({error}): pip install 'livesam[scale]'") from error
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.max_errored_blocks = MOST_LOST
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what is an error is raised, and said once
    return ray


def _start(ray: Any, cluster: Cluster) -> bool:
    """Connect; whether it has to be ended again."""
    if ray.is_initialized():
        return False
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        if cluster.address == LOCAL:
            ray.init(address=LOCAL, include_dashboard=False, object_store_memory=STORE_BYTES, **quiet)
        else:
            ray.init(address=cluster.address, **quiet)
    except Exception as error:  # ConnectionError, ValueError, RuntimeError, by what is wrong
        raise LivesamError(f"the Ray cluster {cluster.address} does not answer: {error}") from error
    return True
