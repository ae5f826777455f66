"""Images that the encoder takes a second, over batch sizes and workers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.protocols import ImageEncoder

Image = npt.NDArray[np.uint8]
Progress = Callable[[int, int], None]


@runtime_checkable
class BatchEncoder(Protocol):
    """An encoder that takes several images at once: at most ``batch``, or as many as fit where that is None."""

    batch: int | None

    def encode_batch(self, images: Sequence[Image]) -> Sequence[ImageEmbedding]: ...


@dataclass(frozen=True)
class ThroughputRun:
    """One setting's figure.

    Attributes:
        skipped: why it was not measured; then the figures are 0.
    """

    model: str
    runtime: str
    batch: int
    workers: int
    images: int = 0
    seconds: float = 0.0
    p50_ms: float = 0.0
    skipped: str | None = None

    @property
    def images_per_s(self) -> float:
        return self.images / self.seconds if self.seconds else 0.0

    def to_json(self) -> dict[str, object]:
        """As a JSON object; ``p50_ms`` is the median time of one call, of one worker."""
        base: dict[str, object] = {
            "model": self.model,
            "runtime": self.runtime,
            "batch": self.batch,
            "workers": self.workers,
        }
        if self.skipped is not None:
            return {**base, "skipped": self.skipped}
        return {
            **base,
            "images": self.images,
            "seconds": round(self.seconds, 3),
            "images_per_s": round(self.images_per_s, 3),
            "p50_ms": round(self.p50_ms, 3),
        }


def measure(
    make_encoder: Callable[[], ImageEncoder],
    image: Image,
    *,
    model: str,
    batch: int = 1,
    workers: int = 1,
    seconds: float = 5.0,
) -> ThroughputRun:
    """Encode the image again and again for ``seconds``, by ``workers`` threads with an encoder each.

    Each worker first encodes once unmeasured. A batch above 1 needs an encoder that takes so many at once
    (``BatchEncoder``); with another the run is returned as skipped.

    Raises:
        ValueError: batch, workers or seconds are not positive.
        Exception: what an encoder raised.
    """
    if batch < 1 or workers < 1 or seconds <= 0:
        raise ValueError(f"batch, workers and seconds must be positive, got {batch}, {workers} and {seconds}")
    encoders = [make_encoder() for _ in range(workers)]
    try:
        runtime = encoders[0].runtime
        most = encoders[0].batch if isinstance(encoders[0], BatchEncoder) else 1
        if most is not None and batch > most:
            return ThroughputRun(model, runtime, batch, workers, skipped=f"this encoder takes {most} image(s) a call")
        return _measure(encoders, image, model, runtime, batch, seconds)
    finally:
        for encoder in encoders:
            encoder.close()


def _measure(
    encoders: Sequence[ImageEncoder], image: Image, model: str, runtime: str, batch: int, seconds: float
) -> ThroughputRun:
    times: list[list[float]] = [[] for _ in encoders]
    failures: list[BaseException] = []
    ready = threading.Barrier(len(encoders) + 1)
    stop = threading.Event()

    def work(index: int) -> None:
        encode = _encode(encoders[index], image, batch)
        try:
            encode()
            ready.wait()
            while not stop.is_set():
                start = time.perf_counter()
                encode()
                times[index].append((time.perf_counter() - start) * 1e3)
        except BaseException as error:
            failures.append(error)
            ready.abort()

    threads = [threading.Thread(target=work, args=(i,), name=f"livesam-bench-encode-{i}") for i in range(len(encoders))]
    for thread in threads:
        thread.start()
    started = time.perf_counter()
    try:
        ready.wait()
        started = time.perf_counter()
        stop.wait(seconds)
    except threading.BrokenBarrierError:
        pass
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    if failures:
        raise next((f for f in failures if not isinstance(f, threading.BrokenBarrierError)), failures[0])
    elapsed = time.perf_counter() - started
    calls = [value for worker in times for value in worker]
    return ThroughputRun(model, runtime, batch, len(encoders), len(calls) * batch, elapsed, float(np.median(calls)))


def _encode(encoder: ImageEncoder, image: Image, batch: int) -> Callable[[], object]:
    if batch == 1:
        return lambda: encoder.encode(image)
    assert isinstance(encoder, BatchEncoder)
    images = [image] * batch
    return lambda: encoder.encode_batch(images)
