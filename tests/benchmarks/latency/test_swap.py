from __future__ import annotations

import threading
import time
from collections.abc import Mapping

import numpy as np
import pytest
from livesam.benchmarks.latency.swap import perturbed, run_swaps, spread

WEIGHTS = {"a": np.linspace(-1, 1, 60, dtype=np.float32).reshape(6, 10), "b": np.zeros(4, np.float32)}


def test_swaps_are_timed_and_clicks_divided() -> None:
    published: list[float] = []
    swapping = threading.Event()

    def publish(weights: Mapping[str, np.ndarray]) -> int:
        swapping.set()
        time.sleep(0.02)
        swapping.clear()
        published.append(float(weights["a"][0, 0]))
        return len(published)

    def click() -> Mapping[str, float]:
        waits = swapping.is_set()
        time.sleep(0.002)
        return {"wait": 1.5 if waits else 0.0}

    variants = [perturbed(WEIGHTS, seed=seed) for seed in (0, 1)]
    run = run_swaps(click, publish, variants, model="toy", runtime="toy:cpu", swaps=6, gap_s=0.01)
    assert len(published) == 7  # the first is told apart
    assert published[1] == published[3] != published[2]
    assert run.first_ms >= 19
    assert run.swap_ms.size == 6
    assert (run.swap_ms >= 19).all()
    assert run.during
    assert run.apart
    assert all(click.wait_ms == 0 for click in run.apart)
    summary = run.to_json()
    assert summary["stall_ms"] == 1.5
    assert summary["waits_over_2_ms"] == 0
    assert summary["swaps"] == 6


def test_a_failing_click_is_reported() -> None:
    calls = 0

    def click() -> Mapping[str, float]:
        nonlocal calls
        calls += 1
        if calls > 6:
            raise RuntimeError("the click was dropped")
        return {}

    with pytest.raises(RuntimeError, match="dropped"):
        run_swaps(click, lambda _: 1, [WEIGHTS, WEIGHTS], model="t", runtime="t", swaps=3, gap_s=0.01)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="two sets"):
        run_swaps(dict, lambda _: 1, [WEIGHTS], model="t", runtime="t")


def test_perturbed_weights_differ_a_little_everywhere() -> None:
    other = perturbed(WEIGHTS, share=1e-2)
    for name, value in WEIGHTS.items():
        assert other[name].dtype == np.float32
        assert other[name].shape == value.shape
        assert (other[name] != value).any()
        assert np.abs(other[name] - value).max() < 0.1
    part = perturbed(WEIGHTS, parts=("b",))
    np.testing.assert_array_equal(part["a"], WEIGHTS["a"])
    assert part["a"] is not WEIGHTS["a"]
    assert (part["b"] != WEIGHTS["b"]).any()


def test_spread() -> None:
    assert spread([]) == {}
    assert spread([1.0, 2.0, 3.0])["p50"] == 2.0
