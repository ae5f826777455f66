from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from livesam.benchmarks.peers import __main__ as command
from livesam.benchmarks.peers import contestants
from livesam.benchmarks.peers.comparison import REFERENCE, Comparison, Run, Sample, interleaved, lines
from PIL import Image


def test_cpu_time_is_that_of_the_process_that_works() -> None:
    busy = "import time\nwhile time.process_time() < 0.3: pass"
    found = interleaved({"child": lambda: subprocess.run([sys.executable, "-c", busy], check=True)}, 1)
    assert found["child"].cpu_ms[0] >= 300


def test_rounds_are_interleaved_after_a_warm_up() -> None:
    calls: list[str] = []
    found = interleaved({name: lambda name=name: calls.append(name) for name in "ab"}, 2)  # type: ignore[misc]
    assert "".join(calls) == "ababab"
    assert [len(sample.wall_ms) for sample in found.values()] == [2, 2]


def test_ratios_and_targets_are_of_our_best_and_never_of_the_reference() -> None:
    samples = {REFERENCE: Sample((9.0, 10.0, 80.0), (20.0, 18.0, 30.0)), "x": Sample((40.0, 50.0), (6.0, 9.0))}
    slow = Comparison("it", samples, {REFERENCE: 1.0, "ms": 30.0})
    assert slow.ratio(REFERENCE) == pytest.approx(10 / 45)
    assert slow.ratio(REFERENCE, "cpu") == pytest.approx(3.0)
    assert slow.met() == {f"at least 1x over {REFERENCE}": False, "at most 30 ms": False}
    assert slow.ratio("absent") is None
    fast = Comparison("it", {**samples, "y": Sample((2.0,), (1.0,))}, {REFERENCE: 5.0, "ms": 30.0})
    assert all(fast.met().values())
    content = json.loads(json.dumps(fast.to_json()))
    assert content["ratios"][REFERENCE]["wall"] == pytest.approx(5.0)


def test_the_note_is_printed_and_says_who_lacks_which_precision() -> None:
    note = f"reference: theirs; {contestants.precisions(('fp32',))}"
    shown = lines([Comparison("encoder", {REFERENCE: Sample((1.0,), (1.0,))}, {}, note)])
    assert shown[0] == "encoder"
    assert "openvino here in fp32, this processor has no bf16 and no fp16" in shown[1]
    assert "no bf16" not in contestants.precisions(("fp32", "bf16"))


@pytest.mark.slow
def test_the_cold_starts_reference_does_the_same_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Started once; `livesam segment` itself has its own tests."""
    started: dict[str, Run] = {}
    monkeypatch.setattr(contestants, "interleaved", lambda runs, _: started.update(runs) or {})
    assert "process of its own" in contestants.cold_start(tmp_path, None, 1).note
    assert list(started) == [REFERENCE, "livesam segment"]
    started[REFERENCE]()
    mask = np.asarray(Image.open(tmp_path / "peer.png"))
    assert mask.shape == (384, 512)
    assert set(np.unique(mask)) <= {0, 255}


def test_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--rounds", "0"], ["--only", "nonsense"]):
        with pytest.raises(SystemExit) as caught:
            command.main(words)
        assert caught.value.code == 2
    assert "nonsense" in capsys.readouterr().err
