"""Training samples for nano: crops of the permissive sets, copy-paste composites and procedural images.

A sample is a pure function of (seed, index), so the order is the same on every machine, with any number of workers,
and after a restart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt
from livesam.adapter.synthetic import Ids, Image, paste, procedural
from torch.utils.data import Dataset

PERMISSIVE_SETS = (
    "src_ccp", "src_facades", "src_cats", "src2_animals", "src2_animals_coco",
    "src2_reef", "src2_railway", "src2_eggplants", "src2_food",
)  # fmt: skip
WHOLE_FOREGROUND_SETS = ("src_ccp",)  # ids are clothing pieces; their union is the person
MIN_AREA = 0.004  # of the valid part of the crop; evaluation begins at 0.005
COMPOSITE_SHARE, PROCEDURAL_SHARE = 0.15, 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """One image with its instance ids, in memory."""

    image: Image
    ids: Ids
    whole: bool  # the union of all ids is an object too


def load_sources(
    data: Path, sets: tuple[str, ...] = PERMISSIVE_SETS, progress: Callable[[int, int], None] | None = None
) -> list[Source]:
    """Read every image of the sets into memory (about 1.6 GB for all nine), in a fixed order.

    Raises:
        ValueError: a set is missing below ``data``.
    """
    paths: list[tuple[str, Path]] = []
    for name in sets:
        folder = data / name / "images"
        if not folder.is_dir():
            raise ValueError(f"{folder} is missing: --data must be the folder that holds {', '.join(sets)}")
        paths += [(name, path) for path in sorted(folder.iterdir())]
    sources = []
    for done, (name, path) in enumerate(paths):
        image = cv2.cvtColor(_read(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        ids = _read(data / name / "masks" / f"{path.stem}.png", cv2.IMREAD_UNCHANGED).astype(np.int32)
        sources.append(Source(image, ids, name in WHOLE_FOREGROUND_SETS))
        if progress and done % 100 == 0:
            progress(done, len(paths))
    return sources


def _read(path: Path, flags: int) -> Any:
    pixels = cv2.imread(str(path), flags)
    if pixels is None:
        raise ValueError(f"{path} is missing or no image that OpenCV reads")
    return pixels


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """``image`` uint8 (3, S, S), zero-padded; ``targets`` float32 (P, S/4, S/4) in 0..1; ``valid_hw`` in cells."""

    image: npt.NDArray[np.uint8]
    targets: npt.NDArray[np.float32]
    valid_hw: tuple[int, int]


class TrainingSamples(Dataset[Sample]):
    """``TrainingSamples[i]`` is the i-th sample of the stream; the stream has no end."""

    def __init__(self, sources: list[Source], size: int, objects: int, seed: int) -> None:
        self.sources, self.size, self.objects, self.seed = sources, size, objects, seed

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng((self.seed, self.size, index))
        for _ in range(8):  # a crop may show no object: draw another
            image, ids, whole = self._scene(rng)
            sample = self._sample(rng, image, ids, whole)
            if sample is not None:
                return sample
        image, ids = procedural(rng, self.size, self.size)
        sample = self._sample(rng, image, np.maximum(ids, (ids == 0) * (ids.max() + 1)), False)
        if sample is None:
            raise ValueError(
                f"sample {index} holds no object: this cannot happen, as a procedural image is all objects"
            )
        return sample

    def _draw(self, rng: np.random.Generator) -> Source:
        return self.sources[int(rng.integers(len(self.sources)))]

    def _scene(self, rng: np.random.Generator) -> tuple[Image, Ids, bool]:
        kind = rng.random()
        if kind < PROCEDURAL_SHARE:
            size = self.size
            background: Image | None = None
            if rng.random() < 0.5:
                background = resized(self._draw(rng).image, (size, size), cv2.INTER_AREA)
            return *procedural(rng, size, size, background), False
        source = self._draw(rng)
        image, ids = _crop(rng, source.image, source.ids, self.size)
        if kind < PROCEDURAL_SHARE + COMPOSITE_SHARE:
            image, ids = image.copy(), ids.copy()
            for _ in range(int(rng.integers(1, 4))):
                _paste_object(rng, image, ids, self._draw(rng))
            return image, ids, False
        return image, ids, source.whole

    def _sample(self, rng: np.random.Generator, image: Image, ids: Ids, whole: bool) -> Sample | None:
        height, width = image.shape[:2]
        flip = rng.random() < 0.5
        if flip:
            image, ids = image[:, ::-1], ids[:, ::-1]
        values, counts = np.unique(ids, return_counts=True)
        large = (values > 0) & (counts >= MIN_AREA * height * width)
        if not large.any():
            return None
        values, weights = values[large], np.sqrt(counts[large])  # a facade has a hundred windows and one wall
        chosen = rng.choice(values, self.objects, len(values) < self.objects, weights / weights.sum())
        masks = [ids == v for v in chosen]
        if whole and rng.random() < 0.5:
            masks[0] = ids > 0
        side = self.size // 4
        valid = (max(1, round(height / 4)), max(1, round(width / 4)))
        targets = np.zeros((self.objects, side, side), np.float32)
        for target, mask in zip(targets, masks, strict=True):
            shares = cv2.resize(mask.astype(np.float32), (valid[1], valid[0]), interpolation=cv2.INTER_AREA)
            target[: valid[0], : valid[1]] = shares.clip(0, 1)  # the mean of ones may round to a little more than 1
        padded = np.zeros((self.size, self.size, 3), np.uint8)
        padded[:height, :width] = _jitter(rng, np.ascontiguousarray(image))
        return Sample(np.ascontiguousarray(padded.transpose(2, 0, 1)), targets, valid)


def _crop(rng: np.random.Generator, image: Image, ids: Ids, size: int) -> tuple[Image, Ids]:
    """A random window (half of the time the whole image), resized so that its long side is ``size``."""
    height, width = ids.shape
    if rng.random() < 0.5:
        scale, aspect = np.sqrt(rng.uniform(0.2, 1.0)), np.exp(rng.uniform(-0.3, 0.3))
        h, w = min(height, int(height * scale * aspect)), min(width, int(width * scale / aspect))
        top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
        image, ids = image[top : top + h, left : left + w], ids[top : top + h, left : left + w]
    height, width = ids.shape
    factor = size / max(height, width)
    new = (max(8, int(width * factor + 0.5)), max(8, int(height * factor + 0.5)))
    shrink = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    return resized(image, new, shrink), resized(ids, new, cv2.INTER_NEAREST)


def resized(array: Any, size_wh: tuple[int, int], interpolation: int) -> Any:
    """OpenCV's resize, whose type says nothing about the array's."""
    return cv2.resize(array, size_wh, interpolation=interpolation)


def _paste_object(rng: np.random.Generator, image: Image, ids: Ids, source: Source) -> None:
    """Paste one object of ``source`` somewhere on the image, at 15 to 60 % of its side."""
    values, counts = np.unique(source.ids, return_counts=True)
    keep = [int(v) for v, n in zip(values, counts, strict=True) if v > 0 and n >= MIN_AREA * source.ids.size]
    if not keep:
        return
    mask = source.ids == int(rng.choice(keep))
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = ids.shape
    factor = rng.uniform(0.15, 0.6) * max(height, width) / max(mask[window].shape)
    h, w = (max(4, min(limit, int(n * factor))) for n, limit in zip(mask[window].shape, ids.shape, strict=True))
    top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
    canvas, pixels = np.zeros(ids.shape, bool), np.zeros_like(image)
    small = cv2.resize(mask[window].astype(np.uint8), (w, h), interpolation=cv2.INTER_NEAREST).astype(bool)
    photo = cv2.resize(source.image[window], (w, h), interpolation=cv2.INTER_AREA)
    canvas[top : top + h, left : left + w] = small
    pixels[top : top + h, left : left + w] = photo
    paste(rng, image, ids, canvas, pixels)


def _jitter(rng: np.random.Generator, image: Image) -> Image:
    """Brightness, contrast, colour and blur as cameras vary; one image in eight becomes grey."""
    pixels: Any = image.astype(np.float32)
    pixels = (pixels - 128) * rng.uniform(0.7, 1.3) + 128 + rng.uniform(-25, 25) + rng.uniform(-12, 12, 3)
    if rng.random() < 0.125:
        pixels = np.repeat(pixels.mean(2, keepdims=True), 3, 2)
    if rng.random() < 0.1:
        pixels = cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.5, 1.5))
    return cast(Image, np.clip(pixels, 0, 255).astype(np.uint8))
