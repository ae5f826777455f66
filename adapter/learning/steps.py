"""A method's micro-steps, taken one by one."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator

import numpy as np
from livesam.adapter.learning.loop_state import Domain
from livesam.adapter.method import StepReport

REFUSED = 32  # reasons that are kept


class Steps:
    """Takes the steps of a method while it may, and keeps none that were not all taken.

    Args:
        may_step: called before each step; waits until it may be taken, and is False when there is no time left.
        counts: ``steps``, ``steps_skipped`` and ``gate_rejects`` are counted here.
        lock: around all changes that other threads read.
    """

    def __init__(self, may_step: Callable[[], bool], counts: Counter[str], lock: threading.Condition) -> None:
        self._may_step, self._counts, self._lock = may_step, counts, lock
        self._ms: deque[float] = deque(maxlen=256)
        self.refused: deque[tuple[float, str]] = deque(maxlen=REFUSED)  # when (Unix time), and why

    def durations_ms(self) -> tuple[float, float] | None:
        """Median and largest of the last 256; None before the first. Under the lock."""
        return (float(np.median(self._ms)), max(self._ms)) if self._ms else None

    def learn(self, reports: Iterator[StepReport], domain: Domain) -> bool:
        """Take all steps. False if there was no time; then, and after an exception, half-learned weights go."""
        domain.before = before = domain.method.domain_weights()
        finished = False
        try:
            finished = self._take(reports, domain)
        finally:
            domain.before = None
            if not finished:
                if isinstance(reports, Generator):
                    reports.close()
                domain.method.load_domain(before)
                domain.changed = True
        return finished

    def _take(self, reports: Iterator[StepReport], domain: Domain) -> bool:
        while self._may_step():
            started = time.perf_counter()
            report = next(reports, None)
            if report is None:
                return True
            with self._lock:
                if not report.applied and report.reason:
                    self.refused.append((time.time(), report.reason))
                if report.kind == "gate":
                    self._counts["gate_rejects"] += not report.applied
                    if report.applied:
                        domain.metrics["gate_iou"] = report.loss
                else:
                    self._ms.append((time.perf_counter() - started) * 1e3)
                    if report.kind != "lesson":
                        self._counts["steps" if report.applied else "steps_skipped"] += 1
            domain.changed = domain.fast = True  # also a rejected candidate takes the fast copy out of service
        return False
