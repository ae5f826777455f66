"""Clicks come first: they announce themselves here, and learning looks before each step."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator


class InteractiveGate:
    """Counts the clicks that are being answered. Announcing one never waits, whatever the learner does."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._clicks = 0
        self._ended = float("-inf")

    @contextlib.contextmanager
    def click(self) -> Iterator[None]:
        """Around the answer to one click; may be entered by several threads at once."""
        with self._changed:
            self._clicks += 1
        try:
            yield
        finally:
            with self._changed:
                self._clicks -= 1
                self._ended = time.monotonic()
                if self._clicks == 0:
                    self._changed.notify_all()

    @property
    def busy(self) -> bool:
        """Whether a click is being answered right now; cheap enough to be polled between kernels."""
        return self._clicks > 0

    @property
    def idle_s(self) -> float:
        """Seconds since the last click was answered: 0 during one, infinity before the first."""
        with self._changed:
            return 0.0 if self._clicks else time.monotonic() - self._ended

    def give_way(self, at_most_s: float = 0.25) -> None:
        """For learning, between two kernels: wait while clicks are being answered, but not for ever."""
        if self._clicks:
            self.wait_idle(at_most_s)

    def wait_idle(self, timeout: float | None = None, quiet_s: float = 0.0) -> bool:
        """Wait until no click is being answered and none was for ``quiet_s`` seconds.

        Returns:
            False when that did not come about within ``timeout`` seconds (None waits for ever).
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while True:
                now = time.monotonic()
                missing = float("inf") if self._clicks else self._ended + quiet_s - now
                if missing <= 0:
                    return True
                left = float("inf") if deadline is None else deadline - now
                if left <= 0:
                    return False
                wait = min(missing, left)
                self._changed.wait(None if wait == float("inf") else wait)
