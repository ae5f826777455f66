"""Everything about TensorRT that happens before the first kernel; no kernel has ever run."""

import contextlib
import importlib
import json
import types

import numpy as np
import pytest
import torch
from livesam.engine.files.hashing import file_sha256
from livesam.engine.models import loading as models
from livesam.engine.runtimes import packing
from livesam.engine.runtimes import tensorrt as trt_runtime
from livesam.engine.runtimes.packing import pack_masks
from livesam.engine.runtimes.recent import Recent
from livesam.engine.runtimes.tensorrt import (
    Library,
    PlanEngine,
    load_library,
    read_plan,
)
from livesam.engine.runtimes.tensorrt_decoder import (
    TrtDecoder,
    TrtRefitDecoder,
    WeightInput,
    checked_weights,
    refit_is_trusted,
    weight_inputs,
)
from livesam.engine.runtimes.tensorrt_profiles import fitting_profile
from livesam.engine.runtimes.torch_decoder import TorchDecoder
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.errors import RuntimeUnavailable, SessionError, SwapError
from livesam.engine.values.packed_masks import unpack_masks
from livesam.engine.values.prompt import Box, Click, Prompt
from livesam.engine.view.geometry import ResizeGeometry, postprocess
from livesam.engine.view.points import geometry_of
from livesam.engine.view.selection import select_token
from livesam.export.graphs.plans import decoder_profiles

LIBRARY = Library("tensorrt_rtx", "1.7.1", types.SimpleNamespace())
no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


def write_plan(folder, **changes):
    path = folder / "x.plan"
    path.write_bytes(b"plan")
    manifest = {
        "kind": "plan",
        "precision": "fp16",
        "weights_as_inputs": True,
        "files": {"x.plan": file_sha256(path)},
        "inputs": {"embedding": {"dtype": "float32", "shape": [1, 256, 32, 32]}},
        "options": {"library": "tensorrt_rtx", "library_version": "1.7.1", "device": "aot:SM86"},
    } | changes
    path.with_name("x.plan.json").write_text(json.dumps(manifest))
    return path


def test_prompts_find_the_profile_that_takes_them():
    profiles = [
        {name: (smallest, largest) for name, (smallest, _, largest) in profile.shapes.items()}
        for profile in decoder_profiles((32, 32), prompts=64, points=32)
    ]

    def shapes(prompts, points, masks):
        return {
            "point_coords": (prompts, points, 2),
            "point_labels": (prompts, points),
            "mask_input": (masks, 1, 128, 128),
            "has_mask": (masks,),
        }

    assert fitting_profile(profiles, shapes(1, 2, 1)) == 0
    assert fitting_profile(profiles, shapes(1, 0, 1)) == 0
    assert fitting_profile(profiles, shapes(2, 2, 1)) == fitting_profile(profiles, shapes(64, 32, 64)) == 1
    for outside in (shapes(65, 2, 1), shapes(1, 33, 1)):
        with pytest.raises(ValueError, match="no profile"):
            fitting_profile(profiles, outside)


