from __future__ import annotations

import random
import threading
import time

import pytest
from livesam.engine.serving.occupancy import Occupancy


def test_counts_and_waits_until_the_last_one_has_left() -> None:
    some = Occupancy()
    assert not some
    assert some.wait_empty(0)
    some.enter()
    some.enter()
    assert some
    assert not some.wait_empty(0)
    assert not some.wait_empty(0.01)
    waited: list[bool] = []
    threads = [threading.Thread(target=lambda: waited.append(some.wait_empty(10))) for _ in range(3)]
    for thread in threads:
        thread.start()
    some.leave()
    time.sleep(0.02)
    assert waited == []
    some.leave()
    for thread in threads:
        thread.join(10)
    assert waited == [True] * 3
    assert some.wait_empty()


@pytest.mark.parametrize("pause_s", [0.0, 1e-4])
def test_nobody_who_waits_is_forgotten(pause_s: float) -> None:
    some, stop = Occupancy(), threading.Event()

    def come_and_go(seed: int) -> None:
        rng = random.Random(seed)
        while not stop.is_set():
            some.enter()
            time.sleep(pause_s * rng.random())
            some.leave()
            time.sleep(2e-3 * rng.random())

    visitors = [threading.Thread(target=come_and_go, args=(seed,)) for seed in range(2)]
    for thread in visitors:
        thread.start()
    try:
        assert all(some.wait_empty(10) for _ in range(300))
    finally:
        stop.set()
        for thread in visitors:
            thread.join(10)
    assert not some
