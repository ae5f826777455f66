"""Each format through the program that it is for."""

import json
import re
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from livesam.app.main import run
from livesam.engine.files.hashing import weights_hash
from livesam.engine.models.adapted import load_adapted, read_adapted
from livesam.engine.models.loading import build, decoder_weights
from livesam.engine.models.spec import MODELS
from livesam.engine.values.errors import ExportError, ParityError
from livesam.export.decoder_export import FORMATS, export_decoder, export_sam
from livesam.export.files.manifest import Manifest
from livesam.export.foreign.inspect_child import look
from livesam.export.formats import hf, probes, triton
from livesam.export.formats.probes import PROBES, probe_feeds, reference
from livesam.export.formats.source import DecoderSource, with_decoder
from livesam.export.graphs.official_graph import Dialect


@pytest.fixture(scope="module")
def weights(small_sam):
    rng = np.random.default_rng(7)
    return {
        key: value + rng.normal(0, 2e-3, value.shape).astype(np.float32)
        for key, value in decoder_weights(small_sam).items()
    }


@pytest.fixture
def few_probes(monkeypatch):
    """The formats' own check on three prompts; the full table is test_official_graph's business."""
    monkeypatch.setattr(
        probes.require_parity,
        "__kwdefaults__",
        {
            **probes.require_parity.__kwdefaults__,
            "probes": (PROBES[0], PROBES[3], PROBES[6]),
        },
    )


def run_onnx(path, feeds):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def worst(got, want):
    return float(np.abs(got - want).max()) / (float(want.max() - want.min()) or 1.0)


def leftovers(folder: Path):
    return [p.name for p in folder.rglob("*") if p.name.endswith(".tmp")]


def test_the_source_model_is_left_as_it_is(small_sam, small_spec, weights):
    before = weights_hash(decoder_weights(small_sam))
    source = DecoderSource.of(small_sam, small_spec, weights=weights)
    assert weights_hash(decoder_weights(small_sam)) == before
    assert weights_hash(decoder_weights(source.sam)) == weights_hash(weights)
    assert source.sam.image_encoder is small_sam.image_encoder


def test_sam_onnx_masks_survive_the_round_trip(small_sam, small_spec, weights, tmp_path, few_probes):
    out = tmp_path / "decoder.onnx"
    manifest = export_sam(small_sam, small_spec, format="sam-onnx", out=out, weights=weights, single=True)
    feeds = probe_feeds(PROBES[0], 256, seed=11)
    want = reference(with_decoder(small_sam, weights), feeds, Dialect(single=True))
    got = run_onnx(out, feeds)
    np.testing.assert_array_equal(got["masks"] > 0, want["masks"] > 0)
    assert out.stat().st_size < 17e6
    assert sorted(p.name for p in tmp_path.iterdir()) == ["decoder.onnx", "decoder.onnx.json"]
    assert Manifest.read(out).weights_hash == manifest.weights_hash == weights_hash(weights)
    assert {d["output"].split(" for ")[0] for d in manifest.parity["differences"]} == set(want)
    # What a manifest says was compared is what was compared, also when that was less than usual.
    assert manifest.parity["prompts"] == [PROBES[i].kind for i in (0, 3, 6)]
    assert "3 kinds of prompts" in manifest.parity["claim"]


def test_a_failed_check_leaves_nothing_but_the_report(small_sam, small_spec, weights, tmp_path, monkeypatch):
    out = tmp_path / "new" / "decoder.onnx"
    monkeypatch.setattr(probes, "reference", lambda sam, feeds, dialect: reference(small_sam, feeds, dialect))
    with pytest.raises(ParityError, match=r"decoder\.onnx: .* differs from PyTorch by .* nothing was written"):
        export_sam(small_sam, small_spec, format="sam-onnx", out=out, weights=weights)
    assert list((tmp_path / "new").iterdir()) == []


def test_a_failed_check_leaves_the_earlier_file(small_sam, small_spec, weights, tmp_path, monkeypatch):
    out = tmp_path / "decoder.onnx"
    out.write_bytes(b"earlier")
    monkeypatch.setattr(probes, "reference", lambda sam, feeds, dialect: reference(small_sam, feeds, dialect))
    with pytest.raises(ParityError):
        export_sam(small_sam, small_spec, format="sam-onnx", out=out, weights=weights)
    assert out.read_bytes() == b"earlier"
    assert [p.name for p in tmp_path.iterdir()] == ["decoder.onnx"]


