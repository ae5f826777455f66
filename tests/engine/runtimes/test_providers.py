"""What ONNX Runtime is told about GPUs, with a module in its place that writes it down: no GPU is needed, none runs."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from livesam.engine.runtimes import selection as runtimes
from livesam.engine.runtimes.onnxruntime import OrtDecoder, OrtEncoder, OrtGraph
from livesam.engine.values.errors import RuntimeUnavailable

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"


class FakeOnnxRuntime(types.ModuleType):
    """``onnxruntime-gpu`` as far as sessions are opened; ``starts`` are the providers that it really starts."""

    def __init__(self) -> None:
        super().__init__("onnxruntime")
        self.available = [TENSORRT, CUDA, CPU]
        self.starts = [TENSORRT, CUDA, CPU]
        self.started_on: str | None = None
        self.asked: list[Any] = []
        self.threads: list[int] = []
        fake = self

        class SessionOptions:
            intra_op_num_threads = -1
            log_severity_level = 2

            def add_session_config_entry(self, key: str, value: str) -> None:
                assert (key, value) in {
                    ("session.intra_op.allow_spinning", "1"),
                    ("session.intra_op.spin_duration_us", "20"),  # who spins may keep who has work off its core
                    ("session.force_spinning_stop", "1"),  # never beyond a run: the learner needs the cores
                }

        class InferenceSession:
            def __init__(self, path: str, options: SessionOptions, providers: list[Any]) -> None:
                fake.asked = providers
                fake.threads.append(options.intra_op_num_threads)
                self._placed = dict(entry for entry in providers if isinstance(entry, tuple))

            def get_providers(self) -> list[str]:
                return [name for name in [*self._placed, CPU] if name in fake.starts]

            def get_provider_options(self) -> dict[str, dict[str, str]]:
                return {
                    name: {**options, "device_id": fake.started_on or options["device_id"]}
                    for name, options in self._placed.items()
                    if name in fake.starts
                }

        self.SessionOptions, self.InferenceSession = SessionOptions, InferenceSession

    def get_available_providers(self) -> list[str]:
        return self.available


@pytest.fixture
def ort(monkeypatch: pytest.MonkeyPatch) -> FakeOnnxRuntime:
    fake = FakeOnnxRuntime()
    monkeypatch.setitem(sys.modules, "onnxruntime", fake)
    return fake


def graph(folder: Path, precision: str = "fp32") -> Path:
    path = folder / "graph.onnx"
    path.write_bytes(b"not read by the fake")
    manifest = {"image_size": 512, "weights_hash": "w", "precision": precision}
    path.with_name("graph.onnx.json").write_text(json.dumps(manifest))
    return path


def test_cuda_gets_the_number_of_the_gpu(ort: FakeOnnxRuntime, tmp_path: Path) -> None:
    encoder = OrtEncoder(graph(tmp_path), provider="cuda", gpu=3, threads=2)
    assert ort.asked == [(CUDA, {"device_id": "3"}), CPU]
    assert ort.threads == [2]
    assert encoder.runtime == "onnxruntime:cuda:3:fp32"
    OrtGraph(graph(tmp_path), provider="cuda", gpu=1)
    assert ort.asked == [(CUDA, {"device_id": "1"}), CPU]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_tensorrt_gets_gpu_precision_and_a_place_for_its_engines(
    ort: FakeOnnxRuntime, tmp_path: Path, precision: str
) -> None:
    decoder = OrtDecoder(graph(tmp_path, precision), provider="tensorrt", gpu=2)
    (name, options), cuda, cpu = ort.asked
    assert (name, cuda, cpu) == (TENSORRT, (CUDA, {"device_id": "2"}), CPU)  # what TensorRT leaves, CUDA takes
    kept = str(tmp_path / "onnxruntime-tensorrt")
    assert options == {
        "device_id": "2",
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": kept,
        "trt_timing_cache_enable": "True",
        "trt_timing_cache_path": kept,
        **({} if precision == "fp32" else {f"trt_{precision}_enable": "True"}),
    }
    assert decoder.runtime == f"onnxruntime:tensorrt:cuda:2:{precision}"


def test_the_cpu_gets_no_gpu(ort: FakeOnnxRuntime, tmp_path: Path) -> None:
    assert OrtEncoder(graph(tmp_path), gpu=1).runtime == "onnxruntime:cpu:fp32"
    assert ort.asked == [CPU]


def test_what_does_not_start_is_no_quiet_cpu(ort: FakeOnnxRuntime, tmp_path: Path) -> None:
    ort.starts = [CPU]
    with pytest.raises(RuntimeUnavailable, match=f"could not start {CUDA} and fell back to {CPU}"):
        OrtEncoder(graph(tmp_path), provider="cuda")
    ort.starts, ort.started_on = [CUDA, CPU], "0"
    with pytest.raises(RuntimeUnavailable, match=f"did not start {CUDA} on GPU 1: it reports GPU 0"):
        OrtEncoder(graph(tmp_path), provider="cuda", gpu=1)
    ort.starts, ort.started_on = [CUDA, CPU], None
    with pytest.raises(RuntimeUnavailable, match=f"could not start {TENSORRT} and fell back to {CUDA}"):
        OrtEncoder(graph(tmp_path), provider="tensorrt")
    ort.available = [CPU]
    with pytest.raises(RuntimeUnavailable, match=rf"has no {TENSORRT}, only {CPU}: install livesam\[gpu\]"):
        OrtEncoder(graph(tmp_path), provider="tensorrt")
    with pytest.raises(ValueError, match="unknown provider 'rocm': choose one of cpu, cuda, tensorrt"):
        OrtEncoder(graph(tmp_path), provider="rocm")


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch, ort: FakeOnnxRuntime) -> FakeOnnxRuntime:
    monkeypatch.setattr(runtimes, "_driver", lambda: (None, 2))
    monkeypatch.setattr(runtimes.importlib.util, "find_spec", lambda name: object() if name == "onnxruntime" else None)
    return ort


@pytest.mark.parametrize(
    ("requested", "provider"), [("onnxruntime", CUDA), (runtimes.ORT_TENSORRT, TENSORRT)], ids=["cuda", "tensorrt"]
)
def test_from_the_wish_to_the_provider(
    two_gpus: FakeOnnxRuntime, tmp_path: Path, requested: str, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from livesam.export import engines as serving

    choice = runtimes.select("encoder", requested, device="cuda:1")
    assert (choice.name, choice.device, choice.gpu, choice.precision) == (requested, "cuda:1", 1, "bf16")

    class Graphs:
        def encoder(self, precision: str, one: bool) -> Path:
            assert (precision, one) == ("bf16", True)
            return graph(tmp_path, precision)

        def decoder(self, precision: str) -> Path:
            assert precision == "fp32"
            return graph(tmp_path, precision)

    serving.encoder_for(Graphs(), choice)  # type: ignore[arg-type]
    assert two_gpus.asked[0][0] == provider
    assert [options["device_id"] for _, options in two_gpus.asked[:-1]] == ["1"] * (len(two_gpus.asked) - 1)
    for_decoder = runtimes.select("decoder", requested, device="cuda:1")
    compiler: Any = serving.compiler_for(Graphs(), for_decoder, "inputs")  # type: ignore[arg-type]
    assert compiler.runtime.endswith(":cuda:1:fp32")
    assert two_gpus.asked[0][0] == provider


def test_onnxruntime_tensorrt_is_only_ever_asked_for(two_gpus: FakeOnnxRuntime) -> None:
    assert runtimes.select("encoder").name == "onnxruntime"
    assert runtimes.select("encoder", runtimes.ORT_TENSORRT).device == "cuda"
    two_gpus.available = [CUDA, CPU]
    with pytest.raises(RuntimeUnavailable, match=f"has no {TENSORRT}"):
        runtimes.select("encoder", runtimes.ORT_TENSORRT)
    two_gpus.available = [CPU]
    with pytest.raises(RuntimeUnavailable, match="is the CPU package"):
        runtimes.select("encoder", "onnxruntime", device="cuda:1")
    with pytest.raises(ValueError, match=r"2 GPU\(s\): choose cpu, cuda, cuda:0, cuda:1"):
        runtimes.select("encoder", "onnxruntime", device="cuda:2")


@pytest.fixture
def current_gpu(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """PyTorch with two GPUs; the numbers that were made current, the last one first."""
    import contextlib

    import torch
    from livesam.engine.runtimes import tensorrt

    current = [0]

    @contextlib.contextmanager
    def device(gpu: int) -> Any:
        current.insert(0, gpu)
        yield
        current.pop(0)

    monkeypatch.setattr(tensorrt, "device_name", lambda: "sm90:fake")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "device", device)
    return current


def test_tensorrt_builds_and_opens_on_the_gpu_that_is_asked_for(
    current_gpu: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from livesam.engine.models import spec as specs
    from livesam.engine.runtimes import tensorrt_decoder, tensorrt_encoder
    from livesam.export import engines as serving
    from livesam.export.graphs import plans as builder

    done: list[tuple[str, int]] = []

    def note(what: str) -> Any:
        return lambda *_, **__: done.append((what, current_gpu[0]))

    monkeypatch.setattr(serving, "_tensorrt_library", lambda choice: types.SimpleNamespace(name="tensorrt"))
    monkeypatch.setattr(builder, "build_plan", note("build"))
    monkeypatch.setattr(tensorrt_encoder, "TrtEncoder", note("encoder"))
    monkeypatch.setattr(tensorrt_decoder, "TrtDecoder", note("decoder"))
    monkeypatch.setattr(serving.Probe, "check", lambda *_: None)
    graphs: Any = types.SimpleNamespace(
        spec=specs.spec("nano"),
        root=tmp_path,
        progress=lambda stage: None,
        used=set(),
        encoder=lambda *_, **__: tmp_path / "e.onnx",
        decoder=lambda *_, **__: tmp_path / "d.onnx",
    )
    serving.encoder_for(graphs, runtimes.Choice("tensorrt", "bf16", "cuda:1"))
    compile_decoder = serving.compiler_for(graphs, runtimes.Choice("tensorrt", "fp32", "cuda:1"), "inputs")
    compile_decoder({})
    assert done == [("build", 1), ("encoder", 1), ("build", 1), ("decoder", 1)]
    assert current_gpu == [0]
    with pytest.raises(RuntimeUnavailable, match="there is no GPU 2: PyTorch finds 2, counted from 0"):
        serving.encoder_for(graphs, runtimes.Choice("tensorrt", "bf16", "cuda:2"))


def test_pytorch_gets_the_number_of_the_gpu(current_gpu: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from livesam.engine.runtimes.torch_place import torch_place

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    device, dtype = torch_place("cuda:1", "bf16")
    assert (device.type, device.index, dtype) == ("cuda", 1, torch.bfloat16)
    with pytest.raises(RuntimeUnavailable, match="cuda:2"):
        torch_place("cuda:2", "fp32")
