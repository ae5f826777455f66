"""The official ONNX contract against `segment_anything`'s own module in PyTorch."""

import numpy as np
import onnx
import onnxruntime
import pytest
from livesam.engine.models.loading import decoder_weights
from livesam.export.formats.probes import PROBES, probe_feeds, reference
from livesam.export.formats.source import DecoderSource
from livesam.export.graphs.official_graph import CVAT_OUTPUTS, OUTPUTS, Dialect, build_official
from onnx import numpy_helper

SIZE = 256
DIALECTS = {
    "four masks": Dialect(),
    "one mask": Dialect(single=True),
    "cvat": Dialect(single=True, crop=True, pad=True),
}


@pytest.fixture(scope="module")
def source(small_sam, small_spec):
    rng = np.random.default_rng(7)
    weights = {
        key: value + rng.normal(0, 2e-3, value.shape).astype(np.float32)
        for key, value in decoder_weights(small_sam).items()
    }
    return DecoderSource.of(small_sam, small_spec, weights=weights)


@pytest.fixture(scope="module")
def graphs(source):
    return {name: build_official(source.decoder_state(), SIZE, dialect) for name, dialect in DIALECTS.items()}


@pytest.fixture(scope="module")
def sessions(graphs):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return {
        name: onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
        for name, graph in graphs.items()
    }


def answer(session, feeds):
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def close(got, want, share=1e-4):
    span = float(want.max() - want.min()) if want.size > 1 else 1.0
    return got.shape == want.shape and float(np.abs(got - want).max()) <= share * span


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.kind)
@pytest.mark.parametrize("dialect", ["four masks", "one mask"])
def test_every_kind_of_prompt_gives_pytorch_logits(source, sessions, dialect, probe):
    feeds = probe_feeds(probe, SIZE, seed=3)
    got, want = answer(sessions[dialect], feeds), reference(source.sam, feeds, DIALECTS[dialect])
    assert list(got) == list(OUTPUTS)
    for name in OUTPUTS:
        assert got[name].dtype == np.float32
        assert close(got[name], want[name]), name


def test_inputs_and_outputs_are_the_contracts(graphs):
    graph = graphs["four masks"]
    onnx.checker.check_model(graph, full_check=True)

    def described(values):
        return {
            v.name: (v.type.tensor_type.elem_type, [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim])
            for v in values
        }

    side, low = SIZE // 16, SIZE // 4
    single = onnx.TensorProto.FLOAT
    wanted = {
        "image_embeddings": (single, [1, 256, side, side]),
        "point_coords": (single, [1, "num_points", 2]),
        "point_labels": (single, [1, "num_points"]),
        "mask_input": (single, [1, 1, low, low]),
        "has_mask_input": (single, [1]),
        "orig_im_size": (single, [2]),
    }
    assert list(described(graph.graph.input).items()) == list(wanted.items())  # in this order
    outputs = described(graph.graph.output)
    assert outputs["iou_predictions"] == (single, [1, 4])
    assert outputs["low_res_masks"] == (single, [1, 4, low, low])
    assert graph.opset_import[0].version == 17
    assert [v.name for v in graphs["cvat"].graph.output] == list(CVAT_OUTPUTS)


def test_initializers_are_the_state_dicts_tensors(source, graphs):
    stored = {t.name: numpy_helper.to_array(t) for t in graphs["one mask"].graph.initializer}
    for key, value in source.decoder_state().items():
        np.testing.assert_array_equal(stored[key], value, err_msg=key)
    assert sum(name.startswith("mask_decoder.") for name in stored) == 120


@pytest.mark.parametrize(
    ("labels", "token"),
    [
        ((1, -1), "best"),
        ((1,), "best"),
        ((2, 3), "best"),
        ((2, 3, -1), "first"),
        ((1, 0, -1), "first"),
        ((1, 2, 3), "first"),
    ],
)
def test_single_mask_rule_counts_points(sessions, labels, token):
    probe = next(p for p in PROBES if p.kind == "a click")
    feeds = probe_feeds(probe, SIZE)
    rng = np.random.default_rng(1)
    feeds["point_coords"] = (rng.random((1, len(labels), 2)) * SIZE).astype(np.float32)
    feeds["point_labels"] = np.array([labels], np.float32)
    four, one = answer(sessions["four masks"], feeds), answer(sessions["one mask"], feeds)
    index = 0 if token == "first" else 1 + int(four["iou_predictions"][0, 1:].argmax())
    np.testing.assert_allclose(one["low_res_masks"][0, 0], four["low_res_masks"][0, index], atol=1e-5)


