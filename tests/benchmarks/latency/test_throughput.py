from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pytest
from livesam.benchmarks.latency.throughput import measure
from livesam.engine.values.embedding import ImageEmbedding

IMAGE = np.zeros((4, 4, 3), np.uint8)


class Encoder:
    runtime = "toy:cpu"

    def __init__(self) -> None:
        self.closed = False
        self.calls = 0

    def key(self, digest: str) -> str:
        return digest

    def encode(self, image: np.ndarray, digest: str | None = None) -> ImageEmbedding:
        assert not self.closed
        self.calls += 1
        time.sleep(0.005)
        return ImageEmbedding(np.zeros((1, 256, 1, 1), np.float32), (4, 4), (4, 4), "k")

    def close(self) -> None:
        self.closed = True


class Batched(Encoder):
    batch: int | None = 4

    def encode_batch(self, images: Sequence[np.ndarray]) -> Sequence[ImageEmbedding]:
        return [self.encode(images[0])] * len(images)


def test_workers_have_an_encoder_each_and_all_are_closed() -> None:
    made: list[Encoder] = []

    def make() -> Encoder:
        made.append(Encoder())
        return made[-1]

    run = measure(make, IMAGE, model="toy", workers=2, seconds=0.1)
    assert len(made) == 2
    assert all(encoder.closed and encoder.calls >= 2 for encoder in made)
    assert run.images == sum(encoder.calls - 1 for encoder in made)  # the first of each is warm-up
    assert run.to_json()["images_per_s"] == pytest.approx(run.images / run.seconds, abs=1e-3)


def test_batches_count_images_and_need_an_encoder_that_takes_them() -> None:
    run = measure(Batched, IMAGE, model="toy", batch=4, seconds=0.05)
    assert run.images % 4 == 0
    assert run.images >= 4
    for make, batch, most in ((Encoder, 4, 1), (Batched, 5, 4)):
        skipped = measure(make, IMAGE, model="toy", batch=batch, seconds=0.05)
        assert f"takes {most} image(s) a call" in str(skipped.to_json()["skipped"])


def test_a_failing_encoder_is_reported() -> None:
    class Broken(Encoder):
        def encode(self, image: np.ndarray, digest: str | None = None) -> ImageEmbedding:
            raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        measure(Broken, IMAGE, model="toy", workers=2, seconds=0.05)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="positive"):
        measure(Encoder, IMAGE, model="toy", batch=0)
