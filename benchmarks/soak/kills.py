"""A server that is used and killed, again and again."""

from __future__ import annotations

import contextlib
import io
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import livesam
import numpy as np
from livesam.benchmarks.serving.served import Served
from livesam.benchmarks.soak.clicker import Clicker, Photo, Seen, mask_hash

DOMAIN = "killed"
LONGEST_S = 10.0  # from the first click to the kill
LEARN_S, AFTER_S = 60.0, 2.0  # at most for a version to be published, and from that to the kill
THINK_S = 1.0  # median of the pause before a click: learning goes on in it


@dataclass(slots=True)
class Killed:
    """What came of it.

    Attributes:
        kills: how often it was killed.
        accepted: objects that it said to have kept.
        versions: decoders that were published.
        lost: a sentence for each object, decoder or start that was not what it had to be.
        start_s: the longest time from a start to its readiness.
    """

    kills: int = 0
    accepted: int = 0
    versions: int = 0
    lost: list[str] = field(default_factory=list)
    start_s: float = 0.0

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def killed_often(
    work: Path, kills: int, *, seed: int = 0, tell: Callable[[Killed], object] = lambda found: None
) -> Killed:
    """Serve the sample photos, annotate, kill at a random moment, start again, and compare with what was answered.

    Every other kill comes upon a version's being published.

    Args:
        work: an empty folder.
        tell: is told how far it is, after each kill.
    """
    rng, found, all_seen = np.random.default_rng(seed), Killed(), Seen()
    served = Served(None, work / "out", ["--runtime", "torch"])
    for turn in range(kills):
        began = time.monotonic()
        served.start()
        found.start_s = max(found.start_s, time.monotonic() - began)
        try:
            found.lost += _compared(served, work, all_seen)
            photos = photos_of(served)
            dead = threading.Event()
            clicker = Clicker(served.url, DOMAIN, photos, THINK_S, seed=seed * 1000 + turn, objects=3)
            seen = Seen()
            thread = threading.Thread(target=clicker.work, args=(seen, dead.is_set))
            thread.start()
            _wait(work, seen, thread, LONGEST_S * rng.random(), AFTER_S * rng.random() if turn % 2 else None)
        finally:
            served.kill()
        dead.set()
        thread.join(60)  # what it was told before the kill counts; the broken connection is no error
        all_seen.accepted |= seen.accepted
        found.kills, found.accepted, found.versions = turn + 1, len(all_seen.accepted), _published(work)
        tell(found)
    served.start()
    try:
        found.lost += _compared(served, work, all_seen)
    finally:
        served.stop()
    return found


def _wait(work: Path, seen: Seen, thread: threading.Thread, for_s: float, after_s: float | None) -> None:
    """Until so long after the first click; or, with ``after_s``, so long after a version was published."""
    last = _published(work)
    _until(lambda: seen.clicks > 0 or not thread.is_alive(), LEARN_S)
    if after_s is not None:
        _until(lambda: _published(work) > last, LEARN_S)
    time.sleep(for_s if after_s is None else after_s)


def _until(found: Callable[[], bool], most_s: float) -> None:
    """Return when it is so, or after this time."""
    deadline = time.monotonic() + most_s
    while not found() and time.monotonic() < deadline:
        time.sleep(0.02)


def photos_of(served: Served) -> list[Photo]:
    """The images of a server's folder, with their sizes."""
    items = served.json("/api/images?limit=20")["items"]
    details = [served.json(f"/api/images/{one['id']}") for one in items]
    return [Photo(one["name"], one["height"], one["width"]) for one in details]


def _published(work: Path) -> int:
    """The last version that the database knows of."""
    with contextlib.closing(sqlite3.connect(work / "out" / "annotations.sqlite")) as database:
        row = database.execute("SELECT max(number) FROM versions WHERE domain = ?", (DOMAIN,)).fetchone()
    return int(row[0] or 0)


def _compared(served: Served, work: Path, seen: Seen) -> list[str]:
    """What is not as it was answered."""
    from PIL import Image

    wrong = []
    for number, expected in seen.accepted.items():
        try:
            kept = np.asarray(Image.open(io.BytesIO(served.read(f"/api/objects/{number}/mask")))) > 127
        except OSError as error:
            wrong.append(f"object {number}: {error}")
            continue
        if mask_hash(kept) != expected:
            wrong.append(f"object {number} has another mask")
    last = _published(work)
    if last:
        with livesam.connect(served.url, domain=DOMAIN) as session:
            serves = session.learning()
        if serves["version"] < last or serves["last_error"]:
            wrong.append(f"version {serves['version']} serves, {last} was published: {serves['last_error']}")
    return wrong
