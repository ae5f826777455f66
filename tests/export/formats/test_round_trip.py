"""Learn, export, load again with the format's own consumer: the masks are those that were learned."""

import numpy as np
import onnxruntime
import pytest
import torch
from livesam.adapter.registry import create
from livesam.engine.models import loading as models
from livesam.engine.models.adapted import load_adapted, read_adapted, write_adapted
from livesam.engine.models.spec import MODELS, ModelSpec
from livesam.engine.values.adapted_info import AdaptedInfo
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.interaction import Interaction
from livesam.engine.values.prompt import Click, Prompt
from livesam.export.decoder_export import export_decoder, export_sam
from livesam.export.formats import probes
from livesam.export.formats.probes import PROBES, probe_feeds, reference
from livesam.export.formats.source import with_decoder
from livesam.export.graphs.official_graph import Dialect

RUN = tuple(PROBES[i] for i in (0, 3, 5))  # a click, a box, both with a mask


@pytest.fixture(autouse=True)
def one_probe(monkeypatch):
    """The exports' own check on one prompt; what it finds is compared here once more."""
    defaults = probes.require_parity.__kwdefaults__
    monkeypatch.setattr(probes.require_parity, "__kwdefaults__", {**defaults, "probes": PROBES[:1]})


def learn(sam, size):
    """A few gradient steps of the product's own method on an accepted object; its weights afterwards."""
    method = create("paper", sam, lr=3e-4)
    features = probe_feeds(PROBES[0], size)["image_embeddings"]
    embedding = ImageEmbedding(features, (size, size), (size, size), "image")
    truth = np.zeros((size, size), bool)
    truth[size // 4 : size // 2, size // 4 : 3 * size // 4] = True
    prompt = Prompt((Click(size / 2, size / 3),))
    for _ in range(3):
        answer = method.answer(embedding, prompt)
        interaction = Interaction(embedding, (prompt,), answer.low_res_logits, truth, 0)
        reports = [*method.learn_click(interaction), *method.learn_object(interaction)]
        assert any(report.applied for report in reports)
    return method.domain_weights()


@pytest.fixture(scope="module")
def nano():
    return models.load("nano")


@pytest.fixture(scope="module")
def learned(nano):
    return learn(nano, 512)


@pytest.fixture(scope="module")
def adapted(nano, learned, tmp_path_factory):
    path = tmp_path_factory.mktemp("adapted") / "cells.safetensors"
    info = AdaptedInfo(model="nano", method="paper", domain="cells")
    write_adapted(path, learned, models.decoder_weights(nano), info, kind="weights", precision="float32")
    return path


@pytest.fixture(scope="module")
def wanted(nano, learned):
    """What PyTorch answers with the learned weights, which is not what the base answers."""
    sam = with_decoder(nano, learned)
    answers = [(probe, probe_feeds(probe, 512, seed=5)) for probe in RUN]
    answers = [(probe, feeds, reference(sam, feeds)) for probe, feeds in answers]
    before = reference(nano, answers[0][1])
    assert np.abs(before["low_res_masks"] - answers[0][2]["low_res_masks"]).max() > 1e-2
    return answers


def near(got, want):
    return got.shape == want.shape and np.abs(got - want).max() <= 1e-4 * np.ptp(want)


def equal(sam, wanted):
    for _, feeds, want in wanted:
        got = reference(sam, feeds)
        for name in want:
            np.testing.assert_array_equal(got[name], want[name], err_msg=name)


def run_onnx(path, feeds):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def test_sam_pth_bit_for_bit(adapted, wanted, tmp_path):
    export_decoder("nano", format="sam-pth", out=tmp_path / "sam.pth", adapted=adapted)
    equal(models.load("nano", tmp_path / "sam.pth"), wanted)


def test_safetensors_bit_for_bit(nano, adapted, wanted, learned, tmp_path):
    out = tmp_path / "decoder.safetensors"
    export_decoder("nano", format="safetensors", out=out, adapted=adapted)
    again = load_adapted(out, models.decoder_weights(nano))
    assert all(np.array_equal(again[key], value) for key, value in learned.items())
    equal(with_decoder(nano, again), wanted)
    assert read_adapted(out).info.method == "paper"


def test_a_difference_within_float16_of_what_was_learned(nano, adapted, wanted, tmp_path):
    out = tmp_path / "difference.safetensors"
    export_decoder("nano", format="safetensors", out=out, adapted=adapted, difference=True)
    sam = with_decoder(nano, load_adapted(out, models.decoder_weights(nano)))
    for _, feeds, want in wanted:
        got, before = reference(sam, feeds)["low_res_masks"], reference(nano, feeds)["low_res_masks"]
        assert np.abs(got - want["low_res_masks"]).max() < 0.01 * np.abs(before - want["low_res_masks"]).max()


@pytest.mark.parametrize("single", [False, True])
def test_sam_onnx(nano, learned, adapted, wanted, tmp_path, single):
    export_decoder("nano", format="sam-onnx", out=tmp_path / "d.onnx", adapted=adapted, single=single)
    for _, feeds, want in wanted:
        want = reference(with_decoder(nano, learned), feeds, Dialect(single=True)) if single else want
        got = run_onnx(tmp_path / "d.onnx", feeds)
        assert all(near(got[name], want[name]) for name in ("masks", "low_res_masks"))
        sure = np.abs(want["masks"]) > 1e-4 * np.ptp(want["masks"])
        np.testing.assert_array_equal((got["masks"] > 0)[sure], (want["masks"] > 0)[sure])


def test_openvino(adapted, wanted, tmp_path):
    import openvino

    export_decoder("nano", format="openvino", out=tmp_path / "d.xml", adapted=adapted)
    compiled = openvino.Core().compile_model(str(tmp_path / "d.xml"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for _, feeds, want in wanted:
        got = compiled(feeds)
        assert near(got["masks"], want["masks"])


def test_triton_version(adapted, wanted, tmp_path):
    options = {"format": "triton", "out": tmp_path / "r", "name": "cells", "encoder": False}
    export_decoder("nano", **options)
    export_decoder("nano", adapted=adapted, **options)
    for _, feeds, want in wanted:
        assert near(run_onnx(tmp_path / "r" / "cells-decoder" / "2" / "model.onnx", feeds)["masks"], want["masks"])


def test_x_anylabeling(learned, adapted, tmp_path):
    export_decoder("nano", format="x-anylabeling", out=tmp_path / "x", adapted=adapted)
    (decoder,) = (tmp_path / "x").glob("*.decoder.onnx")
    feeds = probe_feeds(PROBES[4], 1024, seed=5)
    want = reference(with_decoder(models.load("nano", size=1024), learned), feeds, Dialect(single=True))
    assert near(run_onnx(decoder, feeds)["masks"], want["masks"])


def test_hf(small_sam, small_spec, tmp_path):
    """transformers has no class for nano's encoder, so another model learns."""
    import transformers

    weights = learn(small_sam, 256)
    export_sam(small_sam, small_spec, format="hf", out=tmp_path / "hf", weights=weights)
    transformers.logging.disable_progress_bar()
    model = transformers.SamModel.from_pretrained(tmp_path / "hf").eval()
    feeds = probe_feeds(PROBES[0], 256, seed=5)
    want = reference(with_decoder(small_sam, weights), feeds)["low_res_masks"]
    points = torch.from_numpy(feeds["point_coords"][None, :, :1])
    with torch.no_grad():
        got = model(
            image_embeddings=torch.from_numpy(feeds["image_embeddings"]),
            input_points=points,
            input_labels=torch.ones(1, 1, 1, dtype=torch.int64),
        )
    assert near(got.pred_masks[:, 0].numpy(), want[:, 1:])


def test_cvat_decoder_from_its_file(tmp_path):
    """The plugin knows 64 x 64 embeddings only: a model of that size learns, without an encoder worth mentioning."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        sam = models.assemble(models.vit_encoder(32, 1, 1, (0,), 1024), 1024)
    weights = learn(sam, 1024)
    out = tmp_path / "decoder.onnx"
    manifest = export_sam(sam, ModelSpec("vit_t", 1024, None), format="cvat-onnx", out=out, weights=weights)
    assert manifest.options["method"] == "unnamed"
    feeds = probe_feeds(PROBES[1], 1024, seed=5)  # as the plugin sends it now: one click without padding
    got = run_onnx(out, feeds)
    padded = dict(feeds)
    padded["point_coords"] = np.concatenate([feeds["point_coords"], np.zeros((1, 1, 2), np.float32)], axis=1)
    padded["point_labels"] = np.array([[1, -1]], np.float32)
    want = reference(with_decoder(sam, weights), padded, Dialect(single=True))
    assert near(got["low_res_masks"], want["low_res_masks"])
    x0, y0, x1, y1 = (int(got[name]) for name in ("xtl", "ytl", "xbr", "ybr"))
    pasted = np.zeros(want["masks"].shape, bool)
    pasted[:, :, y0 : y1 + 1, x0 : x1 + 1] = got["masks"] > 0
    sure = np.abs(want["masks"]) > 1e-4 * np.ptp(want["masks"])
    assert pasted.any()
    np.testing.assert_array_equal(pasted[sure], (want["masks"] > 0)[sure])
    assert MODELS["vit_t"].image_size == 1024
