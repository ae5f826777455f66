"""Users who annotate on one server, each teaching a decoder, and whether each answer was what it said it was."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import livesam
import numpy as np
from livesam.engine.values.result import MaskResult
from PIL.Image import open as open_image

Image = tuple[str, int, int]  # name, width and height
MOST_CLICKS = 3  # for an object
SLOWEST = 8  # clicks whose stages are told
JOIN_S = 120.0  # for the answers that are under way when the time is over


@dataclass(slots=True)
class Annotators:
    """What the users saw.

    Attributes:
        users: how many at once; each has a decoder of its own.
        seconds: for how long.
        pause_s: between an answer and the next click, at the mean.
        clicks: that were answered.
        learned: of these, by a decoder that had learned.
        versions: decoders that have answered, of all users together, the original not counted.
        opened: images that were opened.
        accepted: objects.
        wrong: accepted objects whose mask or version on the server is not the one that the user had seen.
        replayed: what ``livesam replay`` says of them: each answer against the version that it carries, bit for bit.
        same: whether it found every answer and every mask the same.
        errors: what was refused or broke, a sentence each.
        p50_ms, p95_ms, p99_ms: from the click to the mask, at the client.
        open_p99_ms: to open an image.
        slowest: the milliseconds of each stage of the slowest clicks, and when they came, in seconds from the start.
    """

    users: int
    seconds: float
    pause_s: float
    clicks: int = 0
    learned: int = 0
    versions: int = 0
    opened: int = 0
    accepted: int = 0
    wrong: int = 0
    replayed: str = ""
    same: bool = False
    errors: list[str] = field(default_factory=list)
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0
    open_p99_ms: float = 0.0
    slowest: list[dict[str, float]] = field(default_factory=list)

    def to_json(self) -> dict[str, object]:
        return asdict(self)

    @property
    def good(self) -> bool:
        """No wrong answer, and no error."""
        return self.same and not self.errors and not self.wrong and self.clicks > 0


@dataclass(slots=True)
class _Seen:
    """What all users write into, under one lock."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    clicks_ms: list[float] = field(default_factory=list)
    opens_ms: list[float] = field(default_factory=list)
    versions: set[tuple[int, int]] = field(default_factory=set)
    masks: dict[int, bytes] = field(default_factory=dict)
    learned: int = 0
    began: float = field(default_factory=time.perf_counter)
    stages: list[dict[str, float]] = field(default_factory=list)


def annotate_together(url: str, images: Sequence[Image], found: Annotators) -> None:
    """Annotate until the time is over, and fill in what was seen; ``check_replay`` fills in the rest."""
    seen, end = _Seen(), time.monotonic() + found.seconds
    users = [
        threading.Thread(target=_user, args=(url, images, number, end, found, seen), daemon=True)
        for number in range(found.users)
    ]
    for one in users:
        one.start()
    for one in users:
        one.join(found.seconds + JOIN_S)
    if any(one.is_alive() for one in users):
        found.errors.append(f"a user got no answer within {JOIN_S:.0f} s")
    with seen.lock:
        found.clicks, found.opened, found.accepted = len(seen.clicks_ms), len(seen.opens_ms), len(seen.masks)
        found.learned, found.versions = seen.learned, len({one for one in seen.versions if one[1]})
        if seen.clicks_ms:
            found.p50_ms, found.p95_ms, found.p99_ms = (_percentile(seen.clicks_ms, q) for q in (50, 95, 99))
            found.open_p99_ms = _percentile(seen.opens_ms, 99)
            found.slowest = sorted(seen.stages, key=lambda one: -one["client"])[:SLOWEST]
        found.wrong += sum(_kept(url, number) != mask for number, mask in seen.masks.items())


def check_replay(out: Path, found: Annotators, options: Sequence[str] = ()) -> None:
    """Let ``livesam replay`` answer every click again, with the weights of the version that answered it."""
    command = [sys.executable, "-m", "livesam.app.main", "replay", str(out), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found.replayed = " ".join((done.stdout + done.stderr).split())[-1000:]
    found.same = done.returncode == 0 and found.replayed.startswith(f"{found.accepted} objects, ")


def _user(url: str, images: Sequence[Image], number: int, end: float, found: Annotators, seen: _Seen) -> None:
    rng = np.random.default_rng(number)
    try:
        with livesam.connect(url, private=f"user-{number}") as session:
            for _ in _until(end):
                began = time.perf_counter()
                name, width, height = images[int(rng.integers(len(images)))]
                session.set_image(name)
                with seen.lock:
                    seen.opens_ms.append((time.perf_counter() - began) * 1e3)
                for _ in range(3):
                    _object(session, number, (width, height), rng, seen, found)
    except Exception as error:
        with seen.lock:
            found.errors.append(f"user {number}: {type(error).__name__}: {error}")


def _until(end: float) -> Iterator[None]:
    """Once, and then again until the time is over."""
    yield
    while time.monotonic() < end:
        yield


def _object(
    session: livesam.RemoteSession, number: int, size: tuple[int, int], rng: np.random.Generator, seen: _Seen,
    found: Annotators,
) -> None:  # fmt: skip
    """A few clicks somewhere, and the mask accepted as it is: that they are wrong about the image is no matter here."""
    result: MaskResult | None = None
    for _ in range(int(rng.integers(1, MOST_CLICKS + 1))):
        time.sleep(float(rng.exponential(found.pause_s)) if found.pause_s else 0.0)
        began = time.perf_counter()
        result = session.click(float(rng.integers(size[0])), float(rng.integers(size[1])))
        took = (time.perf_counter() - began) * 1e3
        with seen.lock:
            seen.clicks_ms.append(took)
            seen.versions.add((number, result.decoder_version))
            seen.learned += result.decoder_version > 0
            seen.stages.append({"client": round(took, 1), "at_s": round(began - seen.began, 1), **result.timings_ms})
    if result is None or not result.mask.any():
        session.reset()
        return
    kept = session.accept()
    with seen.lock:
        seen.masks[kept.id] = np.packbits(result.mask).tobytes()
        found.wrong += kept.decoder_version != result.decoder_version


def _kept(url: str, number: int) -> bytes:
    with urllib.request.urlopen(f"{url.rstrip('/')}/api/objects/{number}/mask", timeout=60) as answer:
        return np.packbits(np.asarray(open_image(io.BytesIO(answer.read()))) > 0).tobytes()


def _percentile(times: Sequence[float], q: float) -> float:
    return round(float(np.percentile(times, q)), 1)
