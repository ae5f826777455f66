from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from livesam.benchmarks.latency import LatencyRun, LatencySample, learning_ratios, peer_ratios, report, run_stream
from livesam.benchmarks.stream import click_stream


class Recorder:
    """Answers at once and remembers what it was asked."""

    model = "toy"
    runtime = "toy:cpu"

    def __init__(self) -> None:
        self.asked: list[tuple[str, float, float]] = []
        self.objects = 0

    def next_object(self) -> None:
        self.objects += 1

    def click(self, x: float, y: float, positive: bool) -> Mapping[str, float]:
        self.asked.append(("click", x, y))
        return {"decode": 2.0, "wait": 0.5}

    def hover(self, x: float, y: float) -> Mapping[str, float]:
        self.asked.append(("hover", x, y))
        return {"decode": 1.0}


def _run(latencies: list[float], learning: str = "off", peer: str | None = None) -> LatencyRun:
    samples = tuple(LatencySample(i, "click", ms, 0.0, {"decode": ms / 2}) for i, ms in enumerate(latencies))
    return LatencyRun("toy", "toy:cpu", learning, samples, peer)  # type: ignore[arg-type]


def test_every_event_is_sent_in_pixels_and_measured() -> None:
    target, events, waits = Recorder(), click_stream(40), []
    seen: list[tuple[int, int]] = []
    run = run_stream(
        target, events, (50, 100), warmup=3, sleep=waits.append, progress=lambda done, all_: seen.append((done, all_))
    )
    sent = target.asked[6:]  # three warm-up rounds of a click and a hover
    assert sent == [(event.kind, event.x * 100, event.y * 50) for event in events]
    assert len(run.samples) == 40
    assert [sample.kind for sample in run.samples] == [event.kind for event in events]
    assert waits  # it waited for the user, or it would be a load test
    assert max(waits) <= events[-1].due_s
    assert target.objects == 2 + sum(event.new_object for event in events)
    assert seen[-1] == (40, 40)


def test_summary_has_the_promised_keys_and_the_right_percentiles() -> None:
    run = _run([float(i) for i in range(1, 101)])
    summary = run.to_json()
    assert {"model", "runtime", "learning", "clicks", "p50_ms", "p95_ms", "p99_ms", "max_ms", "stages_ms"} <= set(
        summary
    )
    assert summary["clicks"] == 100
    assert summary["p50_ms"] == pytest.approx(np.percentile(np.arange(1, 101), 50))
    assert summary["p99_ms"] == pytest.approx(np.percentile(np.arange(1, 101), 99), abs=1e-3)
    assert summary["max_ms"] == 100
    assert summary["stages_ms"] == {"decode": pytest.approx(25.25)}
    raw = list(run.raw())
    assert len(raw) == 100
    json.dumps(raw, allow_nan=False)


def test_ratios() -> None:
    off, on, peer = _run([10.0, 10.0]), _run([11.0, 11.0], "on"), _run([40.0, 40.0], peer="sam")
    assert learning_ratios([off, on, peer]) == {"p50": 1.1, "p95": 1.1, "p99": 1.1}
    assert learning_ratios([off, peer]) is None
    assert peer_ratios([off, on, peer]) == {"sam": 4.0}
    content = report([off, on, peer], {"cpu": "x"}, {"clicks": 2})
    assert [run["learning"] for run in content["runs"]] == ["off", "on"]  # type: ignore[union-attr, attr-defined]
    assert [run["peer"] for run in content["peers"]] == ["sam"]  # type: ignore[union-attr, attr-defined]


def test_empty_stream() -> None:
    with pytest.raises(ValueError, match="empty"):
        run_stream(Recorder(), [], (10, 10))


def test_plot(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from livesam.benchmarks.latency_plot import plot_latency

    plot_latency([_run([1.0, 2.0, 3.0]), _run([5.0, 9.0], peer="sam")], tmp_path / "a.png", "toy")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
