"""Encoders in int8 for OpenVINO, calibrated on real photos and let through only where masks stay those of float32."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from livesam.engine.files.hashing import file_sha256
from livesam.engine.values.errors import ExportError, ImageError, ParityError, RuntimeUnavailable
from livesam.engine.view.geometry import ResizeGeometry, postprocess, prepare
from livesam.export.files.manifest import Manifest, versions
from livesam.export.files.staging import staged

if TYPE_CHECKING:
    from livesam.engine.values.protocols import ImageEncoder
    from segment_anything.modeling import Sam

Image = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

MASK_IOU = 0.98  # on average, with the masks of float32; bf16 measures 0.983 and more on these photos with nano
MOST_PHOTOS = 24  # of a folder: half of them calibrate
GRID = (0.25, 0.5, 0.75)  # of the clicks, as shares of width and height
TINY = 1e-3  # of the image: masks of a few pixels say nothing about precision


@dataclass(frozen=True)
class Agreement:
    """How far masks stay what they were, over all clicks on all photos.

    Attributes:
        mean_iou, least_iou: with the masks of float32.
        masks, photos: how many.
    """

    mean_iou: float
    least_iou: float
    masks: int
    photos: int

    def require(self, least: float, what: str) -> None:
        """Raise unless masks stay the same.

        Raises:
            ParityError: with both numbers, and what to do.
        """
        if not self.mean_iou >= least:
            raise ParityError(
                f"{what} in int8 gives other masks: IoU {self.mean_iou:.3f} with those of fp32 on average over "
                f"{self.masks} masks of {self.photos} photos (the least {self.least_iou:.3f}), {least:g} is wanted; "
                "nothing was written: use fp32 or bf16, or calibrate with photos of your own"
            )


def quantised_encoder(
    path: Path, source: Path, sam: Sam, photos: Sequence[Image], *, least_iou: float = MASK_IOU, origin: str = ""
) -> Manifest:
    """Write a float32 encoder graph as int8 for OpenVINO (``.xml`` and ``.bin``), with its manifest.

    Every second photo calibrates, whole and in four parts, as zoom sees them; on the others masks are compared.

    Args:
        source: the float32 graph for one image, with its manifest.
        sam: the model it was exported from; its decoder makes the masks.
        photos: at least two.
        least_iou: what masks must have on average.
        origin: where the photos come from, for the manifest.

    Raises:
        ValueError: fewer than two photos.
        RuntimeUnavailable: nncf or openvino is missing.
        ParityError: masks differ; nothing was written.
        ExportError: the file could not be written.
    """
    if len(photos) < 2:
        raise ValueError(f"int8 needs at least 2 photos, one to calibrate and one to compare, got {len(photos)}")
    from livesam.engine.runtimes.openvino import OvEncoder

    fp32 = Manifest.read(source)
    with staged(path) as target:
        _quantise(source, target, _parts(photos[::2]), fp32.image_size, transformer=fp32.model != "nano")
        files = {file.name: file_sha256(file) for file in (target, target.with_suffix(".bin"))}
        whole = f"{fp32.weights_hash} {files[target.with_suffix('.bin').name]}"
        found = replace(
            fp32,
            precision="int8",
            opset=0,
            files=files,
            weights_hash=hashlib.sha256(whole.encode()).hexdigest(),  # other photos, other features
            versions=versions(("livesam", "openvino", "nncf")),
            options={"calibrated_on": origin, "parts": 5 * len(photos[::2])},
        )
        found.write(target)  # it is read with the file
        with contextlib.closing(OvEncoder(source)) as right, contextlib.closing(OvEncoder(target)) as got:
            agreement = _agreement(sam, photos[1::2], right, got)
        agreement.require(least_iou, f"the encoder of {fp32.model}")
        found = replace(found, parity={"with": "fp32 on openvino", "least_mean_iou": least_iou, **asdict(agreement)})
        found.write(target)
    return found


def calibration_photos(folder: Path | None = None) -> tuple[list[Image], str]:
    """Photos to calibrate and compare with, and where they come from: the first of a folder, or scikit-image's.

    Raises:
        ValueError: the folder has fewer than two images.
        LivesamError: scikit-image is not installed.
    """
    from livesam.engine.files.image import SUFFIXES, read_image
    from livesam.engine.files.sample_photos import SAMPLE_PHOTOS, sample_photo

    if folder is None:
        return [sample_photo(name) for name in SAMPLE_PHOTOS], "scikit-image's photos"
    found: list[Image] = []
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if len(found) < MOST_PHOTOS and path.suffix.lower() in SUFFIXES:
            try:
                found.append(read_image(path))
            except ImageError:
                continue  # a folder of a user's may hold anything
    if len(found) < 2:
        raise ValueError(f"{folder} has {len(found)} images that can be read: give a folder with at least 2 photos")
    return found, f"{len(found)} photos of {folder.name}"


def _quantise(source: Path, target: Path, images: Sequence[Image], side: int, *, transformer: bool) -> None:
    """NNCF's post-training quantisation, written as OpenVINO's files."""
    try:
        import nncf
        import openvino
    except ImportError as error:
        raise RuntimeUnavailable(f"int8 needs nncf and openvino ({error}): pip install 'livesam[cpu,int8]'") from error
    log = logging.getLogger("nncf")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        model = openvino.Core().read_model(str(source))
        inputs = nncf.Dataset(list(images), lambda image: {"image": prepare(image, side)})
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):  # progress bars
            quantised = nncf.quantize(
                model,
                inputs,
                preset=nncf.QuantizationPreset.MIXED,
                target_device=nncf.TargetDevice.CPU,
                subset_size=len(images),
                fast_bias_correction=True,
                model_type=nncf.ModelType.TRANSFORMER if transformer else None,
            )
        openvino.save_model(quantised, str(target), compress_to_fp16=False)
    except RuntimeError as error:
        raise ExportError(f"nncf cannot quantise {source.name}: {error}") from error
    finally:
        log.setLevel(level)


def _parts(photos: Sequence[Image]) -> list[Image]:
    """Each photo, and its four overlapping parts of two thirds the sides."""
    found = []
    for photo in photos:
        height, width = photo.shape[:2]
        h, w = -(-2 * height // 3), -(-2 * width // 3)
        found.append(photo)
        found += [np.ascontiguousarray(photo[y : y + h, x : x + w]) for y in (0, height - h) for x in (0, width - w)]
    return found


def _agreement(sam: Sam, photos: Sequence[Image], right: ImageEncoder, got: ImageEncoder) -> Agreement:
    side = int(sam.image_encoder.img_size)
    ious: list[float] = []
    for photo in photos:
        geometry = ResizeGeometry.of((photo.shape[0], photo.shape[1]), side)
        tokens, wanted = _masks(sam, geometry, right.encode(photo).numpy())
        _, found = _masks(sam, geometry, got.encode(photo).numpy(), tokens)
        for a, b in zip(wanted, found, strict=True):
            if a.mean() > TINY:
                ious.append(float((a & b).sum() / (a | b).sum()))
    if not ious:
        raise ParityError("no click on these photos gives a mask that int8 could be judged by: give other photos")
    return Agreement(float(np.mean(ious)), min(ious), len(ious), len(photos))


def _masks(
    sam: Sam, geometry: ResizeGeometry, features: npt.NDArray[np.float32], tokens: Any = None
) -> tuple[Any, list[Mask]]:
    """The masks of nine clicks on a grid, at the photo's size: of ``tokens``, or of the best by predicted IoU."""
    import torch

    (h, w), places = geometry.original_hw, [(x, y) for y in GRID for x in GRID]
    clicks = geometry.to_input_frame([(x * w, y * h) for x, y in places])[:, None]  # (9, 1, 2)
    with torch.inference_mode():
        points = (torch.from_numpy(clicks), torch.ones(len(places), 1, dtype=torch.int))
        sparse, dense = sam.prompt_encoder(points=points, boxes=None, masks=None)
        logits, ious = sam.mask_decoder.predict_masks(
            image_embeddings=torch.from_numpy(features),
            image_pe=sam.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
        )
    tokens = 1 + ious[:, 1:].argmax(1).numpy() if tokens is None else tokens
    chosen = zip(logits.numpy(), tokens, strict=True)
    return tokens, [postprocess(one[token], geometry) > 0 for one, token in chosen]
