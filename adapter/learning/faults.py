"""What goes wrong beside a session: counted, told, logged, and never the end of the thread."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable

log = logging.getLogger(__name__)


class Faults:
    """Keeps the last error, counts all, and tells who wants to know.

    Args:
        told: is told every exception, on the thread where it came up.
        counts: ``errors`` are counted here, and what ``guarded`` names.
        lock: around all changes that other threads read.

    Attributes:
        last: the latest exception, as text.
    """

    def __init__(
        self, told: Callable[[Exception], None] | None, counts: Counter[str], lock: threading.Condition
    ) -> None:
        self._told, self._counts, self._lock = told, counts, lock
        self.last: str | None = None

    def guarded(self, action: Callable[[], object], count: str | None = None) -> None:
        """Run something whose failure must neither end the thread nor pass unseen."""
        try:
            action()
        except Exception as error:
            self.report(error, count)

    def report(self, error: Exception, count: str | None = None) -> None:
        """Keep and tell an error."""
        with self._lock:
            self._counts["errors"] += 1
            if count is not None:
                self._counts[count] += 1
            self.last = f"{type(error).__name__}: {error}"
        log.error("adaptation failed; the decoder in service is not affected", exc_info=error)
        if self._told is not None:
            try:
                self._told(error)
            except Exception:
                log.exception("the error callback failed too")
