from __future__ import annotations

import json
from pathlib import Path

import pytest
from livesam.benchmarks.latency.budget import Budget

RUN = {
    "model": "nano",
    "runtime": "ov",
    "learning": "off",
    "p50_ms": 12.0,
    "p95_ms": 14.0,
    "p99_ms": 20.0,
    "max_ms": 30.0,
}
REPORT = {
    "runs": [RUN, {**RUN, "learning": "on", "p50_ms": 14.0}],
    "learning_ratios": {"p50": 1.17, "p95": 1.0, "p99": 1.0},
}


def _budget(tmp_path: Path, content: object) -> Budget:
    (tmp_path / "b.json").write_text(json.dumps(content))
    return Budget.read(tmp_path / "b.json")


def test_kept(tmp_path: Path) -> None:
    budget = _budget(
        tmp_path, {"runs": [{"model": "nano", "p50_ms": 15, "p99_ms": 20.0}], "learning_ratios": {"p99": 1.5}}
    )
    assert budget.violations(REPORT) == []


def test_exceeded(tmp_path: Path) -> None:
    budget = _budget(
        tmp_path,
        {"runs": [{"learning": "on", "p50_ms": 13}, {"model": "vit_b", "p50_ms": 1}], "learning_ratios": {"p50": 1.15}},
    )
    first, second = budget.violations(REPORT)
    assert "learning on: p50_ms is 14, at most 13" in first
    assert "p50 ratio is 1.17, at most 1.15" in second


def test_ratios_are_not_judged_when_only_one_mode_ran(tmp_path: Path) -> None:
    budget = _budget(tmp_path, {"learning_ratios": {"p50": 1.0}})
    assert budget.violations({"runs": [RUN], "learning_ratios": None}) == []


@pytest.mark.parametrize(
    "content",
    [
        [],
        {"limits": []},
        {"runs": {}},
        {"runs": [{"p51_ms": 3}]},
        {"runs": [{"p50_ms": "fast"}]},
        {"runs": [{"p50_ms": -1}]},
        {"runs": [{"p50_ms": True}]},
        {"learning_ratios": {"p50": 0}},
        {"learning_ratios": {"p42": 1}},
    ],
)
def test_malformed(tmp_path: Path, content: object) -> None:
    with pytest.raises(ValueError, match="budget file"):
        _budget(tmp_path, content)


def test_not_json(tmp_path: Path) -> None:
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(ValueError, match="not JSON"):
        Budget.read(tmp_path / "b.json")


def test_shipped_budgets_are_valid() -> None:
    folder = Path(__file__).resolve().parents[3] / "benchmarks" / "results"
    budgets = sorted(folder.glob("budget*.json"))
    assert budgets
    for path in budgets:
        assert Budget.read(path).rows
