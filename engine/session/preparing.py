"""How far the engine is for which PyTorch stands in."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Literal, TypeAlias

State: TypeAlias = Literal["ready", "pending", "building", "failed", "stopped"]


def _nothing() -> None:
    """Nobody to stop."""


class Preparing:
    """The state of a session's engine, to be looked at from any thread: ``session.preparing``.

    ``pending``: PyTorch answers, and the build begins after the first image. ``building``: a child process is at it,
    and ``stage`` says what it does. ``ready``: the engine answers. ``failed``: PyTorch goes on answering, ``error``
    says why, and this session does not try again. ``stopped``: the session was closed before.

    Attributes:
        build: begins the build, which calls ``begin``; None where PyTorch is to go on.
    """

    def __init__(self, state: State = "ready") -> None:
        self._state: State = state
        self.build: Callable[[], None] | None = None
        self._lock = threading.Lock()  # of changing the state: sessions are closed while an image is encoded, too
        self._stage, self._error = "", ""
        self._since: float | None = None
        self._took_s = 0.0
        self._over = threading.Event()
        self._stop: Callable[[], None] = _nothing
        if state == "ready":
            self._over.set()

    @property
    def state(self) -> State:
        """``ready``, ``pending``, ``building``, ``failed`` or ``stopped``."""
        return self._state

    @property
    def stage(self) -> str:
        """What is being done, in a few words; empty when nothing is."""
        return self._stage

    @property
    def error(self) -> str:
        """Why there is no engine; empty while nothing has failed."""
        return self._error

    @property
    def elapsed_s(self) -> float:
        """Seconds since the build began, or that it took; 0 before."""
        return self._took_s if self._since is None else time.monotonic() - self._since

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the engine answers; False when it failed, is not built at all, or ``timeout`` seconds are over.

        The build begins after the first image, so set one before.
        """
        if self._state != "pending" or self.build is not None:
            self._over.wait(timeout)
        return self._state == "ready"

    def __repr__(self) -> str:
        more = [self._stage, self._error, f"{self.elapsed_s:.0f} s" if self.elapsed_s else ""]
        return f"<{': '.join([self._state, ', '.join(part for part in more if part)]).removesuffix(': ')}>"

    def image_is_there(self) -> None:
        """For the session: nobody waits for the first image any more, so the build may take the processor."""
        if self._state == "pending" and self.build is not None:
            self.build()

    def begin(self, stop: Callable[[], None]) -> bool:
        """For who builds: it begins, and ``stop`` ends it early. False: it had begun, or the session is closed."""
        with self._lock:
            if self._state != "pending":
                return False
            self._stop, self._since, self._state = stop, time.monotonic(), "building"
        return True

    def tell(self, stage: str) -> None:
        """For who builds: what it does now."""
        self._stage = stage

    def end(self, error: str = "") -> None:
        """For who builds: it is over."""
        with self._lock:
            if self._state != "stopped":
                self._state, self._error = "failed" if error else "ready", error
            self._took_s, self._since, self._stage = self.elapsed_s, None, ""
        self._over.set()

    def stop(self) -> None:
        """Stop building; the session is being closed."""
        with self._lock:
            if self._state in ("pending", "building"):
                self._state = "stopped"
                self._over.set()
        self._stop()
