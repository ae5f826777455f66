"""What was prepared is known, as long as it is true."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from livesam.engine.runtimes.selection import Choice
from livesam.export.preparing import record
from livesam.export.preparing.record import Prepared, every, find, installed, is_prepared, stand_in_for

ENCODER, DECODER = Choice("openvino", "fp32", "cpu"), Choice("onnxruntime", "fp32", "cpu")


@pytest.fixture
def made() -> Prepared:
    return Prepared("vit_b", 1024, "openvino:cpu:fp32", "onnxruntime:cpu:fp32", 1e-6, 49.0, 3700, installed(), (), "")


def test_a_record_is_found_by_what_runs(tmp_path: Path, made: Prepared) -> None:
    folder = tmp_path / "graphs" / "vit_b-1024"
    assert find(folder, ENCODER, DECODER) is None
    assert list(every(tmp_path)) == []
    made.write(folder, ENCODER, DECODER)
    assert find(folder, ENCODER, DECODER) == made
    assert list(every(tmp_path)) == [made]
    assert is_prepared(folder, ENCODER, DECODER)
    assert not is_prepared(folder, DECODER, DECODER)
    assert not is_prepared(folder, Choice("openvino", "bf16", "cpu"), DECODER)


def test_another_version_of_a_runtime_is_checked_anew(tmp_path: Path, made: Prepared) -> None:
    folder = tmp_path / "graphs" / "vit_b-1024"
    replace(made, versions={**made.versions, "openvino": "1"}).write(folder, ENCODER, DECODER)
    assert find(folder, ENCODER, DECODER) is None
    assert list(every(tmp_path)) == []


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"model": 1, "colour": 2}'])
def test_a_damaged_record_is_none(tmp_path: Path, made: Prepared, text: str) -> None:
    made.write(tmp_path, ENCODER, DECODER)
    (path,) = (tmp_path / record.FOLDER).glob("*.json")
    path.write_text(text)
    assert find(tmp_path, ENCODER, DECODER) is None


def test_pytorch_needs_no_preparation(tmp_path: Path) -> None:
    torch = Choice("torch", "fp32", "cpu")
    assert is_prepared(tmp_path, torch, torch)


def test_pytorch_stands_in_where_the_engine_will_run_if_it_can() -> None:
    assert (stand_in_for(ENCODER).name, stand_in_for(ENCODER).device) == ("torch", "cpu")
    low = stand_in_for(Choice("openvino", "bf16", "cpu"))  # which PyTorch does not do on a CPU
    assert (low.name, low.device, low.precision) == ("torch", "cpu", "fp32")


def test_a_record_whose_file_is_gone_is_none(tmp_path: Path, made: Prepared) -> None:
    folder = tmp_path / "graphs" / "vit_b-1024"
    made = replace(made, files=("graphs/vit_b-1024/encoder.onnx", "plans/encoder.plan"))
    made.write(folder, ENCODER, DECODER)
    for name in made.files:
        assert find(folder, ENCODER, DECODER) is None
        assert list(every(tmp_path)) == []
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert find(folder, ENCODER, DECODER) == made
    assert list(every(tmp_path)) == [made]


def test_another_gpu_or_driver_is_checked_anew(tmp_path: Path, made: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, on_gpu = tmp_path / "graphs" / "vit_b-1024", Choice("tensorrt", "bf16", "cuda:1")
    gpus = ["A, driver 1", "B, driver 1"]
    monkeypatch.setattr(record, "gpu_name", gpus.__getitem__)
    monkeypatch.setattr(record, "gpu_count", lambda: len(gpus))
    replace(made, gpu=record.gpu_of(on_gpu, on_gpu)).write(folder, on_gpu, on_gpu)
    assert find(folder, on_gpu, on_gpu) is not None
    assert [found.gpu for found in every(tmp_path)] == ["B, driver 1"]
    gpus[1] = "B, driver 2"
    assert find(folder, on_gpu, on_gpu) is None
    assert list(every(tmp_path)) == []
