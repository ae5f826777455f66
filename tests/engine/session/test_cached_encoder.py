from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from livesam.engine.files.hashing import image_hash
from livesam.engine.runtimes.base import PreparedEncoder
from livesam.engine.session.cache import EmbeddingCache
from livesam.engine.session.cached_encoder import CachedEncoder
from livesam.engine.values.errors import SessionError


class Mean(PreparedEncoder):
    """The mean of the input as an embedding; counts how often it ran."""

    def __init__(self, identity: str = "mean") -> None:
        super().__init__(64, identity, "mean:cpu:fp32")
        self.runs = 0

    def _run(self, prepared: np.ndarray) -> np.ndarray:
        self.runs += 1
        return np.full((1, 256, 4, 4), prepared.mean(), np.float32)

    def _free(self) -> None:
        pass


def picture(value: int) -> np.ndarray:
    return np.full((20, 30, 3), value, np.uint8)


def test_an_image_is_encoded_once_and_found_in_memory_and_on_disk(tmp_path: Path) -> None:
    mean = Mean()
    encoder = CachedEncoder(mean, EmbeddingCache(2**20, tmp_path))
    first, again = encoder.encode(picture(7)), encoder.encode(picture(7))
    assert (first.found, again.found, mean.runs) == (False, True, 1)
    assert again.embedding is first.embedding
    assert first.digest == image_hash(picture(7))
    assert first.embedding.key == mean.key(first.digest)
    other = CachedEncoder(Mean(), EmbeddingCache(0, tmp_path))
    assert other.encode(picture(7)).found
    assert other.find(image_hash(picture(8))) is None
    foreign = CachedEncoder(Mean("other weights"), EmbeddingCache(0, tmp_path))
    assert not foreign.encode(picture(7)).found


def test_without_a_cache_and_for_windows_every_image_is_encoded() -> None:
    mean = Mean()
    encoder = CachedEncoder(mean)
    for _ in range(2):
        assert not encoder.encode(picture(7)).found
        encoder.window(picture(7))
    assert mean.runs == 4
    assert encoder.find(image_hash(picture(7))) is None


def test_what_is_no_image_is_refused_before_it_is_hashed() -> None:
    with pytest.raises(ValueError, match="RGB array"):
        CachedEncoder(Mean()).encode(picture(7)[..., 0])


def test_an_encoder_that_is_at_work_is_not_freed() -> None:
    begun, go, freed = threading.Event(), threading.Event(), threading.Event()

    class Slow(Mean):
        def _run(self, prepared: np.ndarray) -> np.ndarray:
            begun.set()
            assert go.wait(10)
            assert not freed.is_set()
            return super()._run(prepared)

        def _free(self) -> None:
            freed.set()

    encoder = CachedEncoder(Slow())
    with ThreadPoolExecutor(2) as pool:
        encoding = pool.submit(encoder.window, picture(7))
        assert begun.wait(10)
        closing = pool.submit(encoder.close)
        assert not freed.wait(0.05)
        go.set()
        assert encoding.result(10).original_hw == (20, 30)
        closing.result(10)
    assert freed.is_set()
    with pytest.raises(SessionError, match="closed"):
        encoder.window(picture(7))
