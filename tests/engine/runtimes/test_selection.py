from __future__ import annotations

import importlib
import importlib.util
from importlib import metadata
from typing import Any

import pytest
from livesam.engine.runtimes import selection as runtimes
from livesam.engine.values.errors import RuntimeUnavailable


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes, "gpu_refusal", lambda: "no NVIDIA driver is installed")


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    real = importlib.util.find_spec

    def find(name: str, package: str | None = None) -> Any:
        return None if name in names else real(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find)


@pytest.mark.usefixtures("no_gpu")
def test_auto_takes_the_fastest_and_explains_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    choice = runtimes.select("encoder")
    assert (choice.name, choice.device, choice.precision) == ("openvino", "cpu", "fp32")
    assert set(choice.reasons) == set(runtimes.RUNTIMES)
    assert "taken" in choice.reasons["openvino"]
    assert "slower than openvino" in choice.reasons["torch"]
    without(monkeypatch, "openvino")
    choice = runtimes.select("encoder")
    assert choice.name == "onnxruntime"
    assert "pip install 'livesam[cpu]'" in choice.reasons["openvino"]
    without(monkeypatch, "openvino", "onnxruntime")
    assert runtimes.select("encoder").name == runtimes.select("decoder").name == "torch"


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize(
    "wish",
    [
        {"requested": "tensorrt"},
        {"requested": "tensorrt_rtx"},
        {"requested": "torch", "device": "cuda"},
        {"device": "cuda:1"},
        {"requested": "onnxruntime", "device": "cuda"},
    ],
)
def test_a_gpu_that_is_asked_for_is_never_replaced(wish: dict[str, str]) -> None:
    with pytest.raises(RuntimeUnavailable, match=r"no NVIDIA driver|not installed"):
        runtimes.select("encoder", **wish)


@pytest.mark.usefixtures("no_gpu")
def test_a_precision_that_the_processor_lacks_is_refused() -> None:
    for name in ("torch", "onnxruntime"):
        with pytest.raises(RuntimeUnavailable, match="fp32 only, not in bf16"):
            runtimes.select("encoder", name, device="cpu", precision="bf16")


@pytest.mark.usefixtures("no_gpu")
def test_int8_is_of_encoders_on_openvino() -> None:
    encoder = runtimes.select("encoder", precision="int8")
    assert (encoder.name, encoder.precision, encoder.device) == ("openvino", "int8", "cpu")
    assert runtimes.select("decoder", precision="int8").precision == "fp32"
    with pytest.raises(RuntimeUnavailable, match="fp32 only, not in int8"):
        runtimes.select("encoder", "torch", precision="int8")
    with pytest.raises(RuntimeUnavailable, match="int8 is for CPUs"):
        runtimes.select("encoder", "torch", device="cuda", precision="int8")


def test_unknown_wishes_are_answered_with_the_known_ones() -> None:
    for wish, allowed in (
        ({"kind": "x"}, "encoder or decoder"),
        ({"requested": "x"}, "auto, tensorrt, openvino, onnxruntime, torch"),
        ({"device": "tpu"}, "cpu, cuda"),
        ({"precision": "int4"}, "fp32, fp16, bf16, int8"),
    ):
        with pytest.raises(ValueError, match=allowed):
            runtimes.select(**wish)


def test_the_report_has_a_reason_for_every_runtime() -> None:
    rows = {row.name: row for row in runtimes.report()}
    assert list(rows) == list(runtimes.RUNTIMES)
    assert rows["torch"].available
    assert metadata.version("torch") in rows["torch"].reason
    assert all(row.reason for row in rows.values())


def test_both_onnxruntimes_are_warned_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda name: "1.0")
    (warning,) = runtimes.warnings()
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in warning


@pytest.mark.parametrize("device", ["cpu:7", "cuda:foo", "cuda:", "cuda:-1", "cuda:2"])
def test_devices_are_checked_to_the_end(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    monkeypatch.setattr(runtimes, "gpu_count", lambda: 2)
    with pytest.raises(ValueError, match="choose cpu, cuda"):
        runtimes.select(device=device)


@pytest.mark.usefixtures("no_gpu")
def test_a_broken_package_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def load(name: str, package: str | None = None) -> Any:
        if name == "openvino":
            raise OSError("libopenvino.so: cannot open")
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", load)
    choice = runtimes.select("encoder")
    assert choice.name == "onnxruntime"
    assert "cannot be imported (OSError: libopenvino.so" in choice.reasons["openvino"]
    row = next(row for row in runtimes.report() if row.name == "openvino")
    assert not row.available
    with pytest.raises(RuntimeUnavailable, match="cannot be imported"):
        runtimes.select("encoder", "openvino")
