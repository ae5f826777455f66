"""Exports used as other programs use them, with what those programs do wrong or differently."""

import base64
import io
import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import yaml
from livesam.engine.models import loading as models
from livesam.engine.models.spec import PIXEL_MEAN, PIXEL_STD, ModelSpec, spec
from livesam.engine.values.errors import ExportError
from livesam.engine.view.geometry import prepare
from livesam.export.decoder_export import export_decoder, export_sam
from livesam.export.formats import probes
from livesam.export.formats.probes import PROBES, probe_feeds, reference
from livesam.export.graphs.encoder import export_encoder
from livesam.export.graphs.official_graph import OUTPUTS, Dialect
from PIL import Image


@pytest.fixture(autouse=True)
def one_probe(monkeypatch):
    """The exports' own check on one prompt; the full table is test_official_graph's business."""
    defaults = probes.require_parity.__kwdefaults__
    monkeypatch.setattr(probes.require_parity, "__kwdefaults__", {**defaults, "probes": PROBES[:1]})


@pytest.fixture(scope="module")
def framed():
    """A small model in SAM's own frame of 1024 px."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        sam = models.assemble(models.vit_encoder(32, 2, 2, (1,), 1024), 1024)
        models.randomise_constants(sam)
    return sam, ModelSpec("vit_t", 1024, None)


def run(path, **feeds):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return dict(zip((output.name for output in session.get_outputs()), session.run(None, feeds), strict=True))


def share(got, want):
    return float(np.abs(got - want).max()) / float(np.ptp(want))


class XAnyLabeling:
    """What X-AnyLabeling and AnyLabeling do with a custom model of type ``segment_anything``."""

    CANVAS_HW = (684, 1024)

    def __init__(self, config: Path):
        self.config = yaml.safe_load(config.read_text())
        self.encoder, self.decoder = (self.find(config, self.config[f"{kind}_model_path"]) for kind in KINDS)

    @staticmethod
    def find(config: Path, name: str) -> Path:
        """The working directory comes before the YAML's folder."""
        return next(path for path in (Path(name), config.parent / name) if path.exists()).resolve()

    def warp(self, photo):
        height, width = photo.shape[:2]
        scale = min(self.CANVAS_HW[1] / width, self.CANVAS_HW[0] / height)
        matrix = np.array([[scale, 0, 0], [0, scale, 0], [0, 0, 1]])
        return matrix, cv2.warpAffine(photo, matrix[:2], self.CANVAS_HW[::-1], flags=cv2.INTER_LINEAR)

    def click(self, photo, x, y):
        matrix, canvas = self.warp(photo)
        embedding = run(self.encoder, input_image=canvas.astype(np.float32))["image_embeddings"]
        point = (matrix @ [x, y, 1])[:2]
        masks = run(
            self.decoder,
            image_embeddings=embedding,
            point_coords=np.array([[point, [0, 0]]], np.float32),
            point_labels=np.array([[1, -1]], np.float32),
            mask_input=np.zeros((1, 1, 256, 256), np.float32),
            has_mask_input=np.zeros(1, np.float32),
            orig_im_size=np.array(self.CANVAS_HW, np.float32),
        )["masks"]
        return embedding, masks


KINDS = ("encoder", "decoder")


@pytest.fixture(scope="module")
def anylabeling(framed, tmp_path_factory):
    """Two folders, of a base's decoder and of another one's."""
    root = tmp_path_factory.mktemp("anylabeling")
    weights = {key: value * np.float32(1.01) for key, value in models.decoder_weights(framed[0]).items()}
    with pytest.MonkeyPatch.context() as patch:
        defaults = probes.require_parity.__kwdefaults__
        patch.setattr(probes.require_parity, "__kwdefaults__", {**defaults, "probes": PROBES[:1]})
        export_sam(*framed, format="x-anylabeling", out=root / "base", name="cells", display_name='a "b": c')
        export_sam(*framed, format="x-anylabeling", out=root / "learned", name="cells", weights=weights)
    return root


