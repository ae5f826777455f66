"""What people share on a replica: cores, one Python a process, the encoder, the card."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, TypeAlias

from livesam.benchmarks.capacity.machines import Machine

if TYPE_CHECKING:
    import simpy

Steps: TypeAlias = Generator[Any, Any, None]

CLICK, ENCODE, LEARN = 0, 1, 2  # who goes first, where there is an order
SLICE_MS = 3.0  # of a core, after which the kernel looks who else wants it


class Resources:
    """A machine's, in a simulated world.

    Cores go round in slices: the kernel knows no clicks, but learning is idle work for it (SCHED_IDLE). A decoder and
    an encoder on CPUs have a thread on each core; one image is encoded at a time (``Turns``). The card does one thing
    at a time and finishes it: clicks first, encodings next, steps of learning last.

    Args:
        warm_s: nothing is counted before.
    """

    def __init__(self, world: simpy.Environment, machine: Machine, warm_s: float) -> None:
        import simpy

        self._world, self._machine, self._warm_s = world, machine, warm_s
        self._cores = simpy.PriorityResource(world, machine.cores)
        self._card = simpy.PriorityResource(world, 1)
        self._turns = simpy.PriorityResource(world, 1)
        self._python = [simpy.Resource(world, 1) for _ in range(machine.processes)]
        self._users = simpy.Resource(world, 1)
        self._spent = {"cores": 0.0, "card": 0.0, "python": 0.0}

    @property
    def counts(self) -> bool:
        """Whether the warm-up is over."""
        return bool(self._world.now > self._warm_s)

    def shares(self, seconds: float) -> dict[str, float]:
        """Of the time of each that clicks and encodings took."""
        parts = {"cores": self._machine.cores, "card": 1, "python": self._machine.processes}
        return {name: spent / seconds / parts[name] for name, spent in self._spent.items()}

    def share(self, others: float) -> None:
        """Let so many threads of other programs run for ever."""
        for i in range(int(others) + 1):
            part = min(1.0, others - i)
            if part > 0.05:
                self._world.process(self._other(part))

    def answer(self, process: int, host_ms: float, decoder_ms: float) -> Steps:
        """Answer a click. On a card the decoder is launched by Python, which nobody else has meanwhile."""
        if self._machine.gpu:
            with self._python[process].request() as turn:
                yield turn
                since = self._world.now
                yield from self.work(host_ms)
                yield from self._on_card(CLICK, decoder_ms)
                self._add("python", (self._world.now - since) * 1e3)
        else:
            yield from self.host(process, host_ms)
            yield from self._threads(decoder_ms)

    def host(self, process: int, ms: float) -> Steps:
        """Run Python in a process."""
        with self._python[process].request() as turn:
            yield turn
            self._add("python", ms)
            yield from self.work(ms)

    def encode(self, priority: int, ms: float) -> Steps:
        """Encode an image or a window, in its turn."""
        with self._turns.request(priority=priority) as turn:
            yield turn
            if self._machine.gpu:
                yield from self._on_card(ENCODE, ms)
            else:
                yield from self._threads(ms)

    def steps(self, count: int, ms: float) -> Steps:
        """Learn on the card."""
        for _ in range(count):
            yield from self._on_card(LEARN, ms)

    def work(self, ms: float, priority: int = CLICK) -> Steps:
        """One thread's work, in slices; whoever uses the machine counts, learning does not."""
        if priority != LEARN:
            self._add("cores", ms)
        while ms > 0:
            with self._cores.request(priority=priority) as turn:
                yield turn
                while ms > 0:
                    yield self._world.timeout(min(ms, SLICE_MS) / 1e3)
                    ms -= SLICE_MS
                    if self._cores.queue:
                        break

    def users(self, ms: float) -> Steps:
        """The users' own Python, on the same cores."""
        if ms:
            with self._users.request() as turn:
                yield turn
                yield from self.work(ms)

    def _threads(self, ms: float) -> Steps:
        cores = self._machine.cores
        yield self._world.all_of([self._world.process(self.work(ms / cores)) for _ in range(cores)])

    def _on_card(self, priority: int, ms: float) -> Steps:
        with self._card.request(priority=priority) as turn:
            yield turn
            if priority != LEARN:
                self._add("card", ms)
            yield self._world.timeout(ms / 1e3)

    def _other(self, part: float) -> Steps:
        while True:
            with self._cores.request(priority=CLICK) as turn:
                yield turn
                yield self._world.timeout(SLICE_MS / 1e3)
            yield self._world.timeout(SLICE_MS / 1e3 * (1 / part - 1))

    def _add(self, what: str, ms: float) -> None:
        if self.counts:
            self._spent[what] += ms / 1e3
