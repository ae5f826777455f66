"""How many are inside. To enter or leave nobody waits, not even for a lock that a thread of low priority holds."""

from __future__ import annotations

import threading
import time


class Occupancy:
    """Clicks enter and leave; learning and swapping wait until the last one has left.

    A lock that both sides take for an instant is enough to make a click wait: a niced thread may lose the processor
    just while it holds it, and not get it back for long. So there is none. To append to and pop from a list is atomic,
    and whoever waits hangs up a bell for the last one to ring.
    """

    def __init__(self) -> None:
        self._inside: list[None] = []
        self._bells: list[threading.Lock] = []  # each locked; unlocking it rings it

    def __bool__(self) -> bool:
        """Whether somebody is inside."""
        return bool(self._inside)

    def enter(self) -> None:
        """Never waits."""
        self._inside.append(None)

    def leave(self) -> None:
        """Never waits. As often as ``enter``."""
        self._inside.pop()
        while self._bells and not self._inside:
            try:
                self._bells.pop().release()
            except IndexError:  # another one that left rang it
                break

    def wait_empty(self, timeout: float | None = None) -> bool:
        """Wait until nobody is inside; False when somebody still is after ``timeout`` seconds (None waits for ever)."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self._inside:
            left = -1.0 if deadline is None else deadline - time.monotonic()  # -1: a lock's "for ever"
            if deadline is not None and left <= 0:
                return False
            bell = threading.Lock()
            bell.acquire()
            self._bells.append(bell)
            if self._inside:  # looked at once more, because who left before the bell hung cannot have rung it
                bell.acquire(timeout=left)
        return True
