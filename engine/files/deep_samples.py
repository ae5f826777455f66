"""The samples of images of more than 8 bits, for a person who wants to choose what is black and what is white."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from livesam.engine.files.deep_colour import deep_colour
from livesam.engine.files.image import FORMATS, MAX_PIXELS, turned
from livesam.engine.files.tiff import TIFF_HEADS, Tiff
from PIL import ExifTags, Image

GREY = ("I;16", "I;16B", "I;16L", "I", "F")


@dataclass(frozen=True, slots=True, eq=False)
class DeepImage:
    """Samples ``(H, W, 1)`` or ``(H, W, 3)``, upright, and the lowest and highest finite value among them."""

    samples: npt.NDArray[Any]
    low: float
    high: float

    def levels(self, low: float | None, high: float | None) -> npt.NDArray[np.uint8]:
        """RGB uint8 ``(H, W, 3)``: from ``low`` (black) to ``high`` (white), linearly; None for the image's own.

        Raises:
            ValueError: they are not finite, or ``low`` is not below ``high``.
        """
        black, white = self.low if low is None else low, self.high if high is None else high
        if not (np.isfinite(black) and np.isfinite(white)) or (black >= white and self.low < self.high):
            raise ValueError(f"levels are two finite numbers, low below high, got {black} and {white}")
        share = (self.samples.astype(np.float32) - np.float32(black)) / np.float32(max(white - black, 1e-12))
        grey = np.rint(np.clip(np.nan_to_num(share, nan=0.0), 0, 1) * 255).astype(np.uint8)
        return np.ascontiguousarray(np.broadcast_to(grey, (*grey.shape[:2], 3)))


def read_deep(path: Path) -> DeepImage | None:
    """The samples of a file whose samples have more than 8 bits; None for all others, and where they are out of reach.

    Read the file with ``read_image`` first: that refuses what is damaged or too large.
    """
    try:
        with path.open("rb") as file:
            found = _tiff(file, path.name) if file.read(4) in TIFF_HEADS else _other(file)
    except Exception:  # read_image has said what is wrong with it, if it matters
        return None
    if found is None or found.ndim != 3 or found.shape[2] not in (1, 3):
        return None
    finite = found[np.isfinite(found)] if found.dtype.kind == "f" else found
    if not finite.size:
        return None
    return DeepImage(found, float(finite.min()), float(finite.max()))


def _tiff(file: IO[bytes], name: str) -> npt.NDArray[Any] | None:
    tiff = Tiff.read(file, name)
    if tiff is None or tiff.is_ordinary or not (max(tiff.bits) > 8 and tiff.has_samples and tiff.is_lossless):
        return None
    samples = tiff.storage.samples(file, name)
    return turned(samples if samples.shape[2] in (1, 3) else samples[..., :3], tiff.orientation)


def _other(file: IO[bytes]) -> npt.NDArray[Any] | None:
    file.seek(0)
    data = io.BytesIO(file.read())
    with Image.open(data, formats=FORMATS) as picture:
        if picture.width * picture.height > MAX_PIXELS:
            return None
        deep = deep_colour(picture, data)
        if deep is not None:
            samples = deep.read(data)[0]
        elif picture.mode in GREY:
            samples = np.asarray(picture)[..., None]
        else:
            return None
        return turned(samples, int(picture.getexif().get(ExifTags.Base.Orientation, 1)))
