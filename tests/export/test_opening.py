import contextlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from livesam.engine.models import loading as models
from livesam.engine.models.adapted import write_adapted
from livesam.engine.runtimes.selection import Choice
from livesam.engine.values.adapted_info import AdaptedInfo
from livesam.engine.values.errors import CheckpointError, ExportError, SwapError
from livesam.export import engines, opening
from livesam.export.graphs.graph_cache import GraphCache, default_cache_dir
from livesam.export.opening import Opening, decoder_compiler, open_encoder, open_session

RUNTIMES = ("torch", "onnxruntime", "openvino")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, nano_sam):
    path = tmp_path_factory.mktemp("weights") / "nano.pth"
    torch.save(nano_sam.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def sessions(checkpoint, cache):
    return {name: open_session(Opening("nano", checkpoint, name, cache_dir=cache)) for name in RUNTIMES}


@pytest.mark.parametrize("name", RUNTIMES[1:])
def test_every_runtime_answers_like_pytorch(sessions, image, name):
    want, got = sessions["torch"], sessions[name]
    want.set_image(image)
    got.set_image(image)
    assert name in got.runtime
    a, b = want.click(30.0, 40.0), got.click(30.0, 40.0)
    span = a.low_res_logits.max() - a.low_res_logits.min()
    assert np.abs(a.low_res_logits - b.low_res_logits).max() / span < 1e-3
    assert a.iou == pytest.approx(b.iou, abs=1e-3)


@pytest.mark.parametrize("name", RUNTIMES)
def test_published_weights_are_checked_against_pytorch_and_serve(sessions, image, name):
    session = sessions[name]
    session.set_image(image)
    before = session.click(50.0, 20.0)
    torch.manual_seed(5)
    version = session.slot.publish(models.decoder_weights(models.build("nano", seed=5)))
    session.reset()
    after = session.click(50.0, 20.0)
    assert after.decoder_version == version
    assert np.abs(after.low_res_logits - before.low_res_logits).max() > 1e-3
    session.slot.rollback(0)


def test_the_second_start_imports_no_torch(sessions, checkpoint, cache):
    """A cold start must take at most 4 s, and importing torch alone takes longer on a slow disk."""
    code = (
        "import sys, json, numpy as np\n"
        "from pathlib import Path\n"
        "from livesam.export.opening import Opening, open_session\n"
        "s = open_session(Opening('nano', Path(sys.argv[1]), sys.argv[3], cache_dir=Path(sys.argv[2])))\n"
        "s.set_image(np.zeros((64, 64, 3), np.uint8)); s.click(3, 3)\n"
        "heavy = ('torch', 'onnx', 'torchvision', 'segment_anything')\n"
        "print(json.dumps([m for m in heavy if m in sys.modules]))\n"
    )
    for runtime in RUNTIMES[1:]:
        command = [sys.executable, "-c", code, str(checkpoint), str(cache), runtime]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=200)
        assert json.loads(done.stdout) == []


def test_a_damaged_graph_is_exported_again(sessions, checkpoint, cache):
    graphs = GraphCache("nano", checkpoint, cache)
    path = graphs.decoder()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert GraphCache("nano", checkpoint, cache).decoder().read_bytes() == whole


def test_damaged_base_weights_are_made_again(sessions, checkpoint, cache, nano_sam):
    graphs = GraphCache("nano", checkpoint, cache)
    path = graphs.folder / "decoder-weights.safetensors"
    path.write_bytes(b"not safetensors")
    want = models.decoder_weights(nano_sam)
    for _ in range(2):
        got = GraphCache("nano", checkpoint, cache).base_weights()
        assert set(got) == set(want)
        np.testing.assert_array_equal(got["iou_token.weight"], want["iou_token.weight"])


def test_other_weights_have_other_graphs(checkpoint, cache, tmp_path):
    other = tmp_path / "other.pth"
    torch.save(models.build("nano", seed=9).state_dict(), other)
    a, b = GraphCache("nano", checkpoint, cache), GraphCache("nano", other, cache)
    assert a.folder != b.folder
    assert GraphCache("nano", checkpoint, cache).folder == a.folder
    other.write_bytes(checkpoint.read_bytes())  # a changed file of the same name is noticed
    os.utime(other, ns=(1, 1))
    assert GraphCache("nano", other, cache).folder == a.folder


