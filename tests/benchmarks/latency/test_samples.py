from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from livesam.benchmarks.latency.samples import LatencyRun, LatencySample, learning_ratios, peer_ratios, report


def _run(latencies: list[float], learning: str = "off", peer: str | None = None) -> LatencyRun:
    samples = tuple(LatencySample(i, "click", ms, 0.0, {"decode": ms / 2}) for i, ms in enumerate(latencies))
    return LatencyRun("toy", "toy:cpu", learning, samples, peer)  # type: ignore[arg-type]


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


def test_plot(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from livesam.benchmarks.reports.latency_plot import plot_latency

    plot_latency([_run([1.0, 2.0, 3.0]), _run([5.0, 9.0], peer="sam")], tmp_path / "a.png", "toy")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
