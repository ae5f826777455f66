"""Images from files, safely; masks to files."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import io
from functools import cache
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
from livesam.engine.files.atomic import atomic_write
from livesam.engine.values.errors import ImageError
from PIL import Image, ImageFile, ImageOps

MAX_PIXELS = 64_000_000
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")


def read_image(path: Path | str) -> npt.NDArray[np.uint8]:
    """An image file as RGB uint8 ``(H, W, 3)``, upright (EXIF orientation applied).

    Grey, palette, CMYK and alpha images become RGB; transparent pixels are laid over white. 16-bit grey is scaled by
    the number of bits that are in use (a 12-bit sensor's white becomes 255). Of several pages the first is taken.

    Raises:
        ImageError: the file is missing, empty, truncated, no JPEG, PNG, WebP, BMP or TIFF, or has more than 64 million
            pixels; the number of pixels is checked from the header, before anything is decoded.
    """
    try:
        with open(path, "rb") as file:
            return _decode(file, str(path))
    except OSError as error:
        raise ImageError(f"cannot read the image {path}: {error.strerror or error}") from error


def decode_image(data: bytes, name: str = "the image") -> npt.NDArray[np.uint8]:
    """The same for a file's bytes; ``name`` is what messages call it.

    Raises:
        ImageError: as for ``read_image``.
    """
    return _decode(io.BytesIO(data), name)


def image_hash(image: npt.NDArray[np.uint8]) -> str:
    """A SHA-256 over shape and pixels, hex."""
    digest = hashlib.sha256(f"{image.shape}\n".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def write_mask(path: Path | str, mask: npt.NDArray[np.bool_]) -> None:
    """Write a mask ``(H, W)`` as an 8-bit grey PNG, 255 where it is set; whole or not at all.

    Raises:
        ValueError: the mask has not two axes.
        OSError: the file cannot be written.
    """
    if mask.ndim != 2:
        raise ValueError(f"a mask has two axes, got shape {mask.shape}")
    picture = Image.fromarray(np.where(mask, np.uint8(255), np.uint8(0)))
    with atomic_write(path) as file:
        picture.save(file, format="PNG", compress_level=1)


def _decode(file: IO[bytes], name: str) -> npt.NDArray[np.uint8]:
    with contextlib.closing(_open(file, name)) as picture:
        width, height = picture.size
        if width < 1 or height < 1:
            raise ImageError(f"{name} has no pixels ({width} x {height})")
        if width * height > MAX_PIXELS:
            raise ImageError(
                f"{name} has {width} x {height} pixels: at most {MAX_PIXELS // 1_000_000} million are read; scale it "
                "down first"
            )
        if picture.format == "TIFF":
            _silence_libtiff()
        try:
            picture.load()
        except Exception as error:  # PIL's decoders raise whatever the damage leads to
            raise ImageError(f"{name} is damaged or truncated: {error}") from error
        upright = _upright(picture)
        return _to_rgb(upright, name)


@cache
def _silence_libtiff() -> None:
    """libtiff tells stderr about damage before Pillow raises: one error would be two. Stays for the whole process."""
    from PIL import _imaging

    # Pillow links to libtiff, so the extension leads to its symbols; where a build hides them, it goes on talking.
    with contextlib.suppress(OSError, AttributeError):
        set_handler = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler
        set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
        set_handler(None)


def _open(file: IO[bytes], name: str) -> Image.Image:
    """Read the header. Not with ``Image.open``: beyond 89 Mpx it warns on stderr before our limit can speak."""
    prefix = file.read(16)
    if not prefix:
        raise ImageError(f"{name} is empty")
    Image.init()
    for kind in FORMATS:
        factory, accept = Image.OPEN[kind]
        if accept is None or accept(prefix) is not True:
            continue
        file.seek(0)
        try:
            picture: ImageFile.ImageFile = factory(file, "")
        except Exception as error:  # a broken header shows as SyntaxError, struct.error, IndexError...
            raise ImageError(f"{name} is a damaged {kind} file: {error}") from error
        return picture
    raise ImageError(f"{name} is no image that can be read: give one of {', '.join(FORMATS)}")


def _upright(picture: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # broken EXIF in a sound image: what the pixels say is still right
        return picture


def _to_rgb(picture: Image.Image, name: str) -> npt.NDArray[np.uint8]:
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        grey = _deep_grey(np.asarray(picture), name)
        return np.ascontiguousarray(np.broadcast_to(grey[..., None], (*grey.shape, 3)))
    try:
        if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
            over = picture.convert("RGBA")
            white = Image.new("RGBA", over.size, (255, 255, 255, 255))
            picture = Image.alpha_composite(white, over)
        return np.array(picture.convert("RGB"))
    except (ValueError, OSError) as error:
        raise ImageError(f"{name} has colours that cannot be turned into RGB ({picture.mode}): {error}") from error


def _deep_grey(values: npt.NDArray[np.generic], name: str) -> npt.NDArray[np.uint8]:
    """More than 8 bits of grey as 8: by the bits in use, so that 10-, 12- and 14-bit sensors do not turn out black."""
    real = values.astype(np.float64)
    if not np.isfinite(real).all():
        raise ImageError(f"{name} has pixels that are not finite numbers")
    top = float(real.max())
    white = 1.0 if values.dtype.kind == "f" and top <= 1 else float(2 ** max(8, int(top).bit_length()) - 1)
    return np.clip(np.rint(real * (255.0 / white)), 0, 255).astype(np.uint8)
