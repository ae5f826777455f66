"""nano in both of its sizes: one weights file, and nothing of one size taken for the other's."""

import json

import numpy as np
import pytest
import torch
from livesam.adapter.learning.learner import learn
from livesam.adapter.learning.loop_state import LoopConfig
from livesam.adapter.learning.store import DecoderStore, Learned
from livesam.app.main import run
from livesam.benchmarks.quality.opening import open_predictor
from livesam.engine.models import loading as models
from livesam.engine.models.adapted import read_adapted, write_adapted
from livesam.engine.models.spec import spec
from livesam.engine.runtimes.torch_encoder import TorchEncoder
from livesam.engine.session.cache import EmbeddingCache
from livesam.engine.values.adapted_info import AdaptedInfo
from livesam.engine.values.errors import ExportError
from livesam.engine.values.prompt import Click
from livesam.export.decoder_export import export_decoder
from livesam.export.files.manifest import Manifest
from livesam.export.foreign.merge import merge_adapted
from livesam.export.formats import probes
from livesam.export.formats.probes import PROBES, probe_feeds
from livesam.export.graphs.graph_cache import GraphCache
from livesam.export.opening import Opening, open_encoder, open_session
from PIL import Image

RUNTIMES = ("torch", "onnxruntime", "openvino")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def base():
    return models.decoder_weights(models.load("nano", encoder=False))


@pytest.fixture(scope="module")
def learned(base, tmp_path_factory):
    """An adapted decoder for each size, which learned the same."""
    folder = tmp_path_factory.mktemp("learned")
    weights = {key: value + np.float32(1e-3) for key, value in base.items()}
    for size in (512, 1024):
        info = AdaptedInfo(model="nano", method="live", image_size=size)
        write_adapted(folder / f"{size}.safetensors", weights, base, info)
    return {size: folder / f"{size}.safetensors" for size in (512, 1024)}


@pytest.fixture(scope="module")
def sessions(cache):
    opened = {name: open_session(Opening("nano", runtime=name, size=1024, cache_dir=cache)) for name in RUNTIMES}
    yield opened
    for session in opened.values():
        session.close()


def test_a_size_is_part_of_the_model():
    assert spec("nano") == spec("nano", 512)
    assert (spec("nano", 1024).embedding_hw, spec("nano", 1024).low_res_hw) == ((64, 64), (256, 256))
    assert spec("vit_b", 1024) == spec("vit_b")


@pytest.mark.parametrize(
    ("name", "size", "told"),
    [
        ("nano", 768, "nano has no size 768: it takes 512 or 1024 px"),
        ("vit_b", 512, "vit_b has no size 512: it takes 1024 px"),
    ],
)
def test_any_other_size_is_refused(name, size, told, tmp_path, capsys):
    for call in (spec, models.build, models.load):
        with pytest.raises(ValueError, match=told):
            call(name, size=size)
    for call in (open_encoder, open_session):
        with pytest.raises(ValueError, match=told):
            call(Opening(name, size=size))
    assert run(["export", "encoder", "--model", name, "--size", str(size), "--out", str(tmp_path / "e.onnx")]) == 2
    assert told in capsys.readouterr().err


def test_one_file_of_weights_serves_both(photo):
    small, large = models.load("nano"), models.load("nano", size=1024)
    for key, value in small.state_dict().items():
        assert torch.equal(value, large.state_dict()[key]), key
    assert small.prompt_encoder.image_embedding_size == (32, 32)
    assert large.prompt_encoder.image_embedding_size == (64, 64)
    keys = {TorchEncoder(sam).key("image") for sam in (small, large)}
    assert len(keys) == 2  # an embedding of the other size is not taken for one's own


def test_graphs_of_both_lie_side_by_side(cache):
    small, large = (GraphCache("nano", cache_dir=cache, size=size) for size in (512, 1024))
    assert small.folder != large.folder
    assert small.weights_key == large.weights_key
    assert large.sam().image_encoder.img_size == 1024


@pytest.mark.parametrize("name", RUNTIMES[1:])
def test_every_runtime_answers_like_pytorch_at_1024(sessions, photo, name):
    answers = []
    for session in (sessions["torch"], sessions[name]):
        embedding = session.set_image(photo)
        assert embedding.features.shape == (1, 256, 64, 64)
        first = session.click(200.0, 120.0)
        assert first.low_res_logits.shape == (256, 256)
        second = session.click(300.0, 400.0, positive=False)
        answers.append((embedding.numpy(), first.low_res_logits, second.low_res_logits))
    for want, got in zip(*answers, strict=True):
        assert np.abs(want - got).max() <= 1e-3 * np.ptp(want)


def test_new_weights_are_swapped_in_at_1024(sessions, base, photo):
    session = sessions["onnxruntime"]
    session.set_image(photo)
    version = session.slot.publish({key: value + np.float32(1e-3) for key, value in base.items()})
    assert session.click(200.0, 120.0).decoder_version == version
    session.slot.rollback(0)


def test_what_a_session_learns_says_at_which_size(sessions, photo, tmp_path):
    session = sessions["torch"]
    with learn(session, "paper", keep=tmp_path, config=LoopConfig(nice=0, quiet_s=0)) as learner:
        assert learner.info().image_size == 1024
        session.set_image(photo)
        session.click(200.0, 120.0)
        session.accept()
        assert learner.wait(120)
    (kept,) = tmp_path.glob("*.safetensors")
    assert read_adapted(kept).info.image_size == session.provenance.image_size == 1024
    session.slot.rollback(0)


