from __future__ import annotations

import json

import pytest
from livesam.app.main import run

NAMES = ["torch", "onnxruntime", "openvino", "tensorrt"]


def test_doctor_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    rows = {row["name"]: row for row in found["runtimes"]}
    assert set(NAMES) <= set(rows)
    for row in rows.values():
        assert set(row) == {"name", "available", "reason"}
        assert isinstance(row["available"], bool)
        assert row["reason"]
    assert rows["torch"]["available"] is True
    for kind in ("encoder", "decoder"):
        assert rows[found["selected"][kind]]["available"] is True


def test_doctor_table_names_every_runtime(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor"]) == 0
    out = capsys.readouterr().out
    for name in NAMES:
        assert name in out


def test_two_onnxruntimes_are_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import metadata

    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "1.2.3" if name.startswith("onnxruntime") else real(name))
    assert run(["doctor", "--json"]) == 0
    warnings = json.loads(capsys.readouterr().out)["warnings"]
    assert any("onnxruntime-gpu" in line and "pip uninstall" in line for line in warnings)
