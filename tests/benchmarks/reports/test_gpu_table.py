from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from livesam.benchmarks.reports.gpu_table import gpu_table, main


def _time(p50: float) -> dict[str, float]:
    return {"p50_ms": p50, "p95_ms": 2 * p50, "p99_ms": 3 * p50, "first_ms": 40.0}


REPORT: dict[str, Any] = {
    "device": {"device": "cuda", "name": "NVIDIA H100", "torch": "2.11"},
    "seconds": 99.0,
    "quick": False,
    "not_run": {"other": "it is not here"},
    "sections": {
        "nano/encode": {"12_mpx": _time(2.0), "1_mpx": _time(1.0)},
        "nano/click": _time(0.5),
        "nano/prompts": {"rows": [{"prompts": 1, **_time(0.5)}, {"prompts": 64, **_time(8.0)}]},
        "nano/peer/eager": {
            "set_image_12_mpx": _time(30.0),
            "prompts": [{"prompts": 1, **_time(5.0)}, {"prompts": 64, **_time(80.0)}],
            "network": [{"batch": 1, "images_per_s": 150.0}],
        },
        "nano/peer/compiled": {"skipped": "3 of 120 s were left"},
        "nano/swap": {"published": False, "refused": "on the probe ious is off"},
        "nano/learning": {"ratios": {"p50": 1.0, "p99": 1.25}, "learner": {"counts": {"steps": 7}}},
        "vit_h/encode_only": {**_time(18.0), "eager_network": _time(36.0)},
    },
}


def test_each_time_stands_beside_the_peers() -> None:
    lines = gpu_table(REPORT).splitlines()
    assert lines[0] == "NVIDIA H100, PyTorch 2.11, 99 s"
    assert "| nano | encode 12 Mpx | 2.00 | 4.00 | 6.00 | 40.00 | 30.00 (15.0x) | - |" in lines
    assert "| nano | encode 1 Mpx | 1.00 | 2.00 | 3.00 | 40.00 | - | - |" in lines
    assert "| nano | click | 0.50 | 1.00 | 1.50 | 40.00 | 5.00 (10.0x) | - |" in lines
    assert "| nano | 64 prompts | 8.00 | 16.00 | 24.00 | 40.00 | 80.00 (10.0x) | - |" in lines
    assert "| vit_h | encode 1 Mpx | 18.00 | 36.00 | 54.00 | 40.00 | 36.00 (2.0x) | - |" in lines


def test_what_did_not_run_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "report.json").write_text(json.dumps(REPORT))
    main([str(tmp_path / "report.json")])
    lines = capsys.readouterr().out.splitlines()
    assert "| nano | swap | refused: on the probe ious is off |" in lines
    assert "| nano | learner meanwhile | 7 steps, 0 published, 0 publish failed |" in lines
    assert "- nano/peer/compiled: skipped: 3 of 120 s were left" in lines
    assert "- other: not run: it is not here" in lines


def test_quick_figures_are_not_passed_off_as_any() -> None:
    assert "no figures" in gpu_table(REPORT | {"quick": True}).splitlines()[0]
