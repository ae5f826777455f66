"""The soak's arithmetic; the soak itself, for a moment, and slow."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from livesam.benchmarks.soak.process import held_by
from livesam.benchmarks.soak.soak import Leg, memory_growth, summary


def leg(memory: list[float], rests: list[dict[str, float]], **more: object) -> Leg:
    samples = [{"warm": False, "memory_mib": one, "ms": [1.0, 2.0, 30.0]} for one in memory]
    samples.insert(0, {"warm": True, "memory_mib": 1.0, "ms": [900.0]})
    found = Leg(seconds=60.0, clicks=9, rests=rests, samples=samples)
    for name, value in more.items():
        setattr(found, name, value)
    return found


def test_memory_is_compared_after_the_warm_up() -> None:
    assert memory_growth(leg([100, 100, 100, 103, 104, 104], [])) == 0.04
    assert memory_growth(leg([100, 110], [])) is None
    flat = leg([100, 100, 100], [{"descriptors": 20, "threads": 9}, {"descriptors": 21, "threads": 9}])
    grown = leg([100, 100, 106], [], errors=["clicker 3: it broke"])
    found = summary([flat, grown])
    assert (found["minutes"], found["clicks"], found["p50_ms"], found["flat"]) == (2.0, 18, 2.0, False)
    assert found["left"] == [{"descriptors": 1, "threads": 0}]
    assert found["errors"] == ["clicker 3: it broke"]


def test_what_a_process_holds(tmp_path: Path) -> None:
    before = held_by(os.getpid())
    with (tmp_path / "a").open("w"):
        assert held_by(os.getpid()).descriptors == before.descriptors + 1
    assert before.memory_mib > 10
    assert before.threads >= 1


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_minute_and_a_half_and_it_goes_on_where_it_was(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import subprocess
    import sys

    out = tmp_path / "soak.json"
    command = [sys.executable, "-m", "livesam.benchmarks.soak", "--runtime", "torch", "--out", str(out)]
    for minutes in ("0.5", "1"):
        subprocess.run([*command, "--minutes", minutes], check=False, timeout=280)
    found = json.loads(out.read_text())
    assert len(found["legs"]) == 2
    assert found["summary"]["minutes"] >= 1
    assert found["summary"]["errors"] == []
    assert found["summary"]["accepted"] > 0
    assert all(one["descriptors"] <= 0 for one in found["summary"]["left"])
