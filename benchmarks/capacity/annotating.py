"""One replica and the people on it, simulated: clicks first, windows and images next, learning when there is time."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from livesam.benchmarks.capacity.machines import MASK_BYTES, Machine

if TYPE_CHECKING:
    import simpy

CLICK, ENCODE, LEARN = 0, 1, 2  # who goes first
CLICKS = (
    6,
    1,
    1,
    2,
    3,
    1,
    3,
    1,
    2,
    1,
    2,
    3,
    4,
    1,
    1,
    1,
    1,
    2,
    1,
    2,
)  # an object took, benchmarks/results/page_job.json
WARM_S = 10.0
FEW = 16  # people of the run that says what each needs
BUSY = 0.9  # beyond it windows and images wait longer and longer


@dataclass(frozen=True, slots=True)
class Person:
    """How somebody works.

    Attributes:
        think_s, spread: median and log-normal spread of the pause before a click; an assumption: nobody was measured.
            ``Pace`` of ``latency/stream.py`` has 0.35 and 0.6, for somebody in a hurry.
        look_s: median of the pause before the first click on an image.
        objects: on an image.
        windows: of an object that zoom encodes.
    """

    think_s: float = 1.5
    spread: float = 0.6
    look_s: float = 3.0
    objects: int = 4
    windows: float = 1.5


@dataclass(slots=True)
class Load:
    """What a replica saw.

    Attributes:
        people: on it.
        p50_ms, p95_ms, p99_ms: of the clicks, from the click to the mask.
        busy: share of the lanes' time that clicks and encodings took.
        learning: share that learning would need beside them; above what is left it falls behind.
        behind: objects that waited to be learned at the end.
        clicks_per_s: of all people.
    """

    people: int
    clicks: int = 0
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0
    busy: float = 0.0
    learning: float = 0.0
    behind: int = 0
    clicks_per_s: float = 0.0

    def to_json(self) -> dict[str, float]:
        return asdict(self)


@dataclass(slots=True)
class _Counts:
    taken: list[float] = field(default_factory=list)
    busy_s: float = 0.0
    waiting: int = 0
    learned_s: float = 0.0


class Replica:
    """A machine with so many people.

    Args:
        clicks_ms: measured times of single clicks to draw from, instead of the machine's median and 99th percentile.
        learns: whether accepted objects are learned.
    """

    def __init__(
        self, machine: Machine, person: Person, *, clicks_ms: Sequence[float] = (), learns: bool = True, seed: int = 0
    ) -> None:
        self.machine, self.person, self.learns = machine, person, learns
        self._measured, self._rng = list(clicks_ms), np.random.default_rng(seed)

    def run(self, people: int, seconds: float) -> Load:
        """What so many people see in so many seconds, after a warm-up."""
        import simpy

        world = simpy.Environment()
        lanes = simpy.PriorityResource(world, self.machine.lanes)
        counts = _Counts()
        for _ in range(people):
            world.process(self._work(world, lanes, counts))
        world.run(WARM_S + seconds)
        load = Load(people, len(counts.taken))
        if counts.taken:
            load.p50_ms, load.p95_ms, load.p99_ms = (
                round(float(np.percentile(counts.taken, q)), 1) for q in (50, 95, 99)
            )
        whole = seconds * self.machine.lanes
        load.busy, load.learning = round(counts.busy_s / whole, 3), round(counts.learned_s / whole, 3)
        load.behind, load.clicks_per_s = counts.waiting, round(len(counts.taken) / seconds, 2)
        return load

    def _work(self, world: simpy.Environment, lanes: Any, counts: _Counts) -> Generator[Any, Any, None]:
        person, rng = self.person, self._rng
        yield world.timeout(float(rng.uniform(0, 5)))  # nobody comes at the same moment
        while True:
            yield from self._use(world, lanes, counts, ENCODE, self._drawn(self.machine.encode_ms))
            yield world.timeout(self._pause(person.look_s))
            for _ in range(person.objects):
                for _ in range(int(rng.choice(CLICKS))):
                    if rng.random() < person.windows / np.mean(CLICKS):  # made ready while the user thinks
                        world.process(self._use(world, lanes, counts, ENCODE, self._drawn(self.machine.encode_ms)))
                    yield world.timeout(self._pause(person.think_s))
                    asked = world.now
                    yield from self._use(world, lanes, counts, CLICK, self._click_ms())
                    if world.now > WARM_S:
                        counts.taken.append((world.now - asked) * 1e3)
                yield world.timeout(self._pause(person.think_s))
                if self.learns:
                    world.process(self._learn(world, lanes, counts))

    def _learn(self, world: simpy.Environment, lanes: Any, counts: _Counts) -> Generator[Any, Any, None]:
        counts.waiting += 1
        counts.learned_s += self.machine.steps * self.machine.step_ms / 1e3 * (world.now > WARM_S)
        for _ in range(round(self.machine.steps)):
            yield from self._use(world, lanes, _Counts(), LEARN, self.machine.step_ms)
        counts.waiting -= 1

    def _use(
        self, world: simpy.Environment, lanes: Any, counts: _Counts, priority: int, ms: float
    ) -> Generator[Any, Any, None]:
        """Wait for a lane, and take it for so long; what has begun is not interrupted."""
        with lanes.request(priority=priority) as turn:
            yield turn
            counts.busy_s += ms / 1e3 * (world.now > WARM_S)
            yield world.timeout(ms / 1e3)

    def _click_ms(self) -> float:
        if self._measured:
            return float(self._rng.choice(self._measured))
        return self._drawn(self.machine.click_ms)

    def _drawn(self, of: tuple[float, float]) -> float:
        """Log-normal with this median and 99th percentile."""
        median, top = of
        return float(self._rng.lognormal(np.log(median), np.log(top / median) / 2.326))

    def _pause(self, median: float) -> float:
        return float(self._rng.lognormal(np.log(median), self.person.spread))


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many people one replica takes, and what ends it.

    Attributes:
        limits: people by resource: lanes that clicks, windows and images need, ``network``; and where each learns,
            ``learning`` that keeps up and ``memory``.
        first: the resource that ends it, or ``p99`` of the clicks.
        at: what it sees with so many.
    """

    people: int
    limits: dict[str, int]
    first: str
    at: Load


def capacity(machine: Machine, person: Person, *, learns: bool, p99_ms: float, seconds: float) -> Capacity:
    """The largest number of people whose clicks stay below ``p99_ms`` while nothing else overflows.

    What people need of each resource adds up, so that one run of a few says where it ends; whether clicks are still
    fast there, only a run with so many does.
    """
    replica = Replica(machine, person, learns=learns)
    few = replica.run(FEW, seconds)
    limits = {
        machine.lane: int(FEW * BUSY / few.busy),
        "network": int(FEW * machine.network_mbit * 1e6 / 8 / (few.clicks_per_s * MASK_BYTES)),
    }
    if learns:  # each has a decoder and lessons of their own
        limits["learning"] = int(FEW * BUSY / (few.busy + few.learning))
        limits["memory"] = int((machine.memory_mib - machine.base_mib) / machine.per_user_mib)
    people, first = max(1, min(limits.values())), min(limits, key=lambda name: limits[name])
    at = _at(replica, people, seconds)
    while at.p99_ms > p99_ms and people > 1:
        people, first = people * 9 // 10, "p99"
        at = _at(replica, people, seconds)
    return Capacity(people, limits, first, at)


def _at(replica: Replica, people: int, seconds: float) -> Load:
    """A run that is as long as a p99 needs."""
    return replica.run(people, max(8.0, min(seconds, 10_000 / people)))