def test_sam_pth_is_flat_float32_and_official(small_sam, small_spec, weights, tmp_path):
    import torch

    out = tmp_path / "sam.pth"
    manifest = export_sam(small_sam, small_spec, format="sam-pth", out=out, weights=weights)
    assert "no prompt was run" in manifest.parity["claim"]
    state = torch.load(out, map_location="cpu", weights_only=True)
    assert list(state) == list(small_sam.state_dict())
    assert {value.dtype for value in state.values()} == {torch.float32}
    for key, value in weights.items():
        np.testing.assert_array_equal(state[f"mask_decoder.{key}"].numpy(), value)


@pytest.mark.slow
def test_sam_pth_through_the_official_registry_and_predictor(tmp_path):
    import torch
    from segment_anything import SamPredictor, sam_model_registry

    sam = build("vit_b")
    rng = np.random.default_rng(0)
    weights = {k: v + rng.normal(0, 2e-3, v.shape).astype(np.float32) for k, v in decoder_weights(sam).items()}
    out = tmp_path / "sam_vit_b.pth"
    export_sam(sam, MODELS["vit_b"], format="sam-pth", out=out, weights=weights)
    loaded, wanted = sam_model_registry["vit_b"](checkpoint=str(out)), with_decoder(sam, weights)
    for key, value in wanted.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key
    answers = []
    for model in (loaded.eval(), wanted):
        predictor = SamPredictor(model)
        # The encoders were just found equal; encoding a picture twice would take most of a minute.
        predictor.features = torch.from_numpy(probe_feeds(PROBES[0], 1024)["image_embeddings"])
        predictor.original_size, predictor.input_size, predictor.is_image_set = (300, 400), (768, 1024), True
        answers.append(predictor.predict(np.array([[200.0, 120.0]]), np.array([1]), return_logits=True))
    for got, want in zip(*answers, strict=True):
        np.testing.assert_array_equal(got, want)


def test_safetensors_come_back_bit_for_bit(small_sam, small_spec, weights, tmp_path):
    base = decoder_weights(small_sam)
    full, small = tmp_path / "decoder.safetensors", tmp_path / "learned.safetensors"
    export_sam(small_sam, small_spec, format="safetensors", out=full, weights=weights)
    export_sam(small_sam, small_spec, format="safetensors", out=small, weights=weights, difference=True)
    assert weights_hash(load_adapted(full, base)) == weights_hash(weights)
    assert full.stat().st_size < 17e6
    assert small.stat().st_size < full.stat().st_size * 0.51
    found = load_adapted(small, base)
    learned = max(float(np.abs(weights[key] - base[key]).max()) for key in base)
    assert max(float(np.abs(found[key] - weights[key]).max()) for key in base) < 1e-3 * learned
    assert read_adapted(small).info.method == "unnamed"


def test_cvat_wants_the_1024_px_embedding(small_sam, small_spec, tmp_path):
    with pytest.raises(ExportError, match="64x64 embeddings"):
        export_sam(small_sam, small_spec, format="cvat-onnx", out=tmp_path / "decoder.onnx")
    assert list(tmp_path.iterdir()) == []


def test_hf_folder_through_transformers(small_sam, small_spec, weights, tmp_path, photo):
    import torch
    import transformers
    from segment_anything import SamPredictor

    out = tmp_path / "hf"
    manifest = export_sam(small_sam, small_spec, format="hf", out=out, weights=weights)
    assert manifest.parity["prompts"] == [probe.kind for probe in hf._LAWFUL]
    assert "image encoder was not run" in manifest.parity["claim"]
    transformers.logging.disable_progress_bar()
    model = transformers.SamModel.from_pretrained(out).eval()
    processor = transformers.SamProcessor.from_pretrained(out)
    predictor = SamPredictor(with_decoder(small_sam, weights))
    predictor.set_image(photo)
    # Their processor resizes with another filter than PIL's, so both encoders get the official pixels.
    pixels = predictor.model.preprocess(
        torch.as_tensor(predictor.transform.apply_image(photo)).permute(2, 0, 1)[None].float()
    )
    with torch.no_grad():
        theirs = model.get_image_embeddings(pixels)
    assert worst(theirs.numpy(), predictor.features.numpy()) < 1e-4
    # The prompt goes through their processor; the embedding is the same for both.
    inputs = processor(photo.copy(), input_points=[[[200, 120]]], return_tensors="pt")
    with torch.no_grad():
        answer = model(
            image_embeddings=predictor.features,
            input_points=inputs["input_points"],
            input_labels=inputs.get("input_labels", torch.ones(1, 1, 1, dtype=torch.int64)),
            multimask_output=True,
        )
    _, ious, low_res = predictor.predict(np.array([[200.0, 120.0]]), np.array([1]))
    assert worst(answer.pred_masks[0, 0].numpy(), low_res) < 1e-4
    np.testing.assert_allclose(answer.iou_scores[0, 0].numpy(), ious, atol=1e-5)
    assert leftovers(tmp_path) == []


