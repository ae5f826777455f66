"""``livesam prepare``, and what the other commands say of it. No engine is built here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from livesam.app.main import run
from livesam.engine.runtimes.selection import Choice
from livesam.engine.values.errors import ParityError
from livesam.export.graphs import memory
from livesam.export.opening import Opening
from livesam.export.preparing import prepare as prepare_module
from livesam.export.preparing.record import Prepared, installed


def _prepared(model: str, size: int) -> Prepared:
    return Prepared(model, size, "openvino:cpu:fp32", "onnxruntime:cpu:fp32", 1e-6, 9, 1024, installed(), (), "")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Opening]:
    found: list[Opening] = []

    def fake(opening: Opening, progress, *, photos: Path | None = None) -> Prepared:
        found.append(opening)
        assert photos is None or opening.precision == "int8"
        progress("exporting the encoder")
        if opening.runtime == "onnxruntime":
            raise ParityError("embedding differs")
        return _prepared(opening.model, 512)

    monkeypatch.setattr(prepare_module, "prepare", fake)
    return found


def test_stages_have_their_seconds(made: list[Opening], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["prepare", "nano", "--size", "512"]) == 0
    out, err = capsys.readouterr()
    assert err.endswith(" s  exporting the encoder\n")
    assert out.startswith("nano at 512 px: encoder openvino:cpu:fp32, 1e-06 of its range off PyTorch, decoder onnx")
    assert "built in 9 s with 1.0 GiB" in out
    assert (made[0].model, made[0].size, made[0].runtime) == ("nano", 512, "auto")


def test_photos_calibrate_int8_and_nothing_else(
    made: list[Opening], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["prepare", "nano", "--photos", str(tmp_path)]) == 2
    assert "give --precision int8 too" in capsys.readouterr().err
    assert made == []
    assert run(["prepare", "nano", "--precision", "int8", "--photos", str(tmp_path)]) == 0
    assert made[0].precision == "int8"


def test_a_failure_is_one_sentence(made: list[Opening], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["prepare", "nano", "--runtime", "onnxruntime"]) == 1
    assert capsys.readouterr().err.endswith("livesam: embedding differs\n")


def test_what_does_not_fit_is_said_before_it_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIVESAM_CACHE", str(tmp_path))
    monkeypatch.setattr(memory, "free_mib", lambda: 100)
    assert run(["prepare", "nano"]) == 1
    assert "GiB of memory, 0.1 GiB are free" in capsys.readouterr().err


def test_doctor_tells_what_is_prepared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIVESAM_CACHE", str(tmp_path))
    assert run(["doctor"]) == 0
    assert "no engine yet" in capsys.readouterr().out
    one = _prepared("vit_b", 1024)
    choices = Choice("openvino", "fp32", "cpu"), Choice("onnxruntime", "fp32", "cpu")
    one.write(tmp_path / "graphs" / "vit_b", *choices)
    assert run(["doctor", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["prepared"]
    assert (found["model"], found["peak_mib"]) == ("vit_b", 1024)
