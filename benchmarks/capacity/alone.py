"""What one click, one window, one image and one lesson cost, each measured with nobody beside it in the process.

Milliseconds of processor time, not of the clock, which counts what others do on the machine. They still slow a core
down: nano's window takes 130 ms of two idle AVX2 cores, and 155 to 199 beside four threads of other programs.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import livesam
import numpy as np
import numpy.typing as npt
from livesam.engine.files.sample_photos import sample_photo

if TYPE_CHECKING:
    from livesam.engine.session.session import Session

PHOTOS = ("astronaut", "chelsea", "coffee")
REST_S = 0.25  # after a click: the next window is begun 60 ms after it, and takes 70
WARM = 6  # clicks


@dataclass(slots=True)
class _Counting:
    """An encoder that counts."""

    encoder: Any
    count: int = 0
    busy: bool = False

    def encode(self, *given: Any) -> Any:
        self.count, self.busy = self.count + 1, True
        try:
            return self.encoder.encode(*given)
        finally:
            self.busy = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.encoder, name)


def alone(runtime: str, clicks: int, lessons: int, seed: int = 0) -> dict[str, Any]:
    """Measure it all on the sample photos, with zoom, obey and edges.

    Args:
        clicks: of each of two streams: ``near`` goes on clicking at an object, ``anywhere`` clicks all over the image,
            as the real users of this benchmark do.
        lessons: accepted objects that are learned.
    """
    session = livesam.open_session("nano", runtime=runtime)
    counting = _Counting(session.encoder.encoder)
    session.encoder.encoder = counting
    session.foresight.on, session.foresight.quiet_s = True, 0.06
    rng = np.random.default_rng(seed)
    photos = [sample_photo(name) for name in PHOTOS]
    streams = {name: _clicks(session, counting, photos, rng, clicks, name == "near") for name in ("near", "anywhere")}
    return {
        "runtime": session.runtime, "streams": streams, "encode_ms": _encodes(session, photos),
        "open_ms": _opens(session, photos), "lesson": _lessons(session, photos, rng, lessons),
    }  # fmt: skip


def _clicks(
    session: Session, counting: _Counting, photos: Sequence[npt.NDArray[np.uint8]], rng: np.random.Generator,
    count: int, near: bool,
) -> dict[str, Any]:  # fmt: skip
    """Each click's processor time and stages, and how many windows were made before and within clicks."""
    taken: list[dict[str, float]] = []
    began = late = done = 0
    while done < WARM + count:
        image = photos[int(rng.integers(len(photos)))]
        session.set_image(image)
        for _ in range(4):
            place = rng.uniform(0.2, 0.8, 2) if near else rng.uniform(0, 0.999, 2)
            for turn in range(int(rng.integers(1, 5))):
                if turn:
                    place = place + rng.uniform(-0.05, 0.05, 2) if near else rng.uniform(0, 0.999, 2)
                x, y = place * image.shape[1::-1]
                before, cpu, mine = counting.count, time.process_time(), time.thread_time()
                found = session.click(float(x), float(y), turn == 0 or bool(rng.random() < 0.6))
                mine, cpu = (time.thread_time() - mine) * 1e3, (time.process_time() - cpu) * 1e3
                made, total = counting.count > before, found.timings_ms["total"]
                time.sleep(REST_S)
                while counting.busy:
                    time.sleep(0.02)
                done += 1
                if done > WARM:
                    began += counting.count - before
                    late += made
                    if not made:  # whose window was there
                        taken.append(_click(cpu, mine, total, found.timings_ms["decode"]))
            session.reset()
    return {
        "clicks": count, "windows_a_click": round(began / count, 3), "late_share": round(late / count, 3),
        "click_ms": [{name: round(value, 2) for name, value in one.items()} for one in taken],
    }  # fmt: skip


def _click(cpu: float, mine: float, total: float, decode: float) -> dict[str, float]:
    """The host's part and the decoder's. The decoder works on both cores, and the other thread has half of its work."""
    other = max(0.0, cpu - mine)
    host = min(max(0.0, mine - other), cpu)
    return {"host": host, "decode": cpu - host, "wall": total, "decode_wall": decode}


def _encodes(session: Session, photos: Sequence[npt.NDArray[np.uint8]], count: int = 16) -> list[dict[str, float]]:
    rows = []
    for turn in range(count + 2):
        pixels = np.ascontiguousarray(photos[turn % len(photos)][turn : turn + 280, turn : turn + 380])
        cpu, clock = time.process_time(), time.perf_counter()
        session.encoder.window(pixels)
        rows.append(_row(cpu, clock))
    return rows[2:]


def _opens(session: Session, photos: Sequence[npt.NDArray[np.uint8]], count: int = 12) -> list[dict[str, float]]:
    """An image that the cache has: everything of opening it but the encoder, and but reading the file."""
    rows = []
    for turn in range(count):
        cpu, clock = time.process_time(), time.perf_counter()
        session.set_image(photos[turn % len(photos)])
        rows.append(_row(cpu, clock))
    return rows[3:]


def _lessons(
    session: Session, photos: Sequence[npt.NDArray[np.uint8]], rng: np.random.Generator, count: int
) -> dict[str, Any]:
    """All that an accepted object costs until what was learned serves: steps, the gate, and the swap."""
    session.foresight.on = False
    rows: list[dict[str, float]] = []
    with livesam.learn(session) as learner:
        for turn in range(count):
            image = photos[turn % len(photos)]
            session.set_image(image)
            session.click(*(float(one) for one in rng.uniform(0.3, 0.7, 2) * image.shape[1::-1]))
            cpu, clock = time.process_time(), time.perf_counter()
            session.accept()
            learner.wait(60)
            rows.append(_row(cpu, clock))
        stats = learner.stats()
    counts = {name: stats.counts.get(name, 0) for name in ("learned", "steps", "published", "gate_rejects")}
    return {**counts, "object_ms": rows, "step_ms": stats.step_ms}


def _row(cpu: float, clock: float) -> dict[str, float]:
    return {"cpu": round((time.process_time() - cpu) * 1e3, 2), "wall": round((time.perf_counter() - clock) * 1e3, 2)}