def test_an_adapted_decoder_serves_at_once(checkpoint, cache, image, tmp_path, nano_sam):
    base = models.decoder_weights(nano_sam)
    learned = {k: v + np.float32(0.01) for k, v in base.items()}
    path = tmp_path / "adapted.safetensors"
    write_adapted(path, learned, base, AdaptedInfo(model="nano", method="paper"))
    session = open_session(Opening("nano", checkpoint, "onnxruntime", cache_dir=cache), adapted=path)
    session.set_image(image)
    assert session.click(10, 10).decoder_version == 1
    assert session.slot.labels() == {"base": 0, "stable": 1}


def test_encoder_and_compiler_apart(checkpoint, cache, image, nano_sam):
    encoder = open_encoder(Opening("nano", checkpoint, "onnxruntime", cache_dir=cache))
    decoder = decoder_compiler(Opening("nano", checkpoint, "openvino", cache_dir=cache))(
        models.decoder_weights(nano_sam)
    )
    assert encoder.encode(image).features.shape == (1, 256, 32, 32)
    assert encoder.runtime == "onnxruntime:cpu:fp32"
    assert decoder.runtime.startswith("openvino:cpu")


def test_a_batch_has_a_graph_of_its_own(checkpoint, cache, image):
    encoder = open_encoder(Opening("nano", checkpoint, "onnxruntime", cache_dir=cache), batch=2)
    one, two = encoder.encode_batch([image, image[:50]])
    assert (one.original_hw, two.original_hw) == ((90, 120), (50, 120))
    folder = GraphCache("nano", checkpoint, cache).folder
    assert (folder / "encoder-fp32-bias-batch.onnx").is_file()
    with pytest.raises(ValueError, match="batch must be positive"):
        open_encoder(Opening("nano", checkpoint, cache_dir=cache), batch=0)


class FakeTensorRt:
    """TensorRT as far as plans are asked for and opened; its decoder is PyTorch's, off by ``error``."""

    def __init__(self, monkeypatch, nano_sam):
        from livesam.engine.runtimes import selection as runtimes
        from livesam.engine.runtimes import tensorrt, tensorrt_decoder, tensorrt_encoder
        from livesam.engine.runtimes.torch_decoder import TorchDecoder
        from livesam.export.graphs import plans as builder

        self.asked, self.libraries, self.error = [], [], 0.0
        fake = self

        class Inputs(TorchDecoder):
            def __init__(self, plan, weights, library):
                super().__init__(nano_sam)
                self.load_weights({name: value + np.float32(fake.error) for name, value in weights.items()})

        class Refit(Inputs): ...

        def build(graph, folder, *, library, profiles, refit=False):
            self.asked.append((graph.name, library, len(profiles), refit))
            return graph

        def load(name="auto"):
            self.libraries.append(name)
            return tensorrt.Library("tensorrt_rtx" if name == "auto" else name, "1.7.1", None)

        def opened(plan, side, library):
            return (plan.name, side, library)

        monkeypatch.setattr(
            runtimes,
            "select",
            lambda kind, name, *, device, precision: runtimes.Choice(name, precision or "fp32", "cuda"),
        )
        monkeypatch.setattr(tensorrt, "load_library", load)
        monkeypatch.setattr(tensorrt, "on_gpu", lambda gpu: contextlib.nullcontext())
        monkeypatch.setattr(tensorrt_encoder, "TrtEncoder", opened)
        monkeypatch.setattr(tensorrt_decoder, "TrtDecoder", Inputs)
        monkeypatch.setattr(tensorrt_decoder, "TrtRefitDecoder", Refit)
        monkeypatch.setattr(builder, "build_plan", build)
        self.inputs, self.refit = Inputs, Refit


