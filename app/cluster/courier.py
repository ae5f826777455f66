"""Carries what a domain's users say to its learner, and brings back how that is getting on. No click waits for it."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from livesam.adapter.learning.waiting_line import WaitingLine, left_out

if TYPE_CHECKING:
    from livesam.engine.values.interaction import Interaction

log = logging.getLogger(__name__)

Send: TypeAlias = "Callable[..., Future[Any]]"  # of a call's name and its arguments

CAPACITY = 16  # interactions that wait here; accepted objects wait beyond it
MOST_BYTES = 256 << 20  # that all of them hold; then the accepted ones that have waited longest are left out
LOOK_S = 1.0  # how often the learner is asked how it is getting on
TRIES = 3  # for what the learner refuses; what its death or the network has kept from it is sent until it arrives
SLOW_S = 10.0  # after which the page is told that the learner does not answer


class Courier:
    """A thread of its own for each domain, so that a learner that hangs keeps nobody but its own domain waiting.

    Args:
        domain: whose.
        send: asks the domain's learner for one of ``livesam.app.cluster.learners.Learners``' calls; returns at once.

    Attributes:
        enabled: whether the domain learns; goes with every interaction, because a learner started anew does not know.
    """

    def __init__(self, domain: str, send: Send) -> None:
        self._domain, self._send = domain, send
        self.enabled = True
        self._changed = threading.Condition()
        self._counts: Counter[str] = Counter()
        self._line = WaitingLine(CAPACITY, self._counts, MOST_BYTES)
        self._orders: list[_Asked] = []
        self._again: _Asked | None = None  # an interaction that did not arrive
        self._closing = False
        self._told: dict[str, Any] = {}
        self._refused: str | None = None
        self._since: float | None = None  # when it was asked what it has not answered yet
        self._thread = threading.Thread(target=self._run, name="livesam-courier", daemon=True)
        self._thread.start()

    def put(self, interaction: Interaction) -> bool:
        """Hand an interaction over; returns at once."""
        with self._changed:
            if self._closing:
                return False
            self._line.put(interaction)
            self._changed.notify()
        return True

    def order(self, what: str, value: Any) -> None:
        """Tell the learner to ``enable`` or ``rollback``; returns at once, and goes before what waits."""
        with self._changed:
            self._orders.append(_Asked(what, value))
            if what == "enable":
                self.enabled = self._told["enabled"] = value
            self._changed.notify()

    def state(self) -> dict[str, Any]:
        """How the learner was getting on when it was last asked."""
        with self._changed:
            found, since = dict(self._told), self._since
            found["waiting"] = found.get("waiting", 0) + len(self._line) + (self._again is not None)
            found["left_out"] = found.get("left_out", 0) + self._counts["left_out"]
            found["last_error"] = found.get("last_error") or self._refused or left_out(self._counts["left_out"])
        if since is not None and time.monotonic() - since > SLOW_S:
            found["last_error"] = f"the learner has not answered for {time.monotonic() - since:.0f} s; clicks go on"
        return found

    def close(self) -> None:
        """Carry what was accepted last, if the learner takes it within a moment, and stop."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(2.0)

    def _next(self) -> _Asked | None:
        """What to ask; None when there is nothing left and it is closing."""
        with self._changed:
            if not (self._orders or self._again or len(self._line) or self._closing):
                self._changed.wait(LOOK_S)
            if self._orders:
                return self._orders.pop(0)
            if self._again:
                asked, self._again = self._again, None
                return asked
            if len(self._line):
                return _Asked("submit", self._line.take())
            return None if self._closing else _Asked("state", None)

    def _run(self) -> None:
        while (asked := self._next()) is not None:
            try:
                found = self._ask(asked.what, asked.value)
            except Exception as error:
                if not self._failed(asked, error):
                    return
                continue
            if asked.what == "state":
                with self._changed:
                    self._told = found or self._told

    def _failed(self, asked: _Asked, error: Exception) -> bool:
        """Keep what did not arrive for another try, behind orders that came meanwhile; whether to go on."""
        gone, asked.tries = _gone(error), asked.tries + 1
        with self._changed:
            self._told["last_error"] = f"the learner failed: {error}"[:500]
            if self._closing and gone:
                return False
            if asked.what == "state":
                return True
            if gone or asked.tries < TRIES:
                if asked.what == "submit":
                    self._again = asked
                else:
                    self._orders.insert(0, asked)
            else:
                self._counts["failed"] += 1
                self._refused = f"the learner has refused {self._counts['failed']} times what it was told: {error}"[
                    :500
                ]
            closing = self._closing
        log.warning("domain %s: the learner failed at %s, try %d: %s", self._domain, asked.what, asked.tries, error)
        if not closing:
            time.sleep(LOOK_S)
        return True

    def _ask(self, what: str, value: Any) -> Any:
        with self._changed:
            self._since = time.monotonic()
        try:
            said = {"state": (), "submit": (value, self.enabled)}.get(what, (value,))
            asked = self._send(what, self._domain, *said)
            while not wait([asked], timeout=LOOK_S).done:
                with self._changed:
                    if self._closing:
                        return None
            return asked.result()
        finally:
            with self._changed:
                self._since = None


@dataclass(slots=True)
class _Asked:
    """A call, and how often it failed."""

    what: str
    value: Any
    tries: int = 0


def _gone(error: Exception) -> bool:
    """Whether the learner's process or the way to it is gone, rather than that it refused; Ray is not imported here.

    What a learner raises itself is a ``RayTaskError`` and of its own type, too.
    """
    names = {one.__name__ for one in type(error).__mro__}
    return isinstance(error, ConnectionError) or ("RayError" in names and "RayTaskError" not in names)