def test_a_missing_library_says_how_to_install_it(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(RuntimeUnavailable, match=r"pip install 'livesam\[tensorrt\]'.*pip install 'livesam\[rtx\]'"):
        load_library()
    with pytest.raises(RuntimeUnavailable, match="tensorrt_rtx: ModuleNotFoundError"):
        load_library("tensorrt_rtx")
    with pytest.raises(ValueError, match="auto, tensorrt or tensorrt_rtx, got 'trt'"):
        load_library("trt")


def test_a_library_that_does_not_load_is_no_crash(monkeypatch):
    def broken(name):
        raise OSError("libnvinfer.so.11: cannot open shared object file")

    monkeypatch.setattr(importlib, "import_module", broken)
    with pytest.raises(RuntimeUnavailable, match="libnvinfer"):
        load_library("tensorrt")


@no_gpu
def test_no_gpu_or_driver_says_so():
    with pytest.raises(RuntimeUnavailable, match=r"no usable NVIDIA GPU.*nvidia-smi"):
        trt_runtime.device_name()


def test_plans_are_checked_before_use(tmp_path):
    assert read_plan(write_plan(tmp_path), LIBRARY)["precision"] == "fp16"
    with pytest.raises(RuntimeUnavailable, match=r"built with tensorrt_rtx 1.7.1, here is tensorrt 11.4.0"):
        read_plan(write_plan(tmp_path), Library("tensorrt", "11.4.0", None))
    with pytest.raises(RuntimeUnavailable, match="is a encoder, not a TensorRT plan"):
        read_plan(write_plan(tmp_path, kind="encoder"), LIBRARY)
    damaged = write_plan(tmp_path)
    damaged.write_bytes(b"pla")
    with pytest.raises(RuntimeUnavailable, match="damaged"):
        read_plan(damaged, LIBRARY)
    damaged.with_name("x.plan.json").write_text("{")
    with pytest.raises(RuntimeUnavailable, match="no readable plan manifest"):
        read_plan(damaged, LIBRARY)
    with pytest.raises(RuntimeUnavailable, match="no readable plan manifest"):
        read_plan(tmp_path / "none.plan", LIBRARY)


@no_gpu
def test_opening_a_good_plan_without_a_gpu_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(trt_runtime, "load_library", lambda name="auto": LIBRARY)
    path = write_plan(tmp_path)
    with pytest.raises(RuntimeUnavailable, match="no usable NVIDIA GPU"):
        PlanEngine(path)
    with pytest.raises(RuntimeUnavailable, match="no usable NVIDIA GPU"):
        TrtDecoder(path, {})


def test_a_plan_of_another_gpu_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(trt_runtime, "load_library", lambda name="auto": LIBRARY)
    monkeypatch.setattr(trt_runtime, "device_name", lambda: "sm90:NVIDIA H200")
    options = {"library": "tensorrt_rtx", "library_version": "1.7.1", "device": "sm80:NVIDIA A100"}
    with pytest.raises(RuntimeUnavailable, match="built for sm80:NVIDIA A100, this machine has sm90:NVIDIA H200"):
        PlanEngine(write_plan(tmp_path, options=options))


@pytest.mark.parametrize(
    ("version", "trusted"),
    [("10.16.1", True), ("11.2.0", True), ("11.3.0", False), ("11.3.1.7", False), ("11.4.0", True)],
)
def test_versions_that_lose_biases(version, trusted):
    assert refit_is_trusted(version) is trusted


def test_such_a_version_is_not_refitted(tmp_path, monkeypatch):
    from livesam.engine.runtimes import tensorrt_decoder

    monkeypatch.setattr(tensorrt_decoder, "load_library", lambda name="auto": Library("tensorrt", "11.3.0", None))
    with pytest.raises(RuntimeUnavailable, match=r"11.3.0 may lose biases.*swap='inputs'"):
        TrtRefitDecoder(tmp_path / "x.plan", {})


@pytest.fixture
def decoder_of(monkeypatch):
    """A decoder whose engine is a fake on the CPU."""
    from livesam.engine.runtimes import tensorrt_decoder

    monkeypatch.setattr(tensorrt_decoder, "on_gpu", lambda gpu: contextlib.nullcontext())

    def made(kind):
        decoder = kind.__new__(kind)
        decoder._gpu = 0
        decoder._stream = types.SimpleNamespace(cuda_stream=0, synchronize=lambda: None)
        decoder._own = types.SimpleNamespace(current=contextlib.nullcontext)
        decoder._inputs = [WeightInput("a", "a", False, (2,))]
        decoder._bound = {"a": torch.zeros(2)}
        decoder._buffers = {"a": torch.zeros(2)}
        decoder._refitter = types.SimpleNamespace(refit_cuda_engine_async=lambda stream: True)
        decoder._recorded = Recent(8)
        decoder._recorded[1, 2, 1] = "graph"
        return decoder

    return made


def test_new_weights_go_into_the_buffers_that_are_bound_and_graphs_stay(decoder_of):
    decoder = decoder_of(TrtDecoder)
    before = decoder._bound["a"]
    decoder.load_weights({"a": np.ones(2, np.float32)})
    assert decoder._bound["a"] is before
    assert before.tolist() == [1, 1]
    assert list(decoder._recorded) == [(1, 2, 1)]
    with pytest.raises(SwapError, match="not finite"):
        decoder.load_weights({"a": np.full(2, np.nan, np.float32)})
    assert before.tolist() == [1, 1]


def test_a_refit_drops_the_graphs_and_says_so_when_it_fails(decoder_of):
    decoder = decoder_of(TrtRefitDecoder)
    decoder.load_weights({"a": np.ones(2, np.float32)})
    assert decoder._buffers["a"].tolist() == [1, 1]
    assert not decoder._recorded
    decoder._refitter.refit_cuda_engine_async = lambda stream: False
    with pytest.raises(SwapError, match="could not refit"):
        decoder.load_weights({"a": np.ones(2, np.float32)})


def test_weights_are_checked_and_transposed():
    inputs = [WeightInput("a", "a", True, (3, 2)), WeightInput("b", "b", False, (4,))]
    good = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(4, np.float32)}
    ready = checked_weights(good, inputs)
    np.testing.assert_array_equal(ready["a"], good["a"].T)
    assert ready["a"].flags.c_contiguous
    with pytest.raises(SwapError, match="missing or unknown"):
        checked_weights({"a": good["a"]}, inputs)
    with pytest.raises(SwapError, match=r"a has shape \(2, 3\)"):
        checked_weights({**good, "a": good["a"].T}, inputs)
    with pytest.raises(SwapError, match="not finite"):
        checked_weights({**good, "b": np.full(4, np.nan, np.float32)}, inputs)


