"""Who may use the encoder next: whom somebody waits for, before what is made ahead of need."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager


class Turns:
    """Turns at an encoder. Those that somebody waits for come in their order, and what is made ahead, one at a time,
    when nobody waits: an encoder that has begun cannot be stopped, so what is not waited for may not stand in line.

    Args:
        at_once: how many may have a turn at the same time; a GPU's encoder has one set of buffers.

    Raises:
        ValueError: ``at_once`` is below 1.
    """

    def __init__(self, at_once: int = 1) -> None:
        if at_once < 1:
            raise ValueError(f"an encoder takes at least 1 image at once, got {at_once}")
        self._at_once = at_once
        self._changed = threading.Condition()
        self._line: deque[object] = deque()
        self._taken, self._ahead = 0, False
        self._mine = threading.local()

    @contextmanager
    def now(self) -> Iterator[None]:
        """A turn that somebody waits for; within ``ahead`` it is that turn."""
        if getattr(self._mine, "ahead", False):
            yield
            return
        ticket = object()
        with self._changed:
            self._line.append(ticket)
            try:
                self._changed.wait_for(lambda: self._line[0] is ticket and self._taken < self._at_once)
                self._taken += 1
            finally:  # also when Ctrl+C ends the wait
                self._line.remove(ticket)
                self._changed.notify_all()
        try:
            yield
        finally:
            self._give_back()

    @contextmanager
    def ahead(self) -> Iterator[None]:
        """A turn for what nobody waits for yet."""
        with self._changed:
            self._changed.wait_for(lambda: not self._line and not self._ahead and self._taken < self._at_once)
            self._taken += 1
            self._ahead = self._mine.ahead = True
        try:
            yield
        finally:
            self._mine.ahead = False
            self._give_back(ahead=True)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """All turns. By one thread at a time."""
        with ExitStack() as stack:
            for _ in range(self._at_once):
                stack.enter_context(self.now())
            yield

    def _give_back(self, *, ahead: bool = False) -> None:
        with self._changed:
            self._taken -= 1
            self._ahead &= not ahead
            self._changed.notify_all()
