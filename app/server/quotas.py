"""How much of a server one user may have at a time. Thread-safe."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from livesam.app.server.problems import OverQuota

CLICKS, OPENS = frozenset({"click", "box"}), frozenset({"open"})
BURST_S = 2.0  # so many seconds' clicks may come at once
FORGET = 4096  # users whose clicks are remembered; of more, the ones that are back to full


@dataclass(frozen=True, slots=True)
class Quota:
    """What one user may have; None for as much as there is.

    Attributes:
        sessions: open at a time.
        clicks_s: clicks and boxes a second.
        encoding: images that are being opened at a time.
    """

    sessions: int | None = None
    clicks_s: float | None = None
    encoding: int | None = None


class Quotas:
    """Counts what users have, and refuses what is beyond."""

    def __init__(self, quota: Quota, clock: Callable[[], float] = time.monotonic) -> None:
        self._quota, self._clock = quota, clock
        self._lock = threading.Lock()
        self._having: Counter[tuple[str, str]] = Counter()
        self._clicks: dict[str, tuple[float, float]] = {}  # how many are left, and when that was so

    @contextlib.contextmanager
    def session(self, user: str) -> Iterator[None]:
        """For the length of a session.

        Raises:
            OverQuota: the user has as many as are allowed.
        """
        with self._held(user, "sessions", self._quota.sessions):
            yield

    @contextlib.contextmanager
    def asking(self, user: str, op: object) -> Iterator[None]:
        """For the length of an answer to ``op``.

        Raises:
            OverQuota: too many clicks in too short a time, or images at once.
        """
        if op in CLICKS:
            self._click(user)
        with self._held(user, "images being opened", self._quota.encoding if op in OPENS else None):
            yield

    @contextlib.contextmanager
    def _held(self, user: str, what: str, most: int | None) -> Iterator[None]:
        if most is None:
            yield
            return
        with self._lock:
            if self._having[user, what] >= most:
                raise OverQuota(f"you have {most} {what}, as many as one user may: wait for one, or close it")
            self._having[user, what] += 1
        try:
            yield
        finally:
            with self._lock:
                self._having[user, what] -= 1
                if not self._having[user, what]:
                    del self._having[user, what]

    def _click(self, user: str) -> None:
        rate = self._quota.clicks_s
        if rate is None:
            return
        most = max(1.0, rate * BURST_S)
        with self._lock:
            now = self._clock()
            left, then = self._clicks.get(user, (most, now))
            left = min(most, left + (now - then) * rate)
            if left < 1:
                raise OverQuota(f"you click more than {rate:g} times a second, as often as one user may: wait a moment")
            self._clicks[user] = left - 1, now
            if len(self._clicks) > FORGET:
                self._clicks = {who: one for who, one in self._clicks.items() if (now - one[1]) * rate < most}
