"""TIFF files whose samples Pillow would cut to 8 bits, or cannot read at all: what their tags say of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from livesam.engine.files.number_format import choose_bands, to_rgb
from livesam.engine.files.tiff_storage import LOSSLESS, Storage
from livesam.engine.values.errors import ImageError
from PIL import TiffImagePlugin

TIFF_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MAX_BANDS = 4096

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB = 0, 1, 2  # PhotometricInterpretation
ASSOCIATED, UNASSOCIATED = 1, 2  # opacity, in ExtraSamples
NUMBERS = {"u": "unsigned integers", "i": "signed integers", "f": "floating point numbers", "c": "complex numbers"}
COMPRESSIONS = {6: "JPEG", 7: "JPEG", 34712: "JPEG 2000", 34887: "LERC", 50001: "WebP", 50002: "JPEG XL"}

Float = npt.NDArray[np.float32]
Samples = npt.NDArray[Any]
Tags = TiffImagePlugin.ImageFileDirectory_v2


@dataclass(frozen=True, slots=True)
class Tiff:
    """The first image of a TIFF file, by its tags.

    Attributes:
        bits: of each band.
        photometric: the tag PhotometricInterpretation.
        extra: what the last bands are, by the tag ExtraSamples.
        no_data: GDAL's tag, the value of samples that hold none.
        orientation: as EXIF numbers it.
    """

    name: str
    bits: tuple[int, ...]
    photometric: int
    extra: tuple[int, ...]
    no_data: float | None
    orientation: int
    storage: Storage

    @classmethod
    def read(cls, file: IO[bytes], name: str) -> Tiff | None:
        """The tags of a file; None where they make no sense, which Pillow then tells better."""
        try:
            file.seek(0)
            head = file.read(16)
            big = 43 in head[2:4]
            # Pillow takes only BigTIFF's little-endian header for one, but any byte order beside it.
            tags = Tags(b"II+\0" + head[4:], head[:2]) if big else Tags(head[:8])
            file.seek(tags.next)
            tags.load(file)
            return _tiff(tags, name)
        except Exception:  # Pillow's parser raises whatever the damage leads to
            return None

    @property
    def is_ordinary(self) -> bool:
        """Whether Pillow gives the picture that is meant, which it does for 8 bits and fewer of known colours."""
        if not self.has_samples:
            return True  # palettes, YCbCr, and inks, of whose 16 bits the high 8 are right: their white is fixed
        if self.storage.letter != "u" or max(self.bits) > 8:
            return False
        return len(self.bits) <= 4 if self.photometric == RGB else len(self.bits) - len(self._alpha) == 1

    @property
    def has_samples(self) -> bool:
        """Whether its samples are brightness, of one colour or of three, and no indices, inks or differences."""
        return self.photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB)

    @property
    def is_lossless(self) -> bool:
        return self.storage.compression in LOSSLESS

    def rgb(self, file: IO[bytes], bands: tuple[int, ...] | None) -> npt.NDArray[np.uint8]:
        """The image as RGB uint8 ``(H, W, 3)``, not yet turned upright.

        Raises:
            ImageError: it is damaged, too large, or of a kind that is not read.
        """
        self._check()
        chosen = self._colours() if bands is None else bands
        samples = self.storage.samples(file, self.name)
        inverted, opacity = self.photometric == WHITE_IS_ZERO, None
        try:
            colours = choose_bands(samples, chosen)
            if bands is None and self._alpha:
                opacity = self._opacity(samples[..., self._alpha[0]])
                colours = self._undivided(colours, opacity) if ASSOCIATED in self.extra else colours
            return to_rgb(colours, bits=self.bits[0], opacity=opacity, no_data=self.no_data, white_is_zero=inverted)
        except ValueError as error:
            raise ImageError(f"{self.name} cannot be shown: {error}") from error

    def __str__(self) -> str:
        """E.g. ``5 bands of 8-bit unsigned integers``."""
        count = "1 band" if len(self.bits) == 1 else f"{len(self.bits)} bands"
        return f"{count} of {'/'.join(map(str, sorted(set(self.bits))))}-bit {NUMBERS[self.storage.letter]}"

    @property
    def _alpha(self) -> tuple[int, ...]:
        """The band that holds opacity, from 0 on, if any."""
        if self.photometric == RGB and len(self.bits) == 4 and not self.extra:
            return (3,)  # as Pillow and libtiff take it
        first = len(self.bits) - len(self.extra)
        return tuple(first + i for i, kind in enumerate(self.extra) if kind in (ASSOCIATED, UNASSOCIATED))[:1]

    def _colours(self) -> tuple[int, ...]:
        """The bands that make the picture, from 1 on."""
        colours = tuple(i + 1 for i in range(len(self.bits)) if i not in self._alpha)
        if self.photometric == RGB and len(colours) >= 3:
            return colours[:3]  # what follows is said to be something else
        if len(colours) not in (1, 3):
            some = "3,2,1" if len(self.bits) >= 3 else "1"
            raise ImageError(
                f"{self.name} has {self} and does not say which are colours: choose one or three of them, e.g. with "
                f"--bands {some} or bands=[{some}]"
            )
        return colours

    def _check(self) -> None:
        letter, bits = self.storage.letter, self.bits[0]
        if not self.has_samples:
            raise ImageError(f"{self.name} has {self} of a colour model that is not read: save it as grey or RGB")
        known = {"u": bits < 16 or bits in (16, 32, 64), "i": bits in (8, 16, 32, 64), "f": bits in (16, 32, 64)}
        if len(set(self.bits)) > 1 or not known.get(letter, False):
            raise ImageError(f"{self.name} has {self}, which are not read: save it as 8- or 16-bit integers or float32")
        if not self.is_lossless:
            how = COMPRESSIONS.get(self.storage.compression, f"method {self.storage.compression}")
            raise ImageError(
                f"{self.name} has {self}, compressed with {how}, which is not read: save it uncompressed, or with LZW "
                "or deflate"
            )

    def _opacity(self, alpha: Samples) -> Float:
        top = max(1.0, float(np.nanmax(alpha))) if alpha.dtype.kind == "f" else 2.0 ** self.bits[0] - 1
        return np.nan_to_num(alpha.astype(np.float64) / top).astype(np.float32)

    def _undivided(self, colours: Samples, opacity: Float) -> Samples:
        """Colours that were multiplied by their opacity, as they were before."""
        whole = colours / np.where(opacity > 0, opacity, 1)[..., None].astype(np.float64)
        if colours.dtype.kind != "f":
            whole = np.minimum(np.rint(whole), np.iinfo(colours.dtype).max)
        return whole.astype(colours.dtype)


def _tiff(tags: Tags, name: str) -> Tiff:
    width, height = _integers(tags, 256)[0], _integers(tags, 257)[0]
    bands, bits = _integers(tags, 277, 1)[0], _integers(tags, 258, 1)
    if not 1 <= bands <= MAX_BANDS:
        raise ValueError(f"{bands} samples a pixel")
    bits = bits * bands if len(bits) == 1 else bits[:bands]
    tiled, no_data = 324 in tags, tags.get(42113)  # GDAL_NODATA is a text
    rows = _integers(tags, 323 if tiled else 278, height)[0]
    block_hw = (rows, _integers(tags, 322)[0]) if tiled else (min(rows, height), width)
    if len(bits) != bands or min(*bits, *block_hw) < 1:
        raise ValueError("an image without pixels, or bits for other bands than it has")
    storage = Storage(
        hw=(height, width),
        bands=bands,
        bits=bits[0],
        letter={2: "i", 3: "f", 5: "c", 6: "c"}.get(max(_integers(tags, 339, 1)), "u"),
        block_hw=block_hw,
        tiled=tiled,
        planar=bands > 1 and _integers(tags, 284, 1)[0] == 2,
        offsets=_integers(tags, 324 if tiled else 273, 0),
        counts=_integers(tags, 325 if tiled else 279, 0),
        compression=_integers(tags, 259, 1)[0],
        predictor=_integers(tags, 317, 1)[0],
        fill_order=_integers(tags, 266, 1)[0],
        big_endian=tags.prefix == b"MM",
    )
    return Tiff(
        name=name,
        bits=bits,
        photometric=_integers(tags, 262, 1)[0],
        extra=_integers(tags, 338)[: bands - 1] if 338 in tags else (),
        no_data=None if no_data is None else _number(str(no_data)),
        orientation=_integers(tags, 274, 1)[0],
        storage=storage,
    )


def _integers(tags: Tags, number: int, default: int | None = None) -> tuple[int, ...]:
    value = tags.get(number, default)
    values = value if isinstance(value, tuple) else (value,)
    if not values or not all(isinstance(v, int) and v >= 0 for v in values):
        raise ValueError(f"the tag {number} is no number")
    return values


def _number(text: str) -> float | None:
    try:
        return float(text.strip().strip("\0"))
    except ValueError:
        return None