def test_a_decoder_opens_in_the_size_that_it_learned_at_and_serves_in_the_other(learned, cache, sessions):
    for options, side in (({}, 64), ({"size": 512}, 32)):
        opening = Opening("nano", runtime="torch", cache_dir=cache, **options)
        session = open_session(opening, adapted=learned[1024])
        assert session.set_image(np.zeros((40, 60, 3), np.uint8)).features.shape[2] == side
        assert session.click(5, 5).decoder_version == 1
        session.close()


def test_stores_and_merges_say_the_size(base, learned, tmp_path):
    info = AdaptedInfo(model="nano", method="live", image_size=1024)
    store = DecoderStore(tmp_path, base, info, interval_s=0)
    store.offer("cells", Learned(lambda: base))
    assert read_adapted(store.path("cells")).info.image_size == 1024
    for paths, size in (([learned[512], learned[1024]], None), ([learned[1024]], 1024)):
        assert merge_adapted(paths, base, tmp_path / "m.safetensors").image_size == size
        assert read_adapted(tmp_path / "m.safetensors").info.image_size == size
    with pytest.raises(ValueError, match="size must be an integer"):
        AdaptedInfo(model="nano", method="live", image_size=True)


@pytest.fixture
def one_probe(monkeypatch):
    defaults = probes.require_parity.__kwdefaults__
    monkeypatch.setattr(probes.require_parity, "__kwdefaults__", {**defaults, "probes": PROBES[:1]})


def test_exports_take_the_size_of_their_programs_then_of_what_was_learned(learned, tmp_path, one_probe):
    out = tmp_path / "d.onnx"
    for options, size in (
        ({"format": "sam-onnx"}, 512),
        ({"format": "sam-onnx", "size": 1024}, 1024),
        ({"format": "sam-onnx", "adapted": learned[1024]}, 1024),
        ({"format": "sam-onnx", "adapted": learned[1024], "size": 512}, 512),
        ({"format": "cvat-onnx", "adapted": learned[512]}, 1024),
    ):
        manifest = export_decoder("nano", out=out, **options)
        assert manifest.image_size == Manifest.read(out).image_size == size
        assert manifest.inputs["image_embeddings"].shape == (1, 256, size // 16, size // 16)
        assert manifest.options["learned_at"] == (int(options["adapted"].stem) if "adapted" in options else None)


def test_a_triton_repository_keeps_to_one_size(learned, tmp_path, one_probe):
    options = {"format": "triton", "out": tmp_path / "repository", "encoder": False}
    export_decoder("nano", **options)
    with pytest.raises(ExportError, match=r"of a 512-px model, this decoder takes 1024 px: export it in size 512"):
        export_decoder("nano", adapted=learned[1024], **options)
    export_decoder("nano", adapted=learned[1024], size=512, **options)
    assert (tmp_path / "repository" / "nano-decoder" / "2" / "model.onnx").is_file()


def test_the_command_exports_encoder_and_decoder_that_fit(tmp_path, photo, one_probe):
    import onnxruntime

    encoder, decoder = tmp_path / "encoder.onnx", tmp_path / "decoder.onnx"
    assert run(["export", "encoder", "--size", "1024", "--out", str(encoder)]) == 0
    assert run(["export", "decoder", "--size", "1024", "--format", "sam-onnx", "--out", str(decoder)]) == 0
    first, second = (
        onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]) for path in (encoder, decoder)
    )
    feeds = probe_feeds(PROBES[0], 1024)
    (feeds["image_embeddings"],) = first.run(None, {"image": np.zeros((1, 3, 1024, 1024), np.float32)})
    masks, _, low_res = second.run(None, feeds)
    assert (masks.shape[2:], low_res.shape[2:]) == (PROBES[0].original_hw, (256, 256))


def test_embeddings_and_masks_from_the_command(tmp_path, photo, capsys, monkeypatch, cache):
    monkeypatch.setenv("LIVESAM_CACHE", str(cache))
    Image.fromarray(photo).save(tmp_path / "photo.png")
    folder = tmp_path / "embeddings"
    for size in ("512", "1024", "1024"):
        assert run(["embed", str(tmp_path / "photo.png"), "--size", size, "--out", str(folder)]) == 0
    assert "0 encoded, 1 were there already" in capsys.readouterr().out.splitlines()[-1]
    (key,) = {entry["key"] for entry in json.loads((folder / "index.json").read_text()).values()}
    assert EmbeddingCache(0, folder).get(key).features.shape == (1, 256, 64, 64)
    command = ["segment", str(tmp_path / "photo.png"), "--click", "200,120", "--out", str(tmp_path / "m.png")]
    assert run([*command, "--size", "1024", "--embeddings", str(folder)]) == 0
    assert "stored embedding" in capsys.readouterr().out


def test_the_evaluator_looks_in_the_size_asked_for(learned, photo):
    for asked, file, size in ((1024, None, 1024), (None, learned[512], None), (None, learned[1024], 1024)):
        predictor, details = open_predictor("frozen", Opening("nano", runtime="torch", size=asked), adapted=file)
        predictor.begin_set("photos", 0)
        predictor.begin_image(photo)
        assert details.get("image_size") == size
        predictor.begin_object()
        predictor.click((Click(200.0, 120.0),))
        assert predictor.steps[-1].low_res_logits.shape == ((size or 512) // 4,) * 2