def test_all_120_tensors_become_inputs(small_sam, small_spec, tmp_path):
    from livesam.export.graphs.decoder_graph import export_serving_decoder

    path = tmp_path / "d.onnx"
    export_serving_decoder(small_sam, small_spec, path)
    inputs = weight_inputs(json.loads(path.with_name("d.onnx.json").read_text()))
    ready = checked_weights(models.decoder_weights(small_sam), inputs)
    assert len(ready) == 120


@pytest.mark.parametrize("hw", [(300, 471), (512, 512), (97, 33)])
def test_packed_masks_are_those_of_postprocess(hw):
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.standard_normal((3, 1, 9, 9)).astype(np.float32))
    low_res = torch.nn.functional.interpolate(coarse, (128, 128), mode="bicubic")[:, 0]
    geometry = ResizeGeometry.of(hw, 512)
    packed = pack_masks(low_res, geometry)
    assert packed.dtype == torch.uint8
    assert packed.shape == (3, hw[0], -(-hw[1] // 8))
    masks = unpack_masks(packed.numpy(), hw)
    np.testing.assert_array_equal(packed.numpy(), np.packbits(masks, axis=-1))
    for mask, logits in zip(masks, low_res.numpy(), strict=True):
        want = postprocess(logits, geometry)
        assert mask.shape == hw
        assert np.array_equal(mask[np.abs(want) > 1e-3], (want > 0)[np.abs(want) > 1e-3])
        assert 0 < mask.mean() < 1


@pytest.mark.parametrize("pixels", [2**26, 1])
def test_packed_answers_are_those_of_decode(tiny_sam, monkeypatch, pixels):
    """Clicks, a box and a lone mask: four runs of the decoder, and with 1 pixel at once every mask on its own."""
    monkeypatch.setattr(packing, "PIXELS_AT_ONCE", pixels)
    rng = np.random.default_rng(0)
    embedding = ImageEmbedding(rng.standard_normal((1, 256, 8, 8), dtype=np.float32), (75, 131), (73, 128), "k")
    click, other, lone = Click(20, 30), Click(60.5, 7), rng.standard_normal((32, 32), dtype=np.float32)
    prompts = [
        Prompt((click,)),
        Prompt((click, other, click)),
        Prompt(box=Box(3, 4, 90, 60)),
        Prompt((other,)),
        Prompt(mask_logits=lone),
    ]
    decoder = TorchDecoder(tiny_sam)
    want = decoder.decode(embedding, prompts)
    for rule in ("official", "single"):
        got = decoder.decode_masks(embedding, prompts, rule)
        assert got.packed.shape == (5, 75, 17)
        for i, prompt in enumerate(prompts):
            token = select_token(want.ious[i], prompt, rule)
            np.testing.assert_array_equal(got.low_res_logits[i], want.low_res_logits[i, token])
            assert got.ious[i] == want.ious[i, token]
            full = postprocess(want.low_res_logits[i, token], geometry_of(embedding))
            sure = np.abs(full) > 1e-4 * np.abs(full).max()
            assert got.mask(i).shape == (75, 131)
            np.testing.assert_array_equal(got.mask(i)[sure], (full > 0)[sure])
            np.testing.assert_array_equal(np.packbits(got.mask(i), axis=-1), got.packed[i])
    with pytest.raises(ValueError, match="at least one prompt"):
        decoder.decode_masks(embedding, [])
    decoder.close()
    with pytest.raises(SessionError, match="closed"):
        decoder.decode_masks(embedding, prompts)
