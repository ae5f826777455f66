"""What waits to be learned from, and what gives way when that becomes too much."""

from __future__ import annotations

from collections import Counter, deque

from livesam.adapter.method import same_object
from livesam.engine.values.interaction import Interaction


class WaitingLine:
    """Interactions in the order in which they came. For one thread at a time; what it gives up is counted.

    A newer state of an object replaces an older one that still waits. When the line is full, the oldest object that is
    not finished goes first, then the oldest that was given up. Accepted objects wait beyond that, because a person's
    minutes bought them; where learning hangs they would fill the memory, so the oldest are left out of it in the end.

    Args:
        capacity: interactions that may wait, accepted ones aside.
        counts: of ``replaced``, ``dropped`` and ``left_out``.
        most_bytes: that all of them may hold; the newest waits, whatever it holds.
    """

    def __init__(self, capacity: int, counts: Counter[str], most_bytes: int) -> None:
        self._capacity, self._counts, self._most_bytes = capacity, counts, most_bytes
        self._waiting: deque[Interaction] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, newest: Interaction) -> None:
        """Add an interaction."""
        for older in [one for one in self._waiting if not one.over and same_object(one, newest)]:
            self._remove(older, "replaced")
        unfinished = [one for one in self._waiting if not one.over]
        given_up = [one for one in self._waiting if one.given_up]
        accepted = [one for one in self._waiting if one.accepted]
        if len(self._waiting) >= self._capacity:
            for victim in (*unfinished, *given_up)[:1]:
                self._remove(victim, "dropped")
        self._waiting.append(newest)
        self._bytes += newest.nbytes
        for victim in (*unfinished, *given_up, *accepted):
            if self._bytes > self._most_bytes and victim in self._waiting:
                self._remove(victim, "left_out" if victim.accepted else "dropped")

    def take(self) -> Interaction:
        """The one that has waited longest."""
        taken = self._waiting.popleft()
        self._bytes -= taken.nbytes
        return taken

    def clear(self, *, keep_accepted: bool = False) -> None:
        """Drop all, or all but the accepted objects."""
        for one in list(self._waiting):
            if not (keep_accepted and one.accepted):
                self._remove(one, "dropped")

    def _remove(self, one: Interaction, why: str) -> None:
        self._waiting.remove(one)
        self._bytes -= one.nbytes
        self._counts[why] += 1


def left_out(count: int) -> str | None:
    """What is to be said of accepted objects that were left out of the learning; None where there are none."""
    return f"learning is behind: it has left out {count} accepted objects, which are kept" if count else None
