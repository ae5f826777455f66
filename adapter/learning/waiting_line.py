"""What waits to be learned from, and what gives way when that becomes too much."""

from __future__ import annotations

from collections import Counter, deque

from livesam.adapter.method import same_object
from livesam.engine.values.interaction import Interaction


class WaitingLine:
    """Interactions in the order in which they came. For one thread at a time; what it gives up is counted.

    A newer state of an object replaces an older one that still waits. When the line is full, the oldest object that is
    not finished goes first, then the oldest that was given up. An accepted object is never dropped: a person's minutes
    bought it, so of these the line holds as many as there are.
    """

    def __init__(self, capacity: int, counts: Counter[str]) -> None:
        self._capacity, self._counts = capacity, counts
        self._waiting: deque[Interaction] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, newest: Interaction) -> None:
        """Add an interaction."""
        for older in [one for one in self._waiting if not one.over and same_object(one, newest)]:
            self._remove(older, "replaced")
        if len(self._waiting) >= self._capacity:
            unfinished = [one for one in self._waiting if not one.over]
            given_up = [one for one in self._waiting if one.given_up]
            for victim in (*unfinished, *given_up)[:1]:
                self._remove(victim, "dropped")
        self._waiting.append(newest)

    def take(self) -> Interaction:
        """The one that has waited longest."""
        return self._waiting.popleft()

    def clear(self, *, keep_accepted: bool = False) -> None:
        """Drop all, or all but the accepted objects."""
        for one in list(self._waiting):
            if not (keep_accepted and one.accepted):
                self._remove(one, "dropped")

    def _remove(self, one: Interaction, why: str) -> None:
        self._waiting.remove(one)
        self._counts[why] += 1
