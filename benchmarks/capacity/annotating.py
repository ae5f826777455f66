"""One replica and the people on it, simulated."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import asdict, dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
from livesam.benchmarks.capacity.machines import Machine
from livesam.benchmarks.capacity.resources import CLICK, ENCODE, LEARN, Resources

if TYPE_CHECKING:
    import simpy

CLICKS = (6, 1, 1, 2, 3, 1, 3, 1, 2, 1, 2, 3, 4, 1, 1, 1, 1, 2, 1, 2)  # an object took: results/page_job.json
WARM_S = 15.0
QUIET_S = 0.06  # after an answer the next window is begun


@dataclass(frozen=True, slots=True)
class Person:
    """How somebody works.

    Attributes:
        think_s, spread: median and log-normal spread of the pause before a click; an assumption: nobody was measured.
        look_s: median of the pause before the first click on an image.
        objects: on an image.
        clicks: an object takes, to draw from.
        new_images: share of images that the cache does not have.
        own_ms: of the user's own program, where it runs on the same machine, all users in one Python.
    """

    think_s: float = 1.5
    spread: float = 0.6
    look_s: float = 3.0
    objects: int = 4
    clicks: tuple[int, ...] = CLICKS
    new_images: float = 1.0
    own_ms: float = 0.0


@dataclass(slots=True)
class Load:
    """What a replica saw.

    Attributes:
        people: on it.
        p50_ms, p95_ms, p99_ms: of the clicks, from the click to the mask.
        cores, card, python: share of their time that is taken by clicks and encodings; Python's is the processes' mean.
        learning, learning_card: share of the cores' and the card's time that lessons take, or would if there were any.
        behind: objects that waited to be learned at the end.
        windows_p95_ms: until a window or an image was encoded, in the first and in the second half of the run.
        clicks_per_s: of all people.
    """

    people: int
    clicks: int = 0
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0
    cores: float = 0.0
    card: float = 0.0
    python: float = 0.0
    learning: float = 0.0
    learning_card: float = 0.0
    behind: int = 0
    windows_p95_ms: tuple[float, float] = (0.0, 0.0)
    clicks_per_s: float = 0.0

    def to_json(self) -> dict[str, object]:
        return asdict(self)


@dataclass(slots=True)
class _Seen:
    taken: list[float] = field(default_factory=list)
    encoded: list[tuple[float, float]] = field(default_factory=list)
    waiting: int = 0
    lessons: int = 0


class Replica:
    """A machine with so many people.

    Args:
        learns: whether accepted objects are learned.
        others: threads of other programs that never rest.
    """

    def __init__(
        self, machine: Machine, person: Person, *, learns: bool = True, others: float = 0.0, seed: int = 0
    ) -> None:
        self.machine, self.person, self.learns, self.others = machine, person, learns, others
        self._costs, self._seed = machine.costs, seed

    def run(self, people: int, seconds: float) -> Load:
        """What so many people see in so many seconds, after a warm-up."""
        import simpy

        world, seen = simpy.Environment(), _Seen()
        self._rng = np.random.default_rng(self._seed)
        has = Resources(world, self.machine, WARM_S)
        has.share(self.others)
        for number in range(people):
            world.process(self._work(world, has, seen, number % self.machine.processes))
        world.run(WARM_S + seconds)
        load = Load(people, len(seen.taken), **has.shares(seconds))
        if seen.taken:
            p50, p95, p99 = (round(float(np.percentile(seen.taken, q)), 1) for q in (50, 95, 99))
            load.p50_ms, load.p95_ms, load.p99_ms = p50, p95, p99
        halves = ([ms for at, ms in seen.encoded if (at > WARM_S + seconds / 2) == late] for late in (False, True))
        first, second = (round(float(np.percentile(half, 95)), 1) if half else 0.0 for half in halves)
        load.windows_p95_ms = (first, second)
        costs = self._costs
        load.learning = seen.lessons * costs.lessons_ms / 1e3 / seconds / self.machine.cores
        load.learning_card = seen.lessons * costs.steps * costs.step_ms / 1e3 / seconds
        load.behind, load.clicks_per_s = seen.waiting, len(seen.taken) / seconds
        return load

    def _work(self, world: simpy.Environment, has: Resources, seen: _Seen, process: int) -> Generator[Any, Any, None]:
        person, costs, rng = self.person, self._costs, self._rng
        yield world.timeout(float(rng.uniform(0, 8)))  # nobody comes at the same moment
        for _ in count():
            yield from has.host(process, costs.open_ms)
            if rng.random() < person.new_images:
                yield from self._encode(world, has, seen, CLICK)
            yield world.timeout(self._pause(person.look_s))
            window: Any = None
            for _ in range(person.objects):
                for _ in range(int(rng.choice(person.clicks))):
                    yield world.timeout(self._pause(person.think_s))
                    window = yield from self._click(world, has, seen, process, window)
                yield world.timeout(self._pause(person.think_s))
                seen.lessons += has.counts
                if self.learns:
                    world.process(self._learn(has, seen))

    def _click(
        self, world: simpy.Environment, has: Resources, seen: _Seen, process: int, window: Any
    ) -> Generator[Any, Any, Any]:
        """A click and its answer; returns the window that is made for the next one, if any."""
        costs, rng, asked = self._costs, self._rng, world.now
        host, decoder = costs.clicks[int(rng.integers(len(costs.clicks)))]
        yield from has.users(self.person.own_ms / 2)
        if rng.random() < costs.late:
            yield from self._encode(world, has, seen, CLICK)
        elif window is not None:
            yield window  # at once, if it is there
        yield from has.answer(process, costs.server_ms + host, decoder)
        yield from has.users(self.person.own_ms / 2)
        if world.now > WARM_S:
            seen.taken.append((world.now - asked) * 1e3)
        if rng.random() < max(0.0, costs.windows - costs.late):
            return world.process(self._foresee(world, has, seen))
        return None

    def _foresee(self, world: simpy.Environment, has: Resources, seen: _Seen) -> Generator[Any, Any, None]:
        yield world.timeout(QUIET_S)
        yield from self._encode(world, has, seen, ENCODE)

    def _encode(
        self, world: simpy.Environment, has: Resources, seen: _Seen, priority: int
    ) -> Generator[Any, Any, None]:
        asked = world.now
        yield from has.encode(priority, float(self._rng.choice(self._costs.encodes)))
        if world.now > WARM_S:
            seen.encoded.append((world.now, (world.now - asked) * 1e3))

    def _learn(self, has: Resources, seen: _Seen) -> Generator[Any, Any, None]:
        seen.waiting += 1
        yield from has.steps(self._costs.steps, self._costs.step_ms)
        yield from has.work(self._costs.lessons_ms, LEARN)
        seen.waiting -= 1

    def _pause(self, median: float) -> float:
        return float(self._rng.lognormal(np.log(median), self.person.spread))
