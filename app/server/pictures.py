"""Images as the model and as a person sees them, with the last ones kept in memory."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from livesam.engine.files.deep_samples import DeepImage, read_deep
from livesam.engine.files.image import read_image
from livesam.engine.values.errors import ImageError
from PIL import ExifTags, Image

Rgb = npt.NDArray[np.uint8]

KEPT_BYTES = 256 << 20
THUMBNAIL = 160  # pixels of the long side
AS_THEY_ARE = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
SMALL = 4_000_000  # pixels; up to here PNG, which loses nothing, is fast enough


@dataclass(frozen=True, slots=True)
class File:
    """A file for a client."""

    data: bytes
    type: str


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """An image in memory.

    Attributes:
        rgb: uint8 ``(H, W, 3)``, upright: what the model sees. Read-only.
        deep: its own samples, where they have more than 8 bits.
    """

    rgb: Rgb
    deep: DeepImage | None

    @property
    def nbytes(self) -> int:
        return self.rgb.nbytes + (0 if self.deep is None else self.deep.samples.nbytes)


class Pictures:
    """Reads images, and keeps the last ones. Thread-safe."""

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._limit = kept_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[Path, int, int], Loaded] = OrderedDict()

    def load(self, path: Path) -> Loaded:
        """An image.

        Raises:
            ImageError: it cannot be read.
        """
        try:
            stat = path.stat()
        except OSError as error:
            raise ImageError(f"{path.name} cannot be read: {error.strerror}") from error
        key = (path, stat.st_mtime_ns, stat.st_size)
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
                return found
        rgb = np.ascontiguousarray(_named(path))
        rgb.setflags(write=False)
        loaded = Loaded(rgb, read_deep(path))
        with self._lock:
            self._kept[key] = loaded
            while len(self._kept) > 1 and sum(one.nbytes for one in self._kept.values()) > self._limit:
                self._kept.popitem(last=False)
        return loaded

    def shown(self, path: Path, low: float | None = None, high: float | None = None) -> File:
        """An image at full size for a browser; ``low`` and ``high`` are the levels of black and white of a deep one.

        Raises:
            ImageError: it cannot be read.
            ValueError: the levels are not finite, or not in this order.
        """
        loaded = self.load(path)
        if loaded.deep is not None:
            return _encoded(loaded.deep.levels(low, high) if low is not None or high is not None else loaded.rgb)
        return _as_it_is(path) or _encoded(loaded.rgb)

    def thumbnail(self, path: Path) -> File:
        """An image whose long side has 160 pixels, as JPEG.

        Raises:
            ImageError: it cannot be read.
        """
        picture = _drafted(path) or Image.fromarray(self.load(path).rgb)
        picture.thumbnail((THUMBNAIL, THUMBNAIL))
        return _jpeg(picture, 80)


def _named(path: Path) -> Rgb:
    """What ``read_image`` reads; its messages name the file and not where it lies on the server."""
    try:
        return read_image(path)
    except ImageError as error:
        raise ImageError(str(error).replace(str(path), path.name)) from error


def _as_it_is(path: Path) -> File | None:
    """The file itself, where browsers show it as the model sees it: an ordinary JPEG, PNG or WebP."""
    data = path.read_bytes()
    try:
        with Image.open(io.BytesIO(data)) as picture:
            plain = picture.mode in ("L", "RGB") and "transparency" not in picture.info
            kind = AS_THEY_ARE.get(picture.format or "")
            still = getattr(picture, "n_frames", 1) == 1 and "icc_profile" not in picture.info
            plain = plain and picture.getexif().get(ExifTags.Base.Orientation, 1) == 1
    except Exception:  # PIL's decoders raise whatever the damage leads to
        return None
    return File(data, kind) if plain and still and kind is not None else None


def _drafted(path: Path) -> Image.Image | None:
    """A large JPEG decoded at a fraction of its size, which is many times faster; None for all others."""
    from livesam.engine.files.image import MAX_PIXELS
    from PIL import ImageOps

    try:
        with path.open("rb") as file:
            if file.read(3) != b"\xff\xd8\xff":
                return None
            file.seek(0)
            with Image.open(file, formats=("JPEG",)) as picture:
                if picture.width * picture.height > MAX_PIXELS or picture.mode != "RGB":
                    return None
                picture.draft("RGB", (2 * THUMBNAIL, 2 * THUMBNAIL))
                return ImageOps.exif_transpose(picture)
    except Exception:  # damage: the careful reader says what it is
        return None


def _encoded(rgb: Rgb) -> File:
    picture = Image.fromarray(rgb)
    if rgb.shape[0] * rgb.shape[1] > SMALL:
        return _jpeg(picture, 95)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", compress_level=1)
    return File(buffer.getvalue(), "image/png")


def _jpeg(picture: Image.Image, quality: int) -> File:
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, format="JPEG", quality=quality)
    return File(buffer.getvalue(), "image/jpeg")