def test_hf_refuses_models_without_a_class_there(nano_sam, tmp_path):
    with pytest.raises(ExportError, match="only vit_b, vit_l and vit_h"):
        export_sam(nano_sam, MODELS["nano"], format="hf", out=tmp_path / "hf")
    assert list(tmp_path.iterdir()) == []


def test_openvino_model_gives_pytorch_masks(small_sam, small_spec, weights, tmp_path, few_probes):
    from livesam.export.formats.openvino import openvino_runner

    out = tmp_path / "decoder.xml"
    export_sam(small_sam, small_spec, format="openvino", out=out, weights=weights)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["decoder.bin", "decoder.xml", "decoder.xml.json"]
    run, _ = openvino_runner(out)
    for probe in (PROBES[1], PROBES[7], PROBES[8]):
        feeds = probe_feeds(probe, 256, seed=11)
        want = reference(with_decoder(small_sam, weights), feeds)
        assert worst(run(feeds)["masks"], want["masks"]) < 1e-4


def test_triton_repository_serves_by_its_own_configuration(small_sam, small_spec, weights, tmp_path, few_probes):
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    out = tmp_path / "repository"
    export_sam(small_sam, small_spec, format="triton", out=out, name="cells")
    first = (out / "cells-decoder" / "1" / "model.onnx").read_bytes()
    export_sam(small_sam, small_spec, format="triton", out=out, name="cells", weights=weights)
    assert (out / "cells-decoder" / "1" / "model.onnx").read_bytes() == first
    kinds = {"TYPE_FP32": "tensor(float)"}
    for name in ("cells-encoder", "cells-decoder"):
        config = text_format.Parse((out / name / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())
        assert config.name == name
        version = max(int(p.name) for p in (out / name).iterdir() if p.name.isdecimal())
        path = out / name / str(version) / config.default_model_filename
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        batch = [] if config.max_batch_size == 0 else [-1]
        for tensors, theirs in ((config.input, session.get_inputs()), (config.output, session.get_outputs())):
            assert [t.name for t in tensors] == [t.name for t in theirs]
            for ours, its in zip(tensors, theirs, strict=True):
                assert [*batch, *ours.dims] == [d if isinstance(d, int) else -1 for d in its.shape]
                assert kinds[model_config_pb2.DataType.Name(ours.data_type)] == its.type
        if name == "cells-encoder":
            assert config.max_batch_size == 8
            assert config.HasField("dynamic_batching")
        else:
            assert (version, config.max_batch_size) == (2, 0)
            assert not config.HasField("dynamic_batching")
            assert config.version_policy.latest.num_versions == 2
            feeds = probe_feeds(PROBES[5], 256, seed=11)
            want = reference(with_decoder(small_sam, weights), feeds)
            assert worst(run_onnx(path, feeds)["masks"], want["masks"]) < 1e-4
    assert "--model-control-mode=explicit" in (out / "README.md").read_text()
    assert leftovers(tmp_path) == []
    lasting = json.loads((out / "manifest.json").read_text())
    assert not any(file.startswith("cells-decoder/1") for file in lasting["files"])
    for number in ("1", "2"):  # complete in itself: it was renamed into place with its manifest
        assert sorted(p.name for p in (out / "cells-decoder" / number).iterdir()) == ["model.onnx", "model.onnx.json"]
        Manifest.read(out / "cells-decoder" / number / "model.onnx").verify(out / "cells-decoder" / number)
    assert Manifest.read(out / "cells-decoder" / "2" / "model.onnx").weights_hash == weights_hash(weights)
    found = look(out)
    assert found.summary.endswith("2 versions")
    assert found.method == "unnamed"
    assert found.details["decoders"][1]["method"] == "base"

    other = {key: value * np.float32(1.01) for key, value in decoder_weights(small_sam).items()}
    with pytest.raises(ExportError, match="base_sha256"):
        export_sam(with_decoder(small_sam, other), small_spec, format="triton", out=out, name="cells")
    assert not (out / "cells-decoder" / "3").exists()

    (out / "cells-decoder" / "2" / "model.onnx.json").unlink()
    with pytest.raises(ExportError, match="not a livesam manifest"):
        look(out)


@pytest.mark.parametrize("step", ["write", "sync"])
def test_a_triton_version_appears_whole_or_not_at_all(
    small_sam, small_spec, weights, tmp_path, few_probes, monkeypatch, step
):
    out = tmp_path / "repository"
    export_sam(small_sam, small_spec, format="triton", out=out, name="cells", encoder=False)
    before = sorted(p.relative_to(out).as_posix() for p in out.rglob("*"))
    top = (out / "manifest.json").read_bytes()

    def fail(*_):
        assert not (out / "cells-decoder" / "2").exists()
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        if step == "write":
            patch.setattr(Manifest, "write", fail)  # the graph is there, its manifest is not
        else:
            patch.setattr(triton, "sync_tree", fail)
        with pytest.raises(ExportError, match="No space left"):
            export_sam(small_sam, small_spec, format="triton", out=out, name="cells", weights=weights)
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*")) == before
    export_sam(small_sam, small_spec, format="triton", out=out, name="cells", weights=weights)
    assert (out / "cells-decoder" / "2" / "model.onnx").is_file()
    assert (out / "manifest.json").read_bytes() == top


def test_a_folder_that_no_export_wrote_is_left_alone(small_sam, small_spec, tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ExportError, match="holds files that no export wrote"):
        export_sam(small_sam, small_spec, format="triton", out=tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["letter.txt"]


def test_unknown_formats_and_options_are_named(small_sam, small_spec, tmp_path):
    with pytest.raises(ValueError, match="unknown format 'gguf': choose one of sam-pth, sam-onnx"):
        export_decoder("nano", format="gguf", out=tmp_path / "x")
    with pytest.raises(ValueError, match="sam-pth has no option single; it takes: none"):
        export_sam(small_sam, small_spec, format="sam-pth", out=tmp_path / "x.pth", single=True)
    with pytest.raises(ValueError, match="not both"):
        export_decoder("nano", format="sam-pth", out=tmp_path / "x.pth", adapted=tmp_path / "a", weights={})
    with pytest.raises(ValueError, match="120 tensors"):
        export_sam(small_sam, small_spec, format="sam-pth", out=tmp_path / "x.pth", weights={})


@pytest.mark.parametrize(
    ("format", "name", "told"),
    [
        ("sam-pth", "d.onnx", r"sam-pth writes a file that ends in \.pth or \.pt, got '.*d\.onnx'"),
        ("sam-onnx", "d", r"sam-onnx writes a file that ends in \.onnx, got '.*d'"),
        ("openvino", "d.bin", r"openvino writes a file that ends in \.xml, got '.*d\.bin'"),
        ("tensorrt", "d.trt", r"tensorrt writes a file that ends in \.plan, got '.*d\.trt'"),
        ("safetensors", "d.pt", r"safetensors writes a file that ends in \.safetensors, got '.*d\.pt'"),
        ("hf", "d.safetensors", r"hf writes a folder, got the name of a file: '.*d\.safetensors'"),
        ("triton", "d.onnx", r"triton writes a folder, got the name of a file: '.*d\.onnx'"),
    ],
)
def test_a_suffix_that_is_not_the_formats_is_refused(format, name, told, small_sam, small_spec, tmp_path, capsys):
    with pytest.raises(ValueError, match=told):
        export_sam(small_sam, small_spec, format=format, out=tmp_path / name)
    assert run(["export", "decoder", "--format", format, "--out", str(tmp_path / name)]) == 2
    assert re.search(told, capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []


def test_suffixes_have_more_than_one_spelling_and_folders_may_have_dots(small_sam, small_spec, tmp_path):
    for name in ("d.pt", "D.PTH"):
        export_sam(small_sam, small_spec, format="sam-pth", out=tmp_path / name)
        assert (tmp_path / name).is_file()
    FORMATS["triton"].check(tmp_path / "cells.v2")


def test_every_format_has_a_writer_with_documented_options():
    for entry in FORMATS.values():
        document = entry.writer().__doc__ or ""
        assert document
        assert all(f"{option}:" in document for option in entry.options()), entry.name
