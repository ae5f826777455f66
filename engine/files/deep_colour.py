"""Colours of more than 8 bits in PNG, JPEG 2000 and PPM files, of which Pillow keeps 8."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import IO, Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile

CODESTREAM = b"\xff\x4f\xff\x51"  # the first two markers of JPEG 2000: SOC and SIZ
SIZ_DEPTH = 42  # where the first component's depth stands, from there on

# Samples (H, W, 3), red first, and the opacity (H, W) from 0 to 1 where the file has one.
Deep: TypeAlias = tuple[npt.NDArray[Any], npt.NDArray[np.float32] | None]


@dataclass(frozen=True, slots=True)
class Codec:
    """PNG and JPEG 2000, which OpenCV reads in full depth."""

    bits: int

    def read(self, file: IO[bytes]) -> Deep:
        """The image.

        Raises:
            ValueError: OpenCV cannot read it either.
        """
        file.seek(0)
        try:
            found = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_UNCHANGED)
        except cv2.error:
            found = None
        if found is None or found.ndim != 3 or found.shape[2] not in (3, 4):
            raise ValueError(f"colours of {self.bits} bits in a form that is not read, save it as a TIFF of 16 bits")
        opacity = found[..., 3].astype(np.float32) / (2**self.bits - 1) if found.shape[2] == 4 else None
        return found[..., 2::-1], opacity


@dataclass(frozen=True, slots=True)
class Portable:
    """PPM, binary or as text: nothing but numbers."""

    size: tuple[int, int]
    offset: int
    text: bool

    def read(self, file: IO[bytes]) -> Deep:
        """The image.

        Raises:
            ValueError: its text is not made of numbers.
        """
        file.seek(self.offset)
        data, (width, height) = file.read(), self.size
        count = width * height * 3
        values = np.array(data.split()[:count], np.uint16) if self.text else np.frombuffer(data, ">u2", count)
        return values.reshape(height, width, 3), None


def deep_colour(picture: Image.Image, file: IO[bytes]) -> Codec | Portable | None:
    """How to read an image that was opened and not yet loaded; None where Pillow keeps all of it."""
    if not isinstance(picture, ImageFile.ImageFile) or picture.mode not in ("LA", "RGB", "RGBA"):
        return None
    if picture.format == "PPM":
        decoder, _, offset, arguments = picture.tile[0]
        highest = arguments[1] if isinstance(arguments, tuple) else 255
        return Portable(picture.size, offset, decoder == "ppm_plain") if highest > 255 else None
    file.seek(0)
    if picture.format == "PNG":
        bits = file.read(25)[-1]
    elif picture.format == "JPEG2000":
        data = file.read()
        bits = (struct.unpack_from(">B", data, data.index(CODESTREAM) + SIZ_DEPTH)[0] & 127) + 1
    else:
        return None
    return Codec(bits) if bits > 8 else None
