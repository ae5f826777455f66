"""A crowd of users who click on one server, each on images of their own, and know what they have to see."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import livesam
import numpy as np
from livesam.engine.files.hashing import weights_hash

CLICKS = 12  # different first clicks an image, whose masks are known


@dataclass(slots=True)
class Crowd:
    """What the users saw.

    Attributes:
        sessions: how many at once.
        seconds: for how long.
        clicks: that were answered.
        opened: images that were opened.
        errors: what was refused or broke, a sentence each.
        mixed_up: masks that were not those of this image and this click.
        p50_ms, p95_ms, p99_ms: from the click to the mask, at the client.
        memory_mib: of the server: before, and at every tenth of the time.
    """

    sessions: int
    seconds: float
    clicks: int = 0
    opened: int = 0
    errors: list[str] = field(default_factory=list)
    mixed_up: int = 0
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0
    memory_mib: list[float] = field(default_factory=list)

    def to_json(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Known:
    """A click and the hash of its mask."""

    image: str
    x: float
    y: float
    mask: str


def known_masks(url: str, images: Sequence[tuple[str, int, int]], seed: int = 0) -> list[Known]:
    """The masks of first clicks, asked for by one session alone; ``images`` are names, widths and heights."""
    rng, found = np.random.default_rng(seed), []
    with livesam.connect(url, domain="alone") as session:
        for name, width, height in images:
            session.set_image(name)
            for _ in range(CLICKS):
                x, y = float(rng.integers(width)), float(rng.integers(height))
                found.append(Known(name, x, y, _hash(session.click(x, y).mask)))
                session.reset()
    return found


def click_together(url: str, known: Sequence[Known], crowd: Crowd, process: int) -> None:
    """Click until the time is over, and fill in what was seen.

    Args:
        process: the server's, whose memory is looked at.
    """
    lock, taken = threading.Lock(), []
    end = time.monotonic() + crowd.seconds

    def user(number: int) -> None:
        rng = np.random.default_rng(number)
        try:
            with livesam.connect(url, domain="alone") as session:
                while time.monotonic() < end:
                    image = known[int(rng.integers(len(known)))].image
                    session.set_image(image)
                    mine = [one for one in known if one.image == image]
                    with lock:
                        crowd.opened += 1
                    for at in rng.permutation(len(mine)):
                        one, began = mine[int(at)], time.perf_counter()
                        mask = session.click(one.x, one.y).mask
                        took = (time.perf_counter() - began) * 1e3
                        session.reset()
                        with lock:
                            taken.append(took)
                            crowd.mixed_up += _hash(mask) != one.mask
        except Exception as error:
            with lock:
                crowd.errors.append(f"user {number}: {type(error).__name__}: {error}")

    crowd.memory_mib.append(_memory(process))
    users = [threading.Thread(target=user, args=(number,)) for number in range(crowd.sessions)]
    for one in users:
        one.start()
    for _ in range(10):
        time.sleep(crowd.seconds / 10)
        crowd.memory_mib.append(_memory(process))
    for one in users:
        one.join(60)
    crowd.clicks = len(taken)
    if taken:
        crowd.p50_ms, crowd.p95_ms, crowd.p99_ms = (round(float(np.percentile(taken, q)), 1) for q in (50, 95, 99))


def _hash(mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> str:
    return weights_hash({"mask": mask})


def _memory(process: int) -> float:
    """Resident memory in MiB."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return round(int(line.split()[1]) / 1024, 1)
    return 0.0
