"""One and eight real users of a real server on this machine, to compare the simulation with."""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from livesam.benchmarks.serving.served import Served
from livesam.benchmarks.soak.clicker import Clicker, Seen
from livesam.benchmarks.soak.kills import photos_of


def measured(users: int, seconds: float, think_s: float, runtime: str) -> dict[str, Any]:
    """The times of the clicks of so many users, without learning; after a warm-up of a few."""
    options = ["--runtime", runtime, "--no-learn"]
    with (
        tempfile.TemporaryDirectory(prefix="livesam-capacity-") as work,
        Served(None, Path(work) / "out", options) as served,
    ):
        photos = photos_of(served)
        _together(served.url, photos, users, 5.0, 0.2)
        seen = _together(served.url, photos, users, seconds, think_s)
    p50, p95, p99 = (round(float(np.percentile(seen.ms, q)), 1) if seen.ms else None for q in (50, 95, 99))
    return {
        "users": users, "seconds": seconds, "clicks": seen.clicks, "p50_ms": p50, "p95_ms": p95, "p99_ms": p99,
        "errors": seen.errors, "ms": [round(one, 2) for one in seen.ms],
    }  # fmt: skip


def _together(url: str, photos: Any, users: int, seconds: float, think_s: float) -> Seen:
    seen, end = Seen(), time.monotonic() + seconds
    people = [Clicker(url, "measured", photos, think_s, seed=number) for number in range(users)]
    threads = [threading.Thread(target=one.work, args=(seen, lambda: time.monotonic() > end)) for one in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seen
