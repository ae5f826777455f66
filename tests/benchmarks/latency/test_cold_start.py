from __future__ import annotations

import pytest
from livesam.benchmarks.latency.cold_start import main, verdict


def row(open_s: float, encode_s: float, click_s: float) -> dict[str, float]:
    wall = {"import_s": 3.0, "open_s": open_s, "encode_s": encode_s, "click_s": click_s}
    return wall | {name.replace("_s", "_cpu_s"): value * 2 for name, value in wall.items()}


def test_the_verdict_takes_the_fastest_of_each() -> None:
    peers = [row(1, 9, 1), row(1, 5, 1)]
    ours = [row(0.5, 5, 0.25), row(0.25, 8, 0.25)]
    found = verdict(peers, ours)
    assert found["beyond_s"] == 0.75
    assert found["beyond_own_s"] == 0.5
    assert found["beyond_with_imports_s"] == 3.75
    assert found["beyond_cpu_s"] == 1.5


def test_wrong_numbers_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--rounds", "0"])
    assert "at least 1" in capsys.readouterr().err
