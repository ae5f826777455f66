"""Any number of photos, each with pixels of its own."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from livesam.engine.files.sample_photos import SAMPLE_PHOTOS, sample_photo
from PIL import Image


def write_photos(folder: Path, count: int, side: int) -> None:
    """Write JPEGs ``0000.jpg``, ``0001.jpg``...: the sample photos in turn, each moved sideways by another amount.

    Args:
        side: of the longer side, in pixels.

    Raises:
        LivesamError: scikit-image, which has the photos, is not installed.
        ValueError: there would be two alike.
    """
    if count > side:
        raise ValueError(f"photos of {side} px can be moved {side} times, got {count} to write")
    folder.mkdir(parents=True)
    photos = [sample_photo(name) for name in SAMPLE_PHOTOS]
    for i in range(count):
        photo = photos[i % len(photos)]
        scale = side / max(photo.shape[:2])
        size = (round(photo.shape[1] * scale), round(photo.shape[0] * scale))
        pixels = cv2.resize(photo, size, interpolation=cv2.INTER_CUBIC)
        Image.fromarray(np.roll(pixels, i, axis=1)).save(folder / f"{i:04d}.jpg", quality=90)