@pytest.mark.parametrize("hw", [(684, 1024), (512, 512), (400, 1000), (900, 300)], ids=str)
def test_x_anylabeling_sees_sams_embedding_on_photos_that_do_not_fill_its_canvas(framed, anylabeling, photo, hw):
    sam, _ = framed
    client = XAnyLabeling(anylabeling / "base" / "model.yaml")
    picture = cv2.resize(photo, hw[::-1])
    embedding, masks = client.click(picture, hw[1] / 2, hw[0] / 2)

    _, canvas = client.warp(picture)
    height, width = np.argwhere(canvas.any(axis=2)).max(axis=0) + 1
    pixels = np.zeros((1, 3, 1024, 1024), np.float32)
    seen = (canvas[:height, :width] - np.array(PIXEL_MEAN)) / np.array(PIXEL_STD)
    pixels[0, :, :height, :width] = seen.transpose(2, 0, 1)
    with torch.no_grad():
        want = sam.image_encoder(torch.from_numpy(pixels)).numpy()
    assert share(embedding, want) < 1e-4

    scale = min(1024 / hw[1], 684 / hw[0])
    feeds = probe_feeds(PROBES[0], 1024)
    feeds["image_embeddings"] = want
    feeds["point_coords"] = np.array([[[hw[1] / 2 * scale, hw[0] / 2 * scale], [0, 0]]], np.float32)
    feeds["orig_im_size"] = np.array(XAnyLabeling.CANVAS_HW, np.float32)
    assert share(masks, reference(sam, feeds, Dialect(single=True))["masks"]) < 1e-3


def test_x_anylabeling_takes_black_pictures_and_dark_borders(anylabeling):
    client = XAnyLabeling(anylabeling / "base" / "model.yaml")
    black, framed_in_black = np.zeros((684, 1024, 3), np.float32), np.zeros((684, 1024, 3), np.float32)
    framed_in_black[:10, 20:30] = 50  # black on the left and between is the photo's own
    one, other = (run(client.encoder, input_image=image)["image_embeddings"] for image in (black, framed_in_black))
    assert np.isfinite(one).all()
    assert np.isfinite(other).all()


def test_x_anylabeling_loads_the_folder_that_was_chosen_wherever_it_was_started(anylabeling, monkeypatch):
    base, learned = (anylabeling / name / "model.yaml" for name in ("base", "learned"))
    monkeypatch.chdir(base.parent)
    client = XAnyLabeling(learned)
    assert {client.encoder.parent, client.decoder.parent} == {learned.parent}
    assert client.encoder.name.startswith("cells-")
    assert XAnyLabeling(base).config["display_name"] == 'a "b": c'
    config = client.config
    assert (config["type"], config["input_size"], config["max_width"], config["max_height"]) == (
        "segment_anything",
        1024,
        1024,
        682,
    )


def test_graphs_name_their_operator_set_once(framed, anylabeling, small_sam, small_spec, tmp_path):
    export_encoder(small_sam, small_spec, tmp_path / "uint8.onnx", uint8_input=True)
    for path in (tmp_path / "uint8.onnx", *(anylabeling / "base").glob("*.onnx")):
        model = onnx.load(path)
        assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)], path.name
        onnx.checker.check_model(model)


