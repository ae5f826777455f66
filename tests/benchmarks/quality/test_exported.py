"""Exported decoders in the official predictor: the same answers as ours without a look, and figures that add up."""

import json
import sys

import cv2
import numpy as np
import pytest
from livesam.adapter.registry import create
from livesam.benchmarks.quality import exported
from livesam.benchmarks.quality.datasets import objects
from livesam.benchmarks.quality.official import OfficialOnnxPredictor, OfficialPredictor
from livesam.benchmarks.quality.predictors import MethodPredictor
from livesam.benchmarks.quality.settings import Settings
from livesam.benchmarks.quality.side_by_side import evaluated
from livesam.engine.models.loading import decoder_weights, load
from livesam.engine.runtimes.torch_encoder import TorchEncoder
from livesam.export.decoder_export import export_decoder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "discs"
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    rng = np.random.default_rng(3)
    for i in range(3):
        ids = np.zeros((72, 96), np.uint8)
        cv2.circle(ids, (30 + 15 * i, 35), 14, 1, -1)
        image = rng.integers(60, 140, (72, 96, 3), np.uint8)
        image[ids > 0] += np.uint8(40)
        cv2.imwrite(str(folder / "images" / f"{i}.png"), image)
        cv2.imwrite(str(folder / "masks" / f"{i}.png"), ids)
    return folder.parent


def test_the_official_predictors_give_the_traces_of_our_plain_look(data, tmp_path):
    """Another decoder than the bundled one, so that nothing can be read from the wrong place."""
    sam = load("nano")
    weights = {name: value * np.float32(1.01) for name, value in decoder_weights(sam).items()}
    export_decoder("nano", format="sam-pth", out=tmp_path / "a.pth", weights=weights)
    export_decoder("nano", format="sam-onnx", out=tmp_path / "a.onnx", weights=weights)
    ours = load("nano", tmp_path / "a.pth")
    found, settings = objects(data / "discs", limit=2), Settings("frozen", "nano", max_clicks=4, target_iou=1.0)

    def traces(predictor):
        return [record.ious for record in evaluated(found, predictor, settings)]

    plain = MethodPredictor(create("frozen", ours), TorchEncoder(ours))
    plain.begin_set("discs", 0)
    expected = traces(plain)
    assert any(len(set(ious)) > 1 for ious in expected)  # clicks change something
    for predictor in (OfficialPredictor(ours), OfficialOnnxPredictor(sam, tmp_path / "a.onnx")):
        for got, want in zip(traces(predictor), expected, strict=True):
            assert got == pytest.approx(want, abs=0.01)


def test_the_command_writes_base_and_adapted_and_measures_nothing_twice(data, tmp_path, monkeypatch, capsys):
    out = tmp_path / "exported.json"

    def command(*more):
        arguments = ["discs", "--data", str(data), "--learn", "2", "--max-clicks", "10", "--json", str(out), *more]
        monkeypatch.setattr(sys, "argv", ["exported", *arguments])
        with pytest.raises(SystemExit) as ended:
            exported.main()
        return ended.value.code

    assert command() == 0
    figures = json.loads(out.read_text())["sets"]["discs"]
    assert set(figures) == {"base", "pth", "onnx"}
    assert figures["base"]["objects"] == 1
    assert figures["pth"]["noc"] == figures["onnx"]["noc"]
    assert "| pth |" in capsys.readouterr().out
    monkeypatch.setattr(exported, "adapted", None)  # would fail if it were called
    assert command() == 0
    assert command("--learn", "1") == 2


def test_a_set_without_further_objects_is_refused(data, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["exported", "discs", "--data", str(data), "--learn", "3"])
    with pytest.raises(SystemExit) as ended:
        exported.main()
    assert ended.value.code == 2
