"""Adapting on one set and measuring on another: what is written, that it is true, and that it is gone on with."""

import json
import sys

import cv2
import numpy as np
import pytest
from livesam.benchmarks.quality import evaluation as quality
from livesam.benchmarks.quality import forgetting


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    for seed, name in enumerate(("novel", "source")):
        (root / name / "images").mkdir(parents=True)
        (root / name / "masks").mkdir()
        rng = np.random.default_rng(seed)
        for i in range(2):
            ids = np.zeros((64, 64), np.uint8)
            cv2.circle(ids, (20 + 20 * i, 30), 14, 1, -1)
            image = rng.integers(60, 90, (64, 64, 3), np.uint8)
            image[ids > 0] += np.uint8(120)
            cv2.imwrite(str(root / name / "images" / f"{i}.png"), image)
            cv2.imwrite(str(root / name / "masks" / f"{i}.png"), ids)
    return root


@pytest.fixture
def command(data, monkeypatch):
    """Runs the command and returns its exit status."""

    def run(out, *more):
        arguments = ["novel", "--on", "source", "--data", str(data), "--json", str(out), "--max-clicks", "5", *more]
        monkeypatch.setattr(sys, "argv", ["forgetting", *arguments])
        with pytest.raises(SystemExit) as ended:
            forgetting.main()
        return ended.value.code

    return run


def test_figures_are_those_of_the_adapted_decoder_and_a_second_call_measures_nothing(
    command, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "forgetting.json"
    assert command(out, "--method", "paper", "--limit", "2") == 0
    result = json.loads(out.read_text())
    row = result["adapted"]["novel"]
    assert row["base_is_back"] is True
    assert row["lost"]["1"] == pytest.approx(result["base"]["iou_at"]["1"] - row["iou_at"]["1"])
    assert row["iou_at"] != result["base"]["iou_at"]  # five clicks on two objects leave a trace
    assert row["lost"]["20"] is None  # not clicked so often
    assert "novel" in capsys.readouterr().out

    calls = []
    monkeypatch.setattr(forgetting, "evaluate", lambda *_: calls.append(1))
    assert command(out, "--method", "paper", "--limit", "2") == 0
    assert calls == []
    assert command(out, "--method", "paper", "--limit", "1") == 2
    assert "other settings" in capsys.readouterr().err
    assert json.loads(out.read_text()) == result


def test_a_run_that_was_stopped_goes_on_after_the_base(command, tmp_path, monkeypatch):
    out = tmp_path / "forgetting.json"
    calls = []

    def stopped(folders, predictor, settings):
        calls.append(folders[0].name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return quality.run(folders, predictor, settings)

    monkeypatch.setattr(forgetting, "evaluate", stopped)
    assert command(out, "--method", "frozen", "--limit", "1") != 0
    assert calls == ["source", "novel"]
    assert command(out, "--method", "frozen", "--limit", "1") == 0
    assert calls == ["source", "novel", "novel", "source"]
    row = json.loads(out.read_text())["adapted"]["novel"]
    assert row["lost"]["1"] == 0  # frozen learns nothing