def test_programs_that_know_1024_px_only_get_no_other_size(small_sam, small_spec, tmp_path):
    for format, name in (("x-anylabeling", "out"), ("cvat-onnx", "out.onnx"), ("cvat", "out")):
        with pytest.raises(ExportError, match="export it in size 1024"):
            export_sam(small_sam, small_spec, format=format, out=tmp_path / name)
        with pytest.raises(ValueError, match=f"programs that read {format} know 1024 px only, got size 512"):
            export_decoder("nano", format=format, size=512, out=tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_programs_that_know_1024_px_only_get_it_from_a_nano_that_is_open_at_512(tmp_path):
    sam = models.load("nano")
    weights = {key: value + np.float32(1e-3) for key, value in models.decoder_weights(sam).items()}
    manifest = export_sam(sam, spec("nano"), format="cvat-onnx", out=tmp_path / "decoder.onnx", weights=weights)
    assert (manifest.image_size, manifest.options["learned_at"]) == (1024, 512)
    assert manifest.inputs["image_embeddings"].shape == (1, 256, 64, 64)
    assert sam.image_encoder.img_size == 512


@pytest.fixture(scope="module")
def openvino_file(small_sam, small_spec, tmp_path_factory):
    out = tmp_path_factory.mktemp("openvino") / "decoder.xml"
    export_sam(small_sam, small_spec, format="openvino", out=out)
    return out


def openvino_answers(path, feeds, **config):
    import openvino

    compiled = openvino.Core().compile_model(str(path), "CPU", config)
    assert [output.get_any_name() for output in compiled.outputs] == list(OUTPUTS)
    return [{name: np.array(answer[name]) for name in OUTPUTS} for answer in map(compiled, feeds)]


def test_openvino_without_a_precision_hint_gives_masks_of_the_photos_size(small_sam, openvino_file):
    sizes = [(299, 448), (1079, 1919), (257, 3), (2047, 1365), (4001, 31)]
    feeds = [{**probe_feeds(PROBES[0], 256), "orig_im_size": np.array(size, np.float32)} for size in sizes]
    for size, got in zip(sizes, openvino_answers(openvino_file, feeds), strict=True):
        assert got["masks"].shape == (1, 4, *size)
        # Where bf16 rounds, masks differ a little; a crop at another place would move all of it.
        assert share(got["masks"], reference(small_sam, {**feeds[0], "orig_im_size": np.array(size)})["masks"]) < 0.1


def test_openvino_without_a_precision_hint_tells_clicks_apart_that_bf16_does_not(openvino_file):
    feeds = [probe_feeds(PROBES[0], 256) for _ in range(2)]
    feeds[0]["point_coords"][0, 0], feeds[1]["point_coords"][0, 0] = (254.6, 131.0), (255.4, 131.0)
    one, other = openvino_answers(openvino_file, feeds)
    assert not np.array_equal(one["low_res_masks"], other["low_res_masks"])


def test_transformers_before_5_finds_its_processor(small_sam, small_spec, photo, tmp_path):
    """Version 4 reads ``preprocessor_config.json`` and asks it for the classes; it has no ``processor_config.json``."""
    import transformers

    export_sam(small_sam, small_spec, format="hf", out=tmp_path / "hf")
    assert not (tmp_path / "hf" / "processor_config.json").exists()
    settings = json.loads((tmp_path / "hf" / "preprocessor_config.json").read_text())
    assert (settings.pop("processor_class"), settings["image_processor_type"]) == ("SamProcessor", "SamImageProcessor")
    by_hand = getattr(transformers, settings.pop("image_processor_type"))(**settings)
    for processor in (by_hand, transformers.AutoProcessor.from_pretrained(tmp_path / "hf").image_processor):
        pixels = processor(photo.copy(), return_tensors="np")["pixel_values"]
        assert pixels.shape == (1, 3, 256, 256)
        assert np.abs(pixels - prepare(photo, 256)).mean() < 0.02  # their filter is not PIL's


def test_cvats_server_gets_embeddings_from_the_function_for_the_decoder_beside_it(framed, photo, tmp_path):
    """As nuclio calls it: ``init_context`` once, then ``handler`` with CVAT's request."""
    sam, _ = framed
    manifest = export_sam(*framed, format="cvat", out=tmp_path / "cvat")
    assert sorted(manifest.files) == ["decoder.onnx", "nuclio/encoder.onnx", "nuclio/function.yaml", "nuclio/main.py"]
    function = yaml.safe_load((tmp_path / "cvat" / "nuclio" / "function.yaml").read_text())
    assert function["metadata"]["name"] == "pth-facebookresearch-sam-vit-h"  # what the plugin asks for
    assert all(isinstance(value, str) for value in function["metadata"]["annotations"].values())
    module, name = function["spec"]["handler"].split(":")
    main = runpy.run_path(str(tmp_path / "cvat" / "nuclio" / f"{module}.py"))

    picture = photo[:300]
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    context = SimpleNamespace(user_data=SimpleNamespace(), Response=SimpleNamespace)
    main["init_context"](context)
    answer = main[name](context, SimpleNamespace(body={"image": base64.b64encode(file.getvalue()).decode()}))
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    embedding = np.frombuffer(base64.b64decode(json.loads(answer.body)["blob"]), np.float32).reshape(1, 256, 64, 64)
    with torch.no_grad():
        assert share(embedding, sam.image_encoder(torch.from_numpy(prepare(picture, 1024))).numpy()) < 1e-4
    feeds = probe_feeds(PROBES[0], 1024)
    feeds["image_embeddings"] = embedding
    assert run(tmp_path / "cvat" / "decoder.onnx", **feeds)["masks"].dtype == np.uint8


def test_tritons_encoder_takes_a_picture_as_uint8(small_sam, small_spec, photo, tmp_path):
    out = tmp_path / "repository"
    export_sam(small_sam, small_spec, format="triton", out=out, name="cells", uint8_input=True)
    config = (out / "cells-encoder" / "config.pbtxt").read_text()
    assert 'input { name: "image" data_type: TYPE_UINT8 dims: [ -1, -1, 3 ] }' in config
    assert 'output { name: "embedding" data_type: TYPE_FP32 dims: [ 1, 256, 16, 16 ] }' in config
    assert "max_batch_size: 0" in config
    assert "dynamic_batching" not in config
    assert "uint8 `(H, W, 3)`" in (out / "README.md").read_text()
    resized = np.asarray(Image.fromarray(photo).resize((256, 256), Image.Resampling.BILINEAR))
    got = run(out / "cells-encoder" / "1" / "model.onnx", image=resized)["embedding"]
    with torch.no_grad():
        assert share(got, small_sam.image_encoder(torch.from_numpy(prepare(photo, 256))).numpy()) < 1e-4
