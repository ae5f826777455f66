"""Runs of ``livesam embed`` as a user starts them, and what they left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from livesam.engine.files.hashing import file_sha256
from livesam.engine.session.cache import EmbeddingCache
from livesam.engine.values.errors import LivesamError

COMMAND = (sys.executable, "-m", "livesam.app.main", "embed")
WORKER = "MapWorker"  # in the name of each of Ray Data's actors


@dataclass(frozen=True)
class Run:
    """One run of the command.

    Attributes:
        how: ``plain``, ``ray`` or ``killed``.
        images: that it was given.
        s: seconds from its start to its end.
        killed: the process number of the worker that was killed; 0 for none.
    """

    how: str
    images: int
    s: float
    killed: int = 0

    def to_json(self) -> dict[str, object]:
        """As a JSON object."""
        base: dict[str, object] = {"how": self.how, "images": self.images, "s": round(self.s, 2)}
        return {**base, "killed": self.killed} if self.killed else base


def run(how: str, photos: Path, out: Path, shard: int = 16) -> Run:
    """Embed a folder; ``killed`` kills a worker when a third of the images is done.

    Raises:
        LivesamError: the command failed, or was over before a worker could be killed.
    """
    images = len(list(photos.iterdir()))
    options = [] if how == "plain" else ["--ray", "--shard", str(shard)]
    begun = time.perf_counter()
    process = subprocess.Popen(
        [*COMMAND, str(photos), "--out", str(out), *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    killed = _kill_one(process, out, images / 3) if how == "killed" else 0
    said, wrong = process.communicate()
    seconds = time.perf_counter() - begun
    if process.returncode != 0 or f"{images} encoded" not in said:
        raise LivesamError(f"livesam embed {' '.join(options)} failed: {said} {wrong[-2000:]}")
    return Run(how, images, seconds, killed)


def rate(small: Run, large: Run) -> float:
    """Images a second, without what a run takes to start and to end: of two runs that differ in their images alone."""
    return (large.images - small.images) / (large.s - small.s)


def check(photos: Path, plain: Path, shards: Path) -> dict[str, object]:
    """Compare what a run in shards left with what the plain command left, reading the files themselves.

    Returns:
        ``images``; ``missing``, ``twice``, ``changed`` shards, and ``different`` embeddings, all of which shall be 0.
    """
    from pyarrow import parquet

    cache = EmbeddingCache(0, plain)
    seen: list[str] = []
    different = changed = 0
    for one in json.loads((shards / "manifest.json").read_text())["shards"]:
        changed += file_sha256(shards / one["file"]) != one["sha256"]
        table = parquet.read_table(shards / one["file"])
        features = table["features"].combine_chunks().to_numpy_ndarray()
        for key, found in zip(table["key"].to_pylist(), features, strict=True):
            other = cache.get(key)
            different += other is None or not np.array_equal(other.numpy()[0], found)
        seen += table["image"].to_pylist()
    missing = {path.name for path in photos.iterdir()} - set(seen)
    return {
        "images": len(seen),
        "missing": len(missing),
        "twice": len(seen) - len(set(seen)),
        "changed": changed,
        "different": different,
    }


def _kill_one(process: subprocess.Popen[str], out: Path, after: float) -> int:
    """Kill -9 one of the command's workers once shards of so many images are there; returns its number."""
    while True:
        done = sum(len(json.loads(one.read_text())["images"]) for one in (out / "records").glob("*.json"))
        workers = _workers(process.pid)
        if done >= after and workers:
            os.kill(workers[0], signal.SIGKILL)
            return workers[0]
        if process.poll() is not None:
            raise LivesamError(f"the command was over before a worker could be killed: {process.communicate()}")
        time.sleep(0.2)


def _workers(parent: int) -> Sequence[int]:
    import psutil

    found = psutil.Process(parent).children(recursive=True) if psutil.pid_exists(parent) else []
    return [one.pid for one in found if WORKER in " ".join(_line(one.pid))]


def _line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:  # it has just ended
        return []
