"""Images from files, safely; masks to files."""

from __future__ import annotations

import contextlib
import ctypes
import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from livesam.engine.files.atomic import atomic_write
from livesam.engine.files.deep_colour import deep_colour
from livesam.engine.files.number_format import as_rgb, check_bands, choose_bands, to_rgb
from livesam.engine.files.tiff import TIFF_HEADS, Tiff
from livesam.engine.values.errors import ImageError
from PIL import ExifTags, Image, ImageFile

MAX_PIXELS = 64_000_000
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "JPEG2000", "PPM")
SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".jp2", ".j2k"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
)


def read_image(path: Path | str, *, bands: Sequence[int] | None = None) -> npt.NDArray[np.uint8]:
    """An image file as RGB uint8 ``(H, W, 3)``, upright (EXIF orientation applied).

    8-bit samples stay as they are; all others are scaled by the one rule of ``engine/files/number_format.py``. Grey,
    palette, CMYK and alpha images become RGB; transparent pixels are laid over white. Of several pages or frames the
    first is taken. Of a TIFF's bands those that its tags call colours are, and three of no stated meaning are red,
    green and blue.

    Args:
        bands: read these instead, counted from 1: one as grey, or three as red, green and blue. For files that do not
            say which of their bands are colours (satellites, microscopes).

    Raises:
        ImageError: the file is missing, empty, truncated, none of ``FORMATS``, has more than 64 million pixels (checked
            from the header, before anything is decoded), samples of a kind that is not read, or more bands than
            colours where ``bands`` are not given.
        ValueError: ``bands`` are not one or three numbers from 1 on.
    """
    try:
        with open(path, "rb") as file:
            return _decode(file, str(path), bands)
    except OSError as error:
        raise ImageError(f"cannot read the image {path}: {error.strerror or error}") from error


def decode_image(data: bytes, name: str = "the image", *, bands: Sequence[int] | None = None) -> npt.NDArray[np.uint8]:
    """The same for a file's bytes; ``name`` is what messages call it.

    Raises:
        ImageError: as for ``read_image``.
        ValueError: as for ``read_image``.
    """
    return _decode(io.BytesIO(data), name, bands)


def as_image(image: npt.NDArray[Any] | Path | str, *, bands: Sequence[int] | None = None) -> npt.NDArray[np.uint8]:
    """An image as users give it, a path or an array, as RGB uint8 ``(H, W, 3)``.

    Raises:
        ValueError: the array has no such format or shape (``as_rgb``), or ``bands`` are given with it.
        ImageError: as for ``read_image``.
    """
    if isinstance(image, (str, Path)):
        return read_image(image, bands=bands)
    if bands is not None:
        raise ValueError("bands are of a file: choose those of an array by its last axis, image[..., [2, 1, 0]]")
    return as_rgb(image)


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


def _decode(file: IO[bytes], name: str, bands: Sequence[int] | None) -> npt.NDArray[np.uint8]:
    chosen = None if bands is None else check_bands(bands)
    head = file.read(4)
    tiff = Tiff.read(file, name) if head in TIFF_HEADS else None
    file.seek(0)
    if tiff is not None:
        _check_size(tiff.storage.hw[::-1], name)
        _silence_libtiff()
        if not tiff.is_ordinary or (chosen is not None and tiff.has_samples and tiff.is_lossless):
            return turned(tiff.rgb(file, chosen), tiff.orientation)
    try:
        opened = _open(file, name)
    except ImageError:
        if tiff is None:
            raise
        return turned(tiff.rgb(file, chosen), tiff.orientation)
    with contextlib.closing(opened) as picture:
        _check_size(picture.size, name)
        try:
            deep = deep_colour(picture, file)
            picture.load()
        except Exception as error:  # PIL's decoders raise whatever the damage leads to
            raise ImageError(f"{name} is damaged or truncated: {error}") from error
        try:
            rgb = _to_rgb(picture, chosen) if deep is None else _of_samples(*deep.read(file), chosen)
        except (ValueError, OSError) as error:
            raise ImageError(f"{name} cannot be shown ({picture.mode}): {error}") from error
        return turned(rgb, _orientation(picture))


def _check_size(size: tuple[int, int], name: str) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise ImageError(f"{name} has no pixels ({width} x {height})")
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{name} has {width} x {height} pixels: at most {MAX_PIXELS // 1_000_000} million are read; scale it "
            "down first"
        )


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
            raise ImageError(
                f"{name} is a damaged {kind} file, or of a kind of {kind} that is not read: {error}"
            ) from error
        return picture
    raise ImageError(f"{name} is no image that can be read: give one of {', '.join(FORMATS)}")


def _orientation(picture: Image.Image) -> int:
    try:
        return int(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # broken EXIF in a sound image: what the pixels say is still right
        return 1


def turned(image: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[np.uint8]:
    """The image upright; ``orientation`` as EXIF and TIFF number it."""
    if orientation in (5, 6, 7, 8):
        image = image.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)


def _to_rgb(picture: Image.Image, bands: tuple[int, ...] | None) -> npt.NDArray[np.uint8]:
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        grey = np.asarray(picture)
        clear = picture.info.get("transparency")
        opacity = (grey != clear).astype(np.float32) if isinstance(clear, int) else None
        return _of_samples(grey[..., None], opacity, bands)
    if bands is not None:
        known = picture.mode in ("L", "LA", "RGB", "RGBA")
        samples = np.atleast_3d(np.asarray(picture if known else picture.convert("RGB")))
        return to_rgb(choose_bands(samples, bands))
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        over = picture.convert("RGBA")
        white = Image.new("RGBA", over.size, (255, 255, 255, 255))
        picture = Image.alpha_composite(white, over)
    return np.array(picture.convert("RGB"))


def _of_samples(
    samples: npt.NDArray[Any], opacity: npt.NDArray[np.float32] | None, bands: tuple[int, ...] | None
) -> npt.NDArray[np.uint8]:
    return to_rgb(samples, opacity=opacity) if bands is None else to_rgb(choose_bands(samples, bands))
