"""Encoders in int8: that they are int8, that they encode, and that masks decide whether one is let through."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from livesam.engine.models.loading import load
from livesam.engine.models.spec import ModelSpec
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.errors import ParityError, RuntimeUnavailable
from livesam.export.files.manifest import Manifest
from livesam.export.graphs import int8
from livesam.export.graphs.encoder import export_encoder
from livesam.export.graphs.graph_cache import GraphCache
from PIL import Image
from segment_anything.modeling import Sam

openvino = pytest.importorskip("openvino")


class Off:
    """nano's encoder in PyTorch, its features off by a share of their own spread."""

    def __init__(self, sam: Sam, share: float) -> None:
        from livesam.engine.runtimes.torch_encoder import TorchEncoder

        self._encoder, self._share = TorchEncoder(sam, identity="test"), share

    def encode(self, image: npt.NDArray[np.uint8]) -> ImageEmbedding:
        right = self._encoder.encode(image, "digest")
        features = right.numpy()
        noise = np.random.default_rng(0).standard_normal(features.shape, dtype=np.float32)
        return ImageEmbedding(features + self._share * features.std() * noise, right.original_hw, right.resized_hw, "")


@pytest.fixture(scope="module")
def photos() -> list[npt.NDArray[np.uint8]]:
    data = pytest.importorskip("skimage.data")
    return [np.ascontiguousarray(cv2.resize(photo, (240, 180))) for photo in (data.astronaut(), data.coffee())]


@pytest.fixture(scope="module")
def small_int8(
    small_sam: Sam, small_spec: ModelSpec, photos: list[Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """A small random ViT in fp32, and in int8 whatever its masks; they need nncf."""
    pytest.importorskip("nncf")
    folder = tmp_path_factory.mktemp("int8")
    fp32, target = folder / "encoder.onnx", folder / "encoder-int8.xml"
    export_encoder(small_sam, small_spec, fp32, rel_pos="bias")
    int8.quantised_encoder(target, fp32, small_sam, photos, least_iou=0.0, origin="two photos")
    return fp32, target


def test_a_vit_in_int8_encodes_nearly_the_same(small_int8: tuple[Path, Path], photos: list[Any]) -> None:
    from livesam.engine.runtimes.openvino import OvEncoder

    fp32, got = OvEncoder(small_int8[0]), OvEncoder(small_int8[1])
    assert got.runtime == "openvino:cpu:int8"
    assert got.key("digest") != fp32.key("digest")
    right, found = (encoder.encode(photos[1]).numpy() for encoder in (fp32, got))
    assert 1e-4 < np.linalg.norm(found - right) / np.linalg.norm(right) < 0.35  # unrelated features are 1.4 apart


def test_its_products_are_int8_and_its_manifest_says_how_it_was_made(small_int8: tuple[Path, Path]) -> None:
    fp32, target = small_int8
    ops = openvino.Core().read_model(str(target)).get_ops()
    assert sum(op.get_type_name() == "FakeQuantize" for op in ops) > 10
    assert sum(op.get_type_name() == "Constant" and str(op.get_element_type()).endswith("'int8_t'>") for op in ops) > 10
    assert target.with_suffix(".bin").stat().st_size < 0.5 * fp32.stat().st_size
    manifest = Manifest.read(target)
    manifest.verify(target.parent)
    assert manifest.precision == "int8"
    assert manifest.options == {"calibrated_on": "two photos", "parts": 5}
    assert manifest.parity["photos"] == 1
    assert 0 <= manifest.parity["least_iou"] <= manifest.parity["mean_iou"] <= 1
    assert "nncf" in manifest.versions


def test_other_masks_are_refused_with_numbers_and_nothing_is_written(
    small_int8: tuple[Path, Path], small_sam: Sam, photos: list[Any], tmp_path: Path
) -> None:
    with pytest.raises(ParityError, match=r"IoU 0\.\d+ .* over \d+ masks of 1 photos .* 0\.95 is wanted"):
        int8.quantised_encoder(tmp_path / "e.xml", small_int8[0], small_sam, photos, least_iou=0.95)
    assert list(tmp_path.iterdir()) == []


def test_masks_decide_in_both_directions(photos: list[Any]) -> None:
    sam = load("nano")
    right: Any = Off(sam, 0.0)
    same = int8._agreement(sam, photos, right, right)
    assert (same.mean_iou, same.photos) == (1.0, 2)
    near: Any = Off(sam, 0.02)  # about what bf16 does to nano
    far: Any = Off(sam, 1.0)
    int8._agreement(sam, photos, right, near).require(int8.MASK_IOU, "the encoder")
    with pytest.raises(ParityError, match="the encoder in int8 gives other masks"):
        int8._agreement(sam, photos, right, far).require(int8.MASK_IOU, "the encoder")


def test_a_session_encodes_in_int8_and_decodes_in_fp32(photos: list[Any], tmp_path: Path) -> None:
    """nano's int8 is let through here by force: its masks are not those of fp32."""
    pytest.importorskip("nncf")
    from livesam.export.opening import Opening, open_encoder, open_session

    graphs = GraphCache("nano", cache_dir=tmp_path)
    int8.quantised_encoder(
        graphs.folder / "encoder-int8.xml", graphs.encoder("fp32"), graphs.sam(), photos, least_iou=0.0
    )
    opening = Opening("nano", runtime="openvino", precision="int8", cache_dir=tmp_path)
    session, right = open_session(opening), open_session(Opening("nano", runtime="openvino", cache_dir=tmp_path))
    assert session.encoder.runtime == "openvino:cpu:int8"
    assert session.slot.runtime == "openvino:cpu:fp32"
    for one in (session, right):
        one.set_image(photos[0])
    a, b = (one.click(120.0, 90.0).mask for one in (session, right))
    assert (a & b).sum() / (a | b).sum() > 0.5
    with pytest.raises(RuntimeUnavailable, match="one image at a time"):
        open_encoder(opening, batch=2)


def test_what_is_missing_is_said(
    small_int8: tuple[Path, Path], small_sam: Sam, photos: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="at least 2 photos"):
        int8.quantised_encoder(tmp_path / "e.xml", small_int8[0], small_sam, photos[:1])
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(RuntimeUnavailable, match=r"pip install 'livesam\[cpu,int8\]'"):
        int8.quantised_encoder(tmp_path / "e.xml", small_int8[0], small_sam, photos)


def test_a_folder_of_the_users_calibrates(photos: list[Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has 0 images"):
        int8.calibration_photos(tmp_path)
    (tmp_path / "notes.txt").write_text("no photo")
    (tmp_path / "broken.png").write_bytes(b"no photo either")
    for index, photo in enumerate(photos):
        Image.fromarray(photo).save(tmp_path / f"{index}.png")
    found, origin = int8.calibration_photos(tmp_path)
    assert [photo.shape for photo in found] == [(180, 240, 3)] * 2
    assert origin == f"2 photos of {tmp_path.name}"
    assert len(int8.calibration_photos()[0]) == 6
