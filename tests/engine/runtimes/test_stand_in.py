"""A better encoder comes between two images, never within one."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from livesam.engine.runtimes.base import PreparedEncoder
from livesam.engine.runtimes.stand_in import StandIn
from livesam.engine.session.cache import EmbeddingCache
from livesam.engine.session.cached_encoder import CachedEncoder
from livesam.engine.values.errors import SessionError

IMAGE = np.zeros((20, 30, 3), np.uint8)


class Constant(PreparedEncoder):
    """Features are all ``value``; ``gate`` holds an encode back until it is set."""

    def __init__(self, value: float, runtime: str = "slow:cpu:fp32") -> None:
        super().__init__(64, "weights", runtime)
        self.value, self.freed, self.inside, self.gate = value, False, threading.Event(), threading.Event()
        self.gate.set()

    def _run(self, prepared):
        self.inside.set()
        assert self.gate.wait(30)
        assert not self.freed, "closed within an encode"
        return np.full((1, 256, 4, 4), self.value, np.float32)

    def _free(self) -> None:
        self.freed = True


def test_the_next_image_is_the_better_ones() -> None:
    slow, fast = Constant(1), Constant(2, "fast:cpu:fp32")
    encoder = StandIn(slow)
    assert encoder.encode(IMAGE).features.mean() == 1
    encoder.replace(fast)
    assert encoder.encode(IMAGE).features.mean() == 2
    assert (encoder.runtime, slow.freed, fast.freed) == ("fast:cpu:fp32", True, False)


def test_an_image_in_work_is_finished_by_who_began_it() -> None:
    slow, fast = Constant(1), Constant(2)
    encoder, found = StandIn(slow), []
    slow.gate.clear()
    encoding = threading.Thread(target=lambda: found.append(encoder.encode(IMAGE)))
    encoding.start()
    assert slow.inside.wait(30)
    replacing = threading.Thread(target=encoder.replace, args=(fast,))
    replacing.start()
    replacing.join(0.05)
    assert replacing.is_alive()
    slow.gate.set()
    encoding.join()
    replacing.join()
    assert found[0].features.mean() == 1
    assert encoder.encode(IMAGE).features.mean() == 2


def test_embeddings_carry_on() -> None:
    encoder = StandIn(Constant(1))
    cached = CachedEncoder(encoder, EmbeddingCache(1 << 20))
    first = cached.encode(IMAGE)
    encoder.replace(Constant(2, "fast:cpu:fp32"))
    again = cached.encode(IMAGE)
    assert again.found
    assert again.embedding is first.embedding
    encoder.replace(Constant(3, "fast:cpu:bf16"))  # of another precision, so encoded anew
    assert not cached.encode(IMAGE).found


def test_closed_is_closed() -> None:
    encoder, late = StandIn(Constant(1)), Constant(2)
    encoder.close()
    with pytest.raises(SessionError, match="closed"):
        encoder.replace(late)
    assert late.freed
    with pytest.raises(SessionError, match="closed"):
        encoder.encode(IMAGE)
