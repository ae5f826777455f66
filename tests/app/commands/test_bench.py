from __future__ import annotations

import json
from pathlib import Path

import pytest
from livesam.app.main import run


def test_latency_with_and_without_learning_and_peers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("matplotlib")
    file, budget = tmp_path / "latency.json", tmp_path / "budget.json"
    budget.write_text(json.dumps({"runs": [{"learning": "off", "p50_ms": 0.001}]}))
    arguments = ["bench", "latency", "--clicks", "3", "--think-ms", "0", "--json", str(file), "--budget", str(budget)]
    assert run([*arguments, "--learning", "both"]) == 1
    captured = capsys.readouterr()
    assert "p50_ms" in captured.err
    assert captured.err.count("\n") == 1
    assert "SamPredictor" in captured.out
    report = json.loads(file.read_text())
    assert [row["learning"] for row in report["runs"]] == ["off", "on"]
    promised = {"model", "runtime", "learning", "clicks", "p50_ms", "p95_ms", "p99_ms", "max_ms", "stages_ms"}
    for row in report["runs"]:
        assert promised <= set(row)
        assert row["model"] == "nano"
        assert {"wait", "decode", "postprocess"} <= set(row["stages_ms"])
    assert report["runs"][1]["learner"]["counts"]["received"] > 0
    assert report["runs"][1]["learner"]["counts"].get("errors", 0) == 0
    assert len(report["peers"]) == 2
    assert set(report["peer_ratios"]) == {row["peer"] for row in report["peers"]}
    assert report["environment"]["cores"] >= 1
    assert len(file.with_suffix(".jsonl").read_text().splitlines()) == 4 * 3
    assert file.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_swap(tmp_path: Path) -> None:
    file = tmp_path / "swap.json"
    assert run(["bench", "swap", "--swaps", "2", "--json", str(file)]) == 0
    (row,) = json.loads(file.read_text())["runs"]
    assert row["swaps"] == 2
    assert row["swap_ms"]["p50"] > 0
    assert row["exchange_ms"]["p50"] > 0
    assert row["stall_ms"] >= 0


def test_throughput(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "throughput.json"
    arguments = ["bench", "throughput", "--seconds", "0.1", "--batch", "1", "--workers", "2", "--json", str(file)]
    assert run([*arguments, "--random-weights"]) == 0
    report = json.loads(file.read_text())
    assert report["weights"] == "random"
    (row,) = report["runs"]
    assert row["workers"] == 2
    assert row["images_per_s"] > 0
    assert "images/s" in capsys.readouterr().out


def test_random_weights_or_a_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "swap", "--random-weights", "--checkpoint", str(tmp_path)]) == 2
    assert "--random-weights" in capsys.readouterr().err


def test_unknown_budget(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "latency", "--budget", str(tmp_path / "none.json")]) == 1
    assert "none.json" in capsys.readouterr().err