@pytest.mark.parametrize("hw", [(64, 33), (33, 64), (256, 256), (300, 500), (1, 90)])
def test_crop_of_the_padding_follows_the_image_at_run_time(source, sessions, hw):
    feeds = probe_feeds(PROBES[0], SIZE)
    feeds["orig_im_size"] = np.array(hw, np.float32)
    got, want = answer(sessions["one mask"], feeds), reference(source.sam, feeds, DIALECTS["one mask"])
    assert got["masks"].shape == (1, 1, *hw)
    assert close(got["masks"], want["masks"])


@pytest.mark.parametrize("labels", [(1,), (1, 0), (1, -1), (2, 3), (2, 3, 1)])
def test_cvat_pads_what_the_client_did_not_and_crops(source, sessions, labels):
    feeds = probe_feeds(PROBES[0], SIZE)
    rng = np.random.default_rng(5)
    feeds["point_coords"] = np.sort((rng.random((1, len(labels), 2)) * SIZE).astype(np.float32), axis=1)
    feeds["point_coords"][0, np.array(labels) == -1] = 0
    feeds["point_labels"] = np.array([labels], np.float32)
    feeds["orig_im_size"] = np.array([90, 120], np.float32)
    got = answer(sessions["cvat"], feeds)

    padded = dict(feeds)
    if not {-1, 2, 3} & set(labels):
        padded["point_coords"] = np.concatenate([feeds["point_coords"], np.zeros((1, 1, 2), np.float32)], axis=1)
        padded["point_labels"] = np.array([[*labels, -1]], np.float32)
    logits = reference(source.sam, padded, Dialect(single=True))["masks"][0, 0]
    rows, columns = np.nonzero(logits > 0)
    box = [columns.min(), rows.min(), columns.max(), rows.max()]
    assert [int(got[name]) for name in ("xtl", "ytl", "xbr", "ybr")] == box
    assert all(got[name].dtype == np.int64 and got[name].shape == () for name in ("xtl", "ytl", "xbr", "ybr"))
    assert got["masks"].dtype == np.uint8
    cut = (logits > 0)[box[1] : box[3] + 1, box[0] : box[2] + 1]
    assert np.mean(got["masks"][0, 0].astype(bool) != cut) < 1e-3


def test_cvat_gives_one_empty_pixel_for_an_empty_mask(source):
    state = source.decoder_state()
    for i in range(4):  # hypernetworks that give a constant of -1 times an upscaled embedding that is all ones
        state[f"mask_decoder.output_hypernetworks_mlps.{i}.layers.2.weight"] = np.zeros((32, 256), np.float32)
        state[f"mask_decoder.output_hypernetworks_mlps.{i}.layers.2.bias"] = np.full(32, -1, np.float32)
    state["mask_decoder.output_upscaling.3.weight"] = np.zeros_like(state["mask_decoder.output_upscaling.3.weight"])
    state["mask_decoder.output_upscaling.3.bias"] = np.ones(32, np.float32)
    graph = build_official(state, SIZE, DIALECTS["cvat"])
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    got = answer(session, probe_feeds(PROBES[0], SIZE))
    assert [int(got[name]) for name in ("xtl", "ytl", "xbr", "ybr")] == [0, 0, 0, 0]
    assert got["masks"].shape == (1, 1, 1, 1)
    assert got["masks"].sum() == 0


def test_newer_opsets_give_the_same(source, sessions):
    graph = build_official(source.decoder_state(), SIZE, DIALECTS["cvat"], opset=20)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = probe_feeds(PROBES[0], SIZE)
    got, want = answer(session, feeds), answer(sessions["cvat"], feeds)
    for name in CVAT_OUTPUTS:
        np.testing.assert_array_equal(got[name], want[name])


def test_bad_arguments_are_refused(source):
    state = source.decoder_state()
    with pytest.raises(ValueError, match="opset must be 17"):
        build_official(state, SIZE, opset=16)
    with pytest.raises(ValueError, match="crop needs single"):
        build_official(state, SIZE, Dialect(crop=True))
    del state["mask_decoder.iou_token.weight"]
    with pytest.raises(ValueError, match=r"mask_decoder\.iou_token\.weight"):
        build_official(state, SIZE)
