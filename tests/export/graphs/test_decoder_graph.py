import copy

import numpy as np
import onnx
import onnxruntime
import pytest
from livesam.engine.models.spec import ModelSpec
from livesam.engine.values.errors import ExportError, ParityError
from livesam.export.files.manifest import Manifest, manifest_path
from livesam.export.graphs.decoder_graph import PROBES, decoder_feeds, export_serving_decoder, reference_decode
from onnx import numpy_helper

SPEC = ModelSpec("vit_small", 256, None)


@pytest.fixture(scope="module")
def sam(small_sam):
    return small_sam


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("decoder")


@pytest.fixture(scope="module")
def exported(sam, folder):
    path = folder / "decoder.onnx"
    return path, export_serving_decoder(sam, SPEC, path)


def session(path):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 2
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def worst(got, want):
    return float(np.abs(got - want).max() / (want.max() - want.min()))


@pytest.mark.parametrize("probe", [*PROBES, (1, 1, 1), (1, 21, 1), (5, 2, 5)])
def test_answers_equal_the_official_modules(sam, exported, probe):
    feeds = decoder_feeds((16, 16), probe, seed=3)
    want = reference_decode(sam, feeds)
    logits, ious = session(exported[0]).run(["low_res_logits", "ious"], feeds)
    assert logits.shape == (probe[0], 4, 64, 64)
    assert worst(logits, want["low_res_logits"]) < 1e-5
    assert worst(ious, want["ious"]) < 1e-5


def test_one_mask_for_all_prompts_equals_the_same_mask_for_each(exported):
    shared = decoder_feeds((16, 16), (3, 4, 1))
    each = dict(shared, mask_input=np.repeat(shared["mask_input"], 3, 0), has_mask=np.repeat(shared["has_mask"], 3))
    run = session(exported[0])
    for got, want in zip(run.run(None, shared), run.run(None, each), strict=True):
        assert worst(got, want) < 1e-5


def test_has_mask_is_arithmetic(sam, exported):
    """Some clients send -1; a rewrite with Where would answer them differently."""
    feeds = decoder_feeds((16, 16), (1, 2, 1))
    feeds["has_mask"] = np.array([-1.0], np.float32)
    logits = session(exported[0]).run(["low_res_logits"], feeds)[0]
    assert worst(logits, reference_decode(sam, feeds)["low_res_logits"]) < 1e-5
    feeds["has_mask"] = np.array([0.0], np.float32)
    assert worst(logits, reference_decode(sam, feeds)["low_res_logits"]) > 1e-4


def test_all_120_tensors_keep_their_names_and_values(sam, exported):
    path, manifest = exported
    model = onnx.load(str(path))
    stored = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    inputs = {i.name for i in model.graph.input}
    state = sam.mask_decoder.state_dict()
    assert {w.key for w in manifest.weights.values()} == set(state)
    assert len(manifest.weights) == 120
    for name, weight in manifest.weights.items():
        assert name in inputs
        tensor = state[weight.key].numpy()
        np.testing.assert_array_equal(stored[name], tensor.T if weight.transpose else tensor)
        assert stored[name].shape == weight.shape
    assert any(w.transpose for w in manifest.weights.values())


def test_swapped_weights_give_the_answers_of_a_fresh_export(sam, exported):
    import torch

    torch.manual_seed(1)
    other = copy.deepcopy(sam)
    for parameter in other.mask_decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    path, manifest = exported
    state = {k: v.numpy() for k, v in other.mask_decoder.state_dict().items()}
    override = {
        name: np.ascontiguousarray(state[w.key].T if w.transpose else state[w.key])
        for name, w in manifest.weights.items()
    }
    feeds = decoder_feeds((16, 16), (2, 3, 2))
    logits = session(path).run(["low_res_logits"], {**feeds, **override})[0]
    assert worst(logits, reference_decode(other, feeds)["low_res_logits"]) < 1e-5


def test_constant_weights_are_no_inputs(sam, tmp_path):
    manifest = export_serving_decoder(sam, SPEC, tmp_path / "d.onnx", weights_as_inputs=False)
    model = onnx.load(str(tmp_path / "d.onnx"))
    assert [i.name for i in model.graph.input] == list(manifest.inputs)
    onnx.checker.check_model(model, full_check=True)


@pytest.mark.parametrize(
    ("precision", "elem"), [("fp16", onnx.TensorProto.FLOAT16), ("bf16", onnx.TensorProto.BFLOAT16)]
)
def test_low_precision_is_in_the_graph_and_its_ports_stay_float32(sam, tmp_path, precision, elem):
    manifest = export_serving_decoder(sam, SPEC, tmp_path / "d.onnx", precision=precision)
    model = onnx.load(str(tmp_path / "d.onnx"))
    onnx.checker.check_model(model, full_check=True)
    types = {i.name: i.type.tensor_type.elem_type for i in [*model.graph.input, *model.graph.output]}
    for name in [*manifest.inputs, *manifest.outputs]:
        assert types[name] == onnx.TensorProto.FLOAT
    for name in manifest.weights:
        assert types[name] == elem
    assert manifest.parity["checked"]
    assert sorted(f.name for f in tmp_path.iterdir()) == ["d.onnx", "d.onnx.json"]


def test_manifest_reads_back_and_notices_a_changed_file(exported, tmp_path):
    path, manifest = exported
    assert Manifest.read(path) == manifest
    manifest.verify(path.parent)
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ExportError, match="SHA-256"):
        manifest.verify(tmp_path)
    copy.unlink()
    with pytest.raises(ExportError, match="missing"):
        manifest.verify(tmp_path)


def test_a_failed_parity_check_leaves_nothing(sam, tmp_path, monkeypatch):
    from livesam.export.graphs import decoder_graph

    def wrong(path, feeds):
        want = reference_decode(sam, feeds)
        return {**want, "ious": want["ious"] + 1}, "test"

    monkeypatch.setattr(decoder_graph, "run_onnx", wrong)
    with pytest.raises(ParityError, match="ious differs from PyTorch"):
        export_serving_decoder(sam, SPEC, tmp_path / "d.onnx")
    assert list(tmp_path.iterdir()) == []


def test_bad_arguments(sam, tmp_path):
    with pytest.raises(ValueError, match="fp32, fp16, bf16, got 'int8'"):
        export_serving_decoder(sam, SPEC, tmp_path / "d.onnx", precision="int8")
    with pytest.raises(ExportError, match="is a folder"):
        export_serving_decoder(sam, SPEC, tmp_path)
    assert not manifest_path(tmp_path / "d.onnx").exists()