def test_the_way_to_swap_chooses_graph_plan_and_decoder(checkpoint, cache, monkeypatch, nano_sam):
    fake, weights = FakeTensorRt(monkeypatch, nano_sam), models.decoder_weights(nano_sam)
    inputs = decoder_compiler(Opening("nano", checkpoint, "tensorrt", cache_dir=cache))
    assert type(inputs(weights)) is fake.inputs
    refit = decoder_compiler(Opening("nano", checkpoint, "tensorrt_rtx", cache_dir=cache), swap="refit")
    assert type(refit(weights)) is fake.refit
    assert fake.libraries == ["auto", "tensorrt_rtx"]
    assert fake.asked == [
        ("decoder-fp32.onnx", "tensorrt_rtx", 2, False),
        ("decoder-fp32-constant.onnx", "tensorrt_rtx", 2, True),
    ]
    fake.error = 0.05  # a plan that computes something else serves neither way
    for compile_decoder in (inputs, refit):
        with pytest.raises(SwapError, match="off PyTorch's"):
            compile_decoder(weights)


def test_a_tensorrt_encoder_for_many_has_a_profile_for_one(checkpoint, cache, monkeypatch, nano_sam):
    fake = FakeTensorRt(monkeypatch, nano_sam)
    assert open_encoder(Opening("nano", checkpoint, "tensorrt", cache_dir=cache))[0] == "encoder-fp32-augment.onnx"
    assert (
        open_encoder(Opening("nano", checkpoint, "tensorrt", cache_dir=cache), batch=8)[0]
        == "encoder-fp32-augment-batch.onnx"
    )
    assert [profiles for _, _, profiles, _ in fake.asked] == [0, 2]


def test_only_tensorrt_is_refitted(checkpoint, cache):
    with pytest.raises(ValueError, match="onnxruntime cannot be refitted"):
        decoder_compiler(Opening("nano", checkpoint, "onnxruntime", cache_dir=cache), swap="refit")
    with pytest.raises(ValueError, match="choose inputs or refit"):
        decoder_compiler(Opening("nano", checkpoint, "onnxruntime", cache_dir=cache), swap="both")


def test_errors(checkpoint, cache, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="nano, vit_t, vit_b, vit_l, vit_h"):
        open_session(Opening("vit_x", cache_dir=cache))
    with pytest.raises(CheckpointError, match="vit_b"):
        open_session(Opening("vit_b", cache_dir=cache))
    with pytest.raises(CheckpointError, match="missing"):
        open_session(Opening("vit_b", tmp_path / "missing.pth", cache_dir=cache))
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="LIVESAM_CACHE"):
        open_session(Opening("nano", checkpoint, "onnxruntime", cache_dir=tmp_path / "file"))
    monkeypatch.setenv("LIVESAM_CACHE", str(tmp_path / "elsewhere"))
    assert default_cache_dir() == tmp_path / "elsewhere"


def test_a_runtime_that_nobody_makes_is_refused(cache, checkpoint):
    graphs, choice = Opening("nano", checkpoint, cache_dir=cache).graphs(), Choice("abacus", "fp32", "cpu")
    with pytest.raises(ValueError, match="no encoder is made for the runtime 'abacus'"):
        engines.encoder_for(graphs, choice)
    with pytest.raises(ValueError, match="no decoder is made for the runtime 'abacus'"):
        engines.compiler_for(graphs, choice, "inputs")


@pytest.mark.parametrize(
    ("model", "wish", "kind", "taken"),
    [
        ("nano", None, "encoder", "fp16"),
        ("nano", "bf16", "encoder", "bf16"),
        ("vit_b", None, "encoder", "bf16"),
        ("nano", None, "decoder", "bf16"),
    ],
)
@pytest.mark.parametrize("runtime", ["torch", "tensorrt", "onnxruntime"])
def test_nanos_encoder_is_too_fine_for_bf16(
    model: str, wish: str | None, kind: str, taken: str, runtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:

    def on_a_gpu(*_: object, **wishes: str | None) -> opening.Choice:
        return opening.Choice(runtime, wishes["precision"] or "bf16", "cuda")

    monkeypatch.setattr(opening.selection, "select", on_a_gpu)
    assert opening.Opening(model, precision=wish).choice(kind).precision == taken
