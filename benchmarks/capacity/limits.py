"""How many people a replica takes, and what ends it."""

from __future__ import annotations

from dataclasses import dataclass

from livesam.benchmarks.capacity.annotating import Load, Person, Replica
from livesam.benchmarks.capacity.machines import Machine

FEW = 16  # people of the run that says what each needs
BUSY = 0.9  # beyond it what is not a click waits longer and longer
MASK_BYTES = 30_000  # of an answer on the wire: a box of 400 x 600 pixels in bits
IMAGE_BYTES = 1_500_000  # of an image that the page shows
ENOUGH = 1_500  # clicks of a run, for a p99
SHORTEST_S = 60.0  # of a run, for queues to settle


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many people one replica takes.

    Attributes:
        people: as many as no limit forbids, and at whom clicks keep the p99, if a lone person's do.
        kept: whether they do.
        limits: people by resource: ``cores``, ``card`` and ``python`` that clicks, windows and images need to 90 %,
            ``network``, and the server's ``sessions``; where each learns, ``learning`` that keeps up, ``memory`` and
            ``domains``.
        first: the limit that ends it, or ``p99``.
        alone, at: what one sees, and so many.
    """

    people: int
    kept: bool
    limits: dict[str, int]
    first: str
    alone: Load
    at: Load


def capacity(machine: Machine, person: Person, *, learns: bool, p99_ms: float, seconds: float) -> Capacity:
    """The largest number of people whose clicks stay below ``p99_ms`` while nothing else overflows.

    What people need of each resource adds up, so that one run of a few says where it ends; whether clicks are still
    fast there, only a run with so many does.
    """
    replica = Replica(machine, person, learns=learns)
    alone = _at(replica, 1, seconds)
    few = Replica(machine, person, learns=False).run(FEW, max(seconds, SHORTEST_S))  # lessons are counted all the same
    limits = _limits(machine, few, learns)
    people, first = max(1, min(limits.values())), min(limits, key=lambda name: limits[name])
    at, kept = _at(replica, people, seconds), alone.p99_ms <= p99_ms
    while kept and at.p99_ms > p99_ms and people > 1:
        people, first = people * 9 // 10, "p99"
        at = _at(replica, people, seconds)
    return Capacity(people, kept, limits, first, alone, at)


def _limits(machine: Machine, few: Load, learns: bool) -> dict[str, int]:
    """Shares are not rounded: with few people a card's is below a thousandth."""
    wire = few.clicks_per_s * (MASK_BYTES + IMAGE_BYTES / 8)  # an image for four objects of two clicks
    shares = {"cores": few.cores, "python": few.python, "network": BUSY * wire / (machine.network_mbit * 1e6 / 8)}
    if machine.gpu:
        shares["card"] = few.card
    if learns:
        shares["learning"] = few.cores + few.learning
        if machine.gpu:
            shares["learning on the card"] = few.card + few.learning_card
    limits = {name: int(FEW * BUSY / share) for name, share in shares.items()}
    limits["sessions"] = machine.processes * machine.sessions
    if learns:  # each has a decoder and lessons of their own
        limits["memory"] = int((machine.memory_mib - machine.base_mib) / machine.per_user_mib)
        limits["domains"] = machine.processes * machine.domains
    return limits


def _at(replica: Replica, people: int, seconds: float) -> Load:
    """A run that is long enough for a p99, and for what waits to settle."""
    return replica.run(people, max(SHORTEST_S, min(seconds, 3 * ENOUGH / people)))
