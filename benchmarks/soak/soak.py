"""Clickers for as long as it is asked for, and whether the server's memory, descriptors and threads stay."""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import livesam
import numpy as np
from livesam.adapter.learning.waiting_line import left_out
from livesam.benchmarks.serving.served import Served
from livesam.benchmarks.soak.clicker import Clicker, Seen
from livesam.benchmarks.soak.kills import photos_of
from livesam.benchmarks.soak.process import Held, held_by
from livesam.engine.values.errors import LivesamError

WARM_SHARE = 0.2  # of a leg: caches, lessons and pools of threads fill meanwhile
MOST_SESSIONS = 30  # a server takes 32
REST_S = 3.0  # after everybody has left
FLAT = 0.05  # by how much memory may grow


@dataclass(slots=True)
class Leg:
    """A run without a break.

    Attributes:
        seconds: how long it clicked.
        left_out: accepted objects that were not learned from, because too many waited.
        rests: what the server held when nobody was there: after the warm-up, and at the end.
        samples: what it held meanwhile, with the clicks of each stretch and their times.
    """

    seconds: float = 0.0
    clicks: int = 0
    opened: int = 0
    accepted: int = 0
    published: int = 0
    left_out: int = 0
    errors: list[str] = field(default_factory=list)
    rests: list[dict[str, float]] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)


class Soak:
    """Eight people at one server, in two domains.

    Args:
        clickers: people.
        think_s: median of the pause before a click.
        folder: of images; None for the sample photos.
        options: more of the server's.
        every_s: how often the server is looked at.
    """

    def __init__(
        self, clickers: int = 8, think_s: float = 1.0, folder: Path | None = None, options: Sequence[str] = (),
        every_s: float = 5.0,
    ) -> None:  # fmt: skip
        self.clickers, self.think_s, self.folder, self.options = clickers, think_s, folder, options
        self.every_s = every_s

    def run(self, seconds: float, tell: Callable[[Leg], object] = lambda leg: None) -> Leg:
        """A leg of so many seconds; ``tell`` is told each sample. Ctrl+C ends it early, with what there is."""
        leg = Leg()
        with tempfile.TemporaryDirectory(prefix="livesam-soak-") as work, self._served(Path(work)) as served:
            try:
                for share in (WARM_SHARE, 1 - WARM_SHARE):
                    self._click(served, seconds * share, leg, tell, warm=share == WARM_SHARE)
                    if not leg.rests:
                        _fill(served.url, 3 * self.clickers)
                    time.sleep(REST_S)
                    leg.rests.append(held_by(served.process).to_json())
            except KeyboardInterrupt:
                leg.errors.append("it was interrupted")
            learned = [served.json(f"/api/learning?domain=soak{number}") for number in range(2)]
            leg.published = sum(one["published"] for one in learned)
            leg.left_out = sum(one["left_out"] for one in learned)
            leg.errors += [str(said) for one in learned if (said := one["last_error"]) != left_out(one["left_out"])]
        return leg

    def _served(self, work: Path) -> Served:
        return Served(self.folder, work / "out", self.options)

    def _click(self, served: Served, seconds: float, leg: Leg, tell: Callable[[Leg], object], *, warm: bool) -> None:
        photos, seen, end = photos_of(served), Seen(), time.monotonic() + seconds
        begun, over = time.monotonic(), threading.Event()
        people = [
            Clicker(served.url, f"soak{number % 2}", photos, self.think_s, seed=number + 100 * warm)
            for number in range(self.clickers)
        ]
        threads = [
            threading.Thread(target=one.work, args=(seen, lambda: over.is_set() or time.monotonic() > end))
            for one in people
        ]
        for thread in threads:
            thread.start()
        try:
            while time.monotonic() < end:
                over.wait(min(self.every_s, max(0.0, end - time.monotonic())))
                leg.samples.append({"warm": warm, **_sample(held_by(served.process), seen.take_ms())})
                tell(leg)
        finally:
            over.set()
            for thread in threads:
                thread.join(120)
            leg.seconds += time.monotonic() - begun
            leg.clicks, leg.opened = leg.clicks + seen.clicks, leg.opened + seen.opened
            leg.accepted += len(seen.accepted)
            leg.errors += seen.errors


def _fill(url: str, sessions: int) -> None:
    """So many at once: the server's pool of threads is then as large as the clickers will ever make it."""

    def come_and_go() -> None:
        with contextlib.suppress(LivesamError), livesam.connect(url, domain="soak0") as session:
            session.reset()
            session.learning()

    threads = [threading.Thread(target=come_and_go) for _ in range(min(sessions, MOST_SESSIONS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)


def _sample(held: Held, times: list[float]) -> dict[str, Any]:
    return {**held.to_json(), "clicks": len(times), "ms": [round(one, 1) for one in times]}


def summary(legs: Sequence[Leg]) -> dict[str, Any]:
    """What is said of all legs: times of the clicks after the warm-up, and what grew or was left."""
    times = [one for leg in legs for sample in leg.samples if not sample["warm"] for one in sample["ms"]]
    p50, p95, p99 = (round(float(np.percentile(times, q)), 1) if times else None for q in (50, 95, 99))
    growths = [growth for leg in legs if (growth := memory_growth(leg)) is not None]
    left = [
        {name: leg.rests[1][name] - leg.rests[0][name] for name in ("descriptors", "threads")}
        for leg in legs if len(leg.rests) == 2
    ]  # fmt: skip
    errors = [error for leg in legs for error in leg.errors]
    return {
        "minutes": round(sum(leg.seconds for leg in legs) / 60, 2),
        "clicks": sum(leg.clicks for leg in legs),
        "opened": sum(leg.opened for leg in legs),
        "accepted": sum(leg.accepted for leg in legs),
        "published": sum(leg.published for leg in legs),
        "left_out": sum(leg.left_out for leg in legs),
        "p50_ms": p50, "p95_ms": p95, "p99_ms": p99,
        "memory_growth": growths,
        "flat": all(growth <= FLAT for growth in growths),
        "left": left,
        "errors": errors,
    }  # fmt: skip


def memory_growth(leg: Leg) -> float | None:
    """From the first third after the warm-up to the last one, medians; None for too few samples."""
    memory: list[float] = [sample["memory_mib"] for sample in leg.samples if not sample["warm"]]
    third = len(memory) // 3
    if third == 0:
        return None
    growth = statistics.median(memory[-third:]) / statistics.median(memory[:third]) - 1
    return round(growth, 4)
