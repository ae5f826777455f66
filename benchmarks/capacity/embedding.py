"""A million images embedded by more and more GPUs, simulated: files, cores, GPUs, links, and one object store."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from livesam.benchmarks.capacity.machines import Encoding, Store

if TYPE_CHECKING:
    import simpy

BATCH = 32
IMAGES = 1_000_000
AHEAD = 4  # batches that lie ready before each GPU


@dataclass(frozen=True, slots=True)
class Scaled:
    """What so many GPUs do.

    Attributes:
        images_per_s: of all together.
        linear: share of what so many times one GPU would do.
        hours: for a million images.
        first: what ends it: ``gpu`` where nothing else does.
    """

    gpus: int
    images_per_s: float
    linear: float
    hours: float
    first: str

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def bounds(kind: Encoding, store: Store, gpus: int) -> dict[str, float]:
    """Images a second that each resource allows, on paper."""
    link = kind.link_gbit * 1e9 / 8
    return {
        "gpu": gpus * kind.images_per_s,
        "cores": gpus * kind.cores / kind.decode_ms * 1e3,
        "link": gpus * link / (kind.read_bytes + kind.write_bytes),
        "store's requests": store.reads,
        "store's bandwidth": store.gbit * 1e9 / 8 / (kind.read_bytes + kind.write_bytes),
    }


def scaled(kind: Encoding, store: Store, gpus: int, one: float | None = None, seconds: float = 60.0) -> Scaled:
    """Simulate so many GPUs, each with a pipeline that reads, decodes, encodes and writes batches side by side.

    Args:
        one: images a second of one GPU; simulated when not given.
    """
    import simpy

    if one is None and gpus > 1:
        one = scaled(kind, store, 1, seconds=seconds).images_per_s
    world = simpy.Environment()
    # The store serves as many full links at once as fit into it, and so many reads a second.
    streams = simpy.Resource(world, max(1, round(store.gbit / kind.link_gbit)))
    requests, done = simpy.Resource(world, 1), [0]
    for _ in range(gpus):
        world.process(_pipeline(world, kind, store, streams, requests, done))
    world.run(seconds)
    rate = done[0] / seconds
    paper = bounds(kind, store, gpus)
    first = min(paper, key=lambda name: paper[name])
    return Scaled(gpus, round(rate, 1), round(rate / gpus / (one or rate), 3), round(IMAGES / rate / 3600, 2), first)


def _pipeline(
    world: simpy.Environment, kind: Encoding, store: Store, streams: Any, requests: Any, done: list[int]
) -> Generator[Any, Any, None]:
    import simpy

    ready: Any = simpy.Store(world, AHEAD)
    link = simpy.Resource(world, 1)

    def move(size: int) -> Generator[Any, Any, None]:
        with link.request() as mine:
            yield mine
            with streams.request() as turn:
                yield turn
                yield world.timeout(BATCH * size * 8 / kind.link_gbit / 1e9)

    def fill() -> Generator[Any, Any, None]:
        while True:
            with requests.request() as turn:
                yield turn
                yield world.timeout(BATCH / store.reads)
            yield from move(kind.read_bytes)
            yield world.timeout(BATCH * kind.decode_ms / 1e3 / kind.cores)
            yield ready.put(1)

    def written() -> Generator[Any, Any, None]:
        yield from move(kind.write_bytes)
        done[0] += BATCH
        yield finished.put(1)

    for _ in range(2):
        world.process(fill())
    finished: Any = simpy.Store(world)
    for _ in range(AHEAD):
        finished.put(1)
    while True:
        yield ready.get()
        yield world.timeout(BATCH / kind.images_per_s)
        yield finished.get()  # so many batches wait to be written, and no more
        world.process(written())
