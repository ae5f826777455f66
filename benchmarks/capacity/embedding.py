"""A million images embedded by more and more GPUs, simulated: files, cores, GPUs, links, and one object store."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from livesam.benchmarks.capacity.machines import H100

if TYPE_CHECKING:
    import simpy

BATCH = 16  # of the encoder on a GPU, as in app/jobs/embeddings.py
SHARD = 64  # images, as in app/jobs/shards.py
IMAGES = 1_000_000


@dataclass(frozen=True, slots=True)
class Encoding:
    """One GPU and its share of a machine, at work on a folder of a million.

    Attributes:
        images_per_s: of the encoder.
        decode_ms: of an image file of 1.6 Mpx on one core; an assumption (a loaded core of a slow machine took 28).
        cores: beside each GPU.
        read_bytes, write_bytes: of an image and its embedding.
        pack_s_a_gib: to make a shard's file on the local disk and hash it: 0.36 to 0.55 s of a loaded AVX2 core for 64
            MiB of nano's.
        link_gbit: of the GPU's share of the network.
        request_s: until a store has answered a read or taken a file, besides its bytes.
    """

    name: str
    images_per_s: float
    write_bytes: int
    origin: str
    decode_ms: float = 16.0
    cores: int = 16
    read_bytes: int = 500_000
    pack_s_a_gib: float = 6.0
    link_gbit: float = 10.0
    request_s: float = 0.03

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def encodings(h100: Mapping[str, Any]) -> list[Encoding]:
    """The models that an H100's result has throughput of, at the job's batch, or the largest below it."""
    found = []
    for name, mib in (("nano", 1), ("vit_b", 4), ("vit_h", 4)):
        section = h100["sections"].get(f"{name}/throughput")
        rows = [h100["sections"][f"{name}/encode_only"]["throughput"]] if section is None else section["rows"]
        best = max((row for row in rows if row["batch"] <= BATCH), key=lambda row: row["batch"])
        found.append(Encoding(name, round(best["images_per_s"], 1), mib << 20, f"{H100}, batches of {best['batch']}"))
    return found


@dataclass(frozen=True, slots=True)
class Store:
    """An object store, as one job sees it.

    Attributes:
        reads: requests a second.
        gbit: a second, there and back.
    """

    name: str
    reads: float
    gbit: float
    origin: str

    def to_json(self) -> dict[str, object]:
        return asdict(self)


# docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html: 5,500 reads a second of a partitioned
# prefix, and no bound on their number.
STORES = (
    Store("one prefix, 100 Gbit/s", 5500.0, 100.0, "S3's documentation; the bandwidth is an assumption"),
    Store("16 prefixes, 800 Gbit/s", 16 * 5500.0, 800.0, "S3's documentation; the bandwidth is an assumption"),
)


@dataclass(frozen=True, slots=True)
class Scaled:
    """What so many GPUs do.

    Attributes:
        images_per_s: of all together.
        linear: share of what so many times one GPU would do.
        busy: share of the GPUs' time in which they encode.
        hours: for a million images.
        first: what ends it: ``workers`` where they share nothing that is full.
    """

    gpus: int
    images_per_s: float
    linear: float
    busy: float
    hours: float
    first: str

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def bounds(kind: Encoding, store: Store, gpus: int) -> dict[str, float]:
    """Images a second that workers of their own, and what they share, allow on paper."""
    return {
        "workers": gpus * SHARD / shard_s(kind),
        "store's requests": store.reads,
        "store's bandwidth": store.gbit * 1e9 / 8 / (kind.read_bytes + kind.write_bytes),
    }


def shard_s(kind: Encoding) -> float:
    """Seconds of a shard in a worker that waits for nobody: batches are read while others are encoded, and the shard is
    written when all are (``Worker.do``)."""
    link = kind.link_gbit * 1e9 / 8
    reading = BATCH * max(kind.read_bytes / link, kind.decode_ms / 1e3 / kind.cores)
    encoding = BATCH / kind.images_per_s
    batches = SHARD // BATCH
    first = kind.request_s + reading
    return first + (batches - 1) * max(reading, encoding) + encoding + write_s(kind) + SHARD * kind.write_bytes / link


def write_s(kind: Encoding) -> float:
    """Seconds to make a shard's file, and for the store to take it and its record, besides the bytes."""
    return SHARD * kind.write_bytes / (1 << 30) * kind.pack_s_a_gib + 2 * kind.request_s


def scaled(kind: Encoding, store: Store, gpus: int, one: float | None = None, seconds: float = 40.0) -> Scaled:
    """Simulate so many GPUs, each with a worker as ``app/jobs/worker.py`` is.

    Args:
        one: images a second of one GPU; simulated when not given.
    """
    import simpy

    if one is None and gpus > 1:
        one = scaled(kind, store, 1, seconds=seconds).images_per_s
    world, rng = simpy.Environment(), np.random.default_rng(gpus)
    # The store serves as many full links at once as fit into it, and so many reads a second.
    streams = simpy.Resource(world, max(1, round(store.gbit / kind.link_gbit)))
    requests = simpy.Resource(world, 1)
    done: list[float] = []
    for _ in range(gpus):
        start = float(rng.uniform(0, shard_s(kind)))
        world.process(_Worker(world, kind, store, streams, requests).run(start, done))
    warm = min(seconds / 3, 3 * shard_s(kind))
    world.run(warm + seconds)
    rate = sum(SHARD for at in done if at > warm) / seconds
    paper = bounds(kind, store, gpus)
    first = min(paper, key=lambda name: paper[name])
    linear, busy = rate / gpus / (one or rate), rate / gpus / kind.images_per_s
    return Scaled(gpus, round(rate, 1), round(linear, 3), round(busy, 3), round(IMAGES / rate / 3600, 3), first)


class _Worker:
    def __init__(self, world: simpy.Environment, kind: Encoding, store: Store, streams: Any, requests: Any) -> None:
        import simpy

        self._world, self._kind, self._store = world, kind, store
        self._streams, self._requests, self._link = streams, requests, simpy.Resource(world, 1)

    def run(self, start: float, done: list[float]) -> Generator[Any, Any, None]:
        """One shard after the other; the next is read when the last is written."""
        import simpy

        kind = self._kind
        yield self._world.timeout(start)
        while True:
            ready = simpy.Store(self._world, 1)  # 17 readers are a batch ahead
            self._world.process(self._read(ready))
            for _ in range(SHARD // BATCH):
                yield ready.get()
                yield self._world.timeout(BATCH / kind.images_per_s)
            yield self._world.timeout(write_s(kind))
            yield from self._move(SHARD * kind.write_bytes)
            done.append(self._world.now)

    def _read(self, ready: Any) -> Generator[Any, Any, None]:
        kind = self._kind
        yield self._world.timeout(kind.request_s)
        for _ in range(SHARD // BATCH):
            since = self._world.now
            with self._requests.request() as turn:
                yield turn
                yield self._world.timeout(BATCH / self._store.reads)
            yield from self._move(BATCH * kind.read_bytes)
            decoded = since + BATCH * kind.decode_ms / 1e3 / kind.cores  # beside the next one's reading
            yield self._world.timeout(max(0.0, decoded - self._world.now))
            yield ready.put(1)

    def _move(self, size: int) -> Generator[Any, Any, None]:
        with self._link.request() as mine:
            yield mine
            with self._streams.request() as turn:
                yield turn
                yield self._world.timeout(size * 8 / self._kind.link_gbit / 1e9)
