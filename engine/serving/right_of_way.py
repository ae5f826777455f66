"""Clicks come first: they announce themselves here, and learning looks before each step."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from livesam.engine.serving.occupancy import Occupancy


class RightOfWay:
    """Clicks before learning: counts those that are being answered.

    Announcing one never waits, whatever the learner does.
    """

    def __init__(self) -> None:
        self._clicks = Occupancy()
        self._ended = float("-inf")

    @contextlib.contextmanager
    def click(self) -> Iterator[None]:
        """Around the answer to one click; may be entered by several threads at once."""
        self._clicks.enter()
        try:
            yield
        finally:
            self._ended = time.monotonic()  # before it leaves: who sees nobody inside finds it there
            self._clicks.leave()

    @property
    def busy(self) -> bool:
        """Whether a click is being answered right now; cheap enough to be polled between kernels."""
        return bool(self._clicks)

    @property
    def idle_s(self) -> float:
        """Seconds since the last click was answered: 0 during one, infinity before the first."""
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
        deadline = float("inf") if timeout is None else time.monotonic() + timeout
        while self._clicks.wait_empty(None if timeout is None else deadline - time.monotonic()):
            now = time.monotonic()
            missing = self._ended + quiet_s - now
            if missing <= 0:
                return True
            if now >= deadline:
                return False
            time.sleep(min(missing, deadline - now))
        return False
