"""Colour images of more than 8 bits in PNG, JPEG 2000 and PPM files, which Pillow cuts to 8; OpenCV does not."""

from __future__ import annotations

import struct
from typing import IO, Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

CODESTREAM = b"\xff\x4f\xff\x51"  # JPEG 2000's first two markers


def deep_colour_bits(picture: Image.Image, file: IO[bytes]) -> int | None:
    """How many bits a sample has in an opened image that Pillow would cut to 8; None where it cuts nothing."""
    if picture.format == "PPM" and picture.mode == "RGB":
        _, _, _, arguments = picture.tile[0]  # type: ignore[attr-defined]
        bits = arguments[1].bit_length() if isinstance(arguments, tuple) else 8
    elif picture.format == "PNG" and not picture.mode.startswith(("I", "L", "P", "1")):
        file.seek(24)
        bits = file.read(1)[0]
    elif picture.format == "JPEG2000" and picture.mode in ("LA", "RGB", "RGBA"):
        file.seek(0)
        data = file.read()
        (depth,) = struct.unpack_from(">B", data, data.index(CODESTREAM) + 4 + 38)
        bits = (depth & 127) + 1
    else:
        return None
    return bits if bits > 8 else None


def deep_colours(file: IO[bytes], bits: int) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32] | None]:
    """The samples ``(H, W, 3)``, red first, and the opacity ``(H, W)`` where the file has one.

    Raises:
        ValueError: OpenCV cannot read the file either.
    """
    file.seek(0)
    try:
        found = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        found = None
    if found is None or found.ndim != 3 or found.shape[2] not in (3, 4):
        raise ValueError(f"colours of {bits} bits in a form that is not read: save it as an ordinary PNG or TIFF")
    opacity = found[..., 3].astype(np.float32) / (2**bits - 1) if found.shape[2] == 4 else None
    return found[..., 2::-1], opacity
