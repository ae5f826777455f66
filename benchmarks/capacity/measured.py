"""Real users of a real server on this machine, to compare the simulation with."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from livesam.benchmarks.serving.served import Served
from livesam.benchmarks.soak.clicker import Clicker, Seen
from livesam.benchmarks.soak.kills import photos_of

LOOK_S, LOOKS_S = 4.0, 0.1  # at the others on this machine


def measured(users: int, seconds: float, think_s: float, runtime: str) -> dict[str, Any]:
    """The times of the clicks of so many users, without learning; after a warm-up of a few.

    ``server_ms`` and ``users_ms`` are processor time a click, of the server and of the users' own Python. ``others``
    are threads of other programs that ran or wanted to, in the mean of four seconds before.
    """
    options = ["--runtime", runtime, "--no-learn"]
    with (
        tempfile.TemporaryDirectory(prefix="livesam-capacity-") as work,
        Served(None, Path(work) / "out", options) as served,
    ):
        photos = photos_of(served)
        _together(served.url, photos, users, 5.0, 0.2)
        others = _others()
        server, mine = _spent_s(served.process), time.process_time()
        seen = _together(served.url, photos, users, seconds, think_s)
        server, mine = _spent_s(served.process) - server, time.process_time() - mine
    p50, p95, p99 = (round(float(np.percentile(seen.ms, q)), 1) if seen.ms else None for q in (50, 95, 99))
    each = 1e3 / max(1, seen.clicks)
    return {
        "users": users, "seconds": seconds, "clicks": seen.clicks, "p50_ms": p50, "p95_ms": p95, "p99_ms": p99,
        "errors": seen.errors, "server_ms": round(server * each, 1), "users_ms": round(mine * each, 1),
        "others": others, "ms": [round(one, 2) for one in seen.ms],
    }  # fmt: skip


def _spent_s(process: int) -> float:
    """Processor time of a process so far; Linux."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _others() -> float:
    """Threads of this machine that run or want to, besides the one that looks."""
    counts = []
    for _ in range(round(LOOK_S / LOOKS_S)):
        time.sleep(LOOKS_S)
        counts.append(int(Path("/proc/loadavg").read_text().split()[3].partition("/")[0]) - 1)
    return round(float(np.mean(counts)), 2)


def _together(url: str, photos: Any, users: int, seconds: float, think_s: float) -> Seen:
    seen, end = Seen(), time.monotonic() + seconds
    people = [Clicker(url, "measured", photos, think_s, seed=number) for number in range(users)]
    threads = [threading.Thread(target=one.work, args=(seen, lambda: time.monotonic() > end)) for one in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seen
