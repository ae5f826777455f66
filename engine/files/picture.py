"""Pictures for a person's eye, written as files or bytes."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
from livesam.engine.files.atomic import atomic_write
from livesam.engine.files.places import as_path
from PIL import Image

SUFFIXES = (".png", ".jpg", ".jpeg")


def write_picture(path: Path | str, picture: npt.NDArray[np.uint8]) -> None:
    """Write RGB, uint8 ``(H, W, 3)``, as PNG or JPEG by the suffix, whole or not at all.

    Raises:
        ValueError: another suffix.
        OSError: the disk is full, read-only, or the folder does not exist.
    """
    path = as_path(path, "a picture's file")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"a picture is written as {', '.join(SUFFIXES)}, got {str(path)!r}")
    data = picture_bytes(picture, jpeg=suffix != ".png")
    with atomic_write(path) as file:
        file.write(data)


def picture_bytes(picture: npt.NDArray[np.uint8], *, jpeg: bool = False) -> bytes:
    """A PNG or JPEG file of RGB, uint8 ``(H, W, 3)``, or of grey, ``(H, W)``."""
    buffer = BytesIO()
    if jpeg:
        Image.fromarray(picture).save(buffer, format="JPEG", quality=90)
    else:
        Image.fromarray(picture).save(buffer, format="PNG")
    return buffer.getvalue()
