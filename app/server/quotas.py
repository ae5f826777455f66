"""How much of a server one user may have at a time. Thread-safe."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from livesam.app.server.problems import OverQuota

CLICKS = frozenset({"click", "box", "press", "preview", "candidates", "compare", "propose"})  # each asks a decoder
OPENS = frozenset({"open"})
BURST_S = 2.0  # so many seconds' clicks may come at once
SPARED = 0.5  # of the burst is for clicks; a mouse that hovers asks at the rate of the answers
FORGET = 4096  # users whose clicks are remembered; of more, the ones that are back to full


@dataclass(frozen=True, slots=True)
class Quota:
    """What one user may have; None for as much as there is.

    Attributes:
        sessions: open at a time.
        clicks_s: what asks a decoder, a second; a click whose button was said to be down before is one with that.
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
        self._pressed: dict[str, object] = {}  # where a button is down, which has been counted

    @contextlib.contextmanager
    def session(self, user: str) -> Iterator[None]:
        """For the length of a session.

        Raises:
            OverQuota: the user has as many as are allowed.
        """
        with self._held(user, "sessions", self._quota.sessions):
            yield

    @contextlib.contextmanager
    def asking(self, user: str, op: str, place: object = None) -> Iterator[None]:
        """For the length of an answer to ``op``, which is about a ``place`` in the image.

        Raises:
            OverQuota: too many clicks in too short a time, or images at once.
        """
        if op in CLICKS:
            self._click(user, op, place)
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

    def _click(self, user: str, op: str, place: object) -> None:
        rate = self._quota.clicks_s
        if rate is None:
            return
        most = max(1.0, rate * BURST_S)
        with self._lock:
            now = self._clock()
            left, then = self._clicks.get(user, (most, now))
            left = min(most, left + (now - then) * rate)
            if op == "click" and user in self._pressed and self._pressed.pop(user) == place:
                return
            if left < max(1.0, SPARED * most if op == "preview" else 0.0):
                raise OverQuota(f"you click more than {rate:g} times a second, as often as one user may: wait a moment")
            self._clicks[user] = left - 1, now
            if op == "press":
                self._pressed[user] = place
            if len(self._clicks) > FORGET:
                self._clicks = {who: one for who, one in self._clicks.items() if (now - one[1]) * rate < most}
                self._pressed = {who: one for who, one in self._pressed.items() if who in self._clicks}
