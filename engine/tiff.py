"""TIFF files whose samples Pillow would cut to 8 bits, or cannot read at all.

The tags are read by Pillow's parser. To have the samples as they are, whatever their format and number, the strips or
tiles of the image are put into a TIFF of their own whose tags call them grey bytes, and Pillow's libtiff unpacks that.
So all of libtiff's lossless compressions work, and none can unpack to more than was announced.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from livesam.engine.errors import ImageError
from livesam.engine.number_format import choose_bands, to_rgb
from PIL import TiffImagePlugin

MAX_BYTES = 2**30  # of unpacked samples; 64 million pixels of RGB have 0.2 to 0.8 GB
MAX_BANDS = 4096
TIFF_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

# Values of tags: PhotometricInterpretation, ExtraSamples, Predictor, SampleFormat, Compression.
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB = 0, 1, 2
ASSOCIATED, UNASSOCIATED = 1, 2
HORIZONTAL, FLOATING = 2, 3
NUMBERS = {1: ("u", "unsigned integers"), 2: ("i", "signed integers"), 3: ("f", "floating point numbers")}
LOSSLESS = {1: "none", 5: "LZW", 8: "deflate", 32946: "deflate", 32773: "PackBits", 34925: "LZMA", 50000: "ZSTD"}
OTHERS = {6: "JPEG", 7: "JPEG", 34712: "JPEG 2000", 34887: "LERC", 50001: "WebP", 50002: "JPEG XL"}

Samples = npt.NDArray[Any]
Tags = TiffImagePlugin.ImageFileDirectory_v2


@dataclass(frozen=True, slots=True)
class Storage:
    """How the samples lie in the file."""

    offsets: tuple[int, ...]
    counts: tuple[int, ...]  # bytes, of each strip or tile
    block_hw: tuple[int, int]  # of a strip or tile
    tiled: bool
    planar: bool  # each band for itself
    compression: int
    predictor: int
    fill_order: int
    big_endian: bool


@dataclass(frozen=True, slots=True)
class Tiff:
    """The first image of a TIFF file, by its tags."""

    name: str
    hw: tuple[int, int]
    bits: tuple[int, ...]  # of each band
    kind: int  # SampleFormat
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
            tags = Tags(head if 43 in head[2:4] else head[:8])
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
        if self.kind != 1 or max(self.bits) > 8:
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
        chosen = self._colours() if bands is None else bands
        self._check()
        samples = _unpack(file, self)
        opacity = None
        try:
            colours = choose_bands(samples, chosen)
            if bands is None and self._alpha:
                opacity = self._opacity(samples[..., self._alpha[0]])
                colours = self._undivided(colours, opacity)
            inverted = self.photometric == WHITE_IS_ZERO
            return to_rgb(colours, bits=self.bits[0], opacity=opacity, no_data=self.no_data, white_is_zero=inverted)
        except ValueError as error:
            raise ImageError(f"{self.name} cannot be shown: {error}") from error

    def __str__(self) -> str:
        """E.g. ``5 bands of 8-bit unsigned integers``."""
        count = f"{len(self.bits)} band{'s' if len(self.bits) > 1 else ''}"
        kind = NUMBERS[self.kind][1] if self.kind in NUMBERS else "complex numbers"
        return f"{count} of {'/'.join(str(b) for b in sorted(set(self.bits)))}-bit {kind}"

    @property
    def _alpha(self) -> tuple[int, ...]:
        """The band that holds opacity, from 0 on, if any."""
        first = len(self.bits) - len(self.extra)
        if self.photometric == RGB and len(self.bits) == 4 and not self.extra:
            return (3,)  # as Pillow and libtiff take it
        return tuple(first + i for i, kind in enumerate(self.extra) if kind in (ASSOCIATED, UNASSOCIATED))[:1]

    def _colours(self) -> tuple[int, ...]:
        """The bands that make the picture, from 1 on."""
        colours = [i + 1 for i in range(len(self.bits)) if i not in self._alpha]
        if self.photometric == RGB and len(colours) >= 3:
            return tuple(colours[:3])  # what follows is said to be something else
        if len(colours) not in (1, 3):
            some = "3,2,1" if len(self.bits) >= 3 else "1"
            raise ImageError(
                f"{self.name} has {self} and does not say which are colours: choose one or three of them, e.g. with "
                f"--bands {some} or bands=[{some}]"
            )
        return tuple(colours)

    def _check(self) -> None:
        store = self.storage
        if not self.has_samples:
            raise ImageError(f"{self.name} has {self} of a colour model that is not read: save it as grey or RGB")
        if self.kind not in NUMBERS or len(set(self.bits)) > 1 or not _has_type(self.kind, self.bits[0]):
            raise ImageError(f"{self.name} has {self}, which are not read: save it as 8- or 16-bit integers or float32")
        if not self.is_lossless:
            how = OTHERS.get(store.compression, f"method {store.compression}")
            raise ImageError(
                f"{self.name} has {self}, compressed with {how}, which is not read: save it uncompressed, or with LZW "
                "or deflate"
            )

    def _opacity(self, alpha: Samples) -> npt.NDArray[np.float32]:
        top = 2.0 ** self.bits[0] - 1 if self.kind != 3 else max(1.0, float(np.nanmax(alpha)))
        return np.nan_to_num(alpha / np.float64(top)).astype(np.float32)

    def _undivided(self, colours: Samples, opacity: npt.NDArray[np.float32]) -> Samples:
        """Colours that were multiplied by their opacity, as they were before."""
        if ASSOCIATED not in self.extra:
            return colours
        whole = colours / np.where(opacity > 0, opacity, 1)[..., None].astype(np.float64)
        if self.kind != 3:
            whole = np.minimum(np.rint(whole), np.iinfo(colours.dtype).max)
        return whole.astype(colours.dtype)


def _tiff(tags: Tags, name: str) -> Tiff:
    width, height = _integers(tags, 256)[0], _integers(tags, 257)[0]
    bands, bits = _integers(tags, 277, 1)[0], _integers(tags, 258, 1)
    if not 1 <= bands <= MAX_BANDS:
        raise ValueError(f"{bands} samples a pixel")
    bits = bits * bands if len(bits) == 1 else bits[:bands]
    if len(bits) != bands or min(bits) < 1:
        raise ValueError("its number of bits is not that of its bands")
    tiled = 324 in tags
    rows = _integers(tags, 323 if tiled else 278, height)[0]
    no_data = tags.get(42113)  # GDAL_NODATA, a text
    return Tiff(
        name,
        (height, width),
        bits,
        {4: 1}.get(kind := max(_integers(tags, 339, 1)), kind),  # 4 says nothing of what they are
        _integers(tags, 262, 1)[0],
        _integers(tags, 338)[: bands - 1] if 338 in tags else (),
        None if no_data is None else _number(str(no_data)),
        _integers(tags, 274, 1)[0],
        Storage(
            _integers(tags, 324 if tiled else 273, 0),
            _integers(tags, 325 if tiled else 279, 0),
            (rows, _integers(tags, 322)[0]) if tiled else (min(rows, height), width),
            tiled,
            bands > 1 and _integers(tags, 284, 1)[0] == 2,
            _integers(tags, 259, 1)[0],
            _integers(tags, 317, 1)[0],
            _integers(tags, 266, 1)[0],
            tags.prefix == b"MM",
        ),
    )


def _integers(tags: Tags, number: int, default: int | None = None) -> tuple[int, ...]:
    value = tags.get(number, default)
    if value is None:
        raise ValueError(f"it lacks the tag {number}")
    values = value if isinstance(value, tuple) else (value,)
    if not values or not all(isinstance(v, int) and v >= 0 for v in values):
        raise ValueError(f"its tag {number} is no number")
    return values


def _number(text: str) -> float | None:
    try:
        return float(text.strip().strip("\0"))
    except ValueError:
        return None


def _has_type(kind: int, bits: int) -> bool:
    if kind == 3:
        return bits in (16, 32, 64)
    return bits in (8, 16, 32, 64) or (kind == 1 and bits < 16)


def _unpack(file: IO[bytes], tiff: Tiff) -> Samples:
    """The samples ``(H, W, bands)``."""
    store, (height, width) = tiff.storage, tiff.hw
    rows, columns = store.block_hw
    if min(rows, columns, height, width) < 1:
        raise ImageError(f"{tiff.name} is a damaged TIFF file: its blocks have no pixels")
    down, across = -(-height // rows), -(-width // columns)
    bands, planes = (1, len(tiff.bits)) if store.planar else (len(tiff.bits), 1)
    line = -(-columns * bands * tiff.bits[0] // 8)  # bytes
    total = down * rows * across * line * planes
    if total > MAX_BYTES:
        raise ImageError(
            f"{tiff.name} has {tiff} on {width} x {height} pixels, {total / 2**30:.1f} GiB: at most 1 GiB is read; "
            "scale it down or save fewer bands"
        )
    blocks = down * across
    if len(store.offsets) != blocks * planes or len(store.counts) != blocks * planes:
        raise ImageError(f"{tiff.name} is a damaged TIFF file: it has {len(store.offsets)} blocks of {blocks * planes}")
    found = []
    for plane in range(planes):
        part = slice(plane * blocks, (plane + 1) * blocks)
        data = _blocks(file, store.offsets[part], store.counts[part], tiff.name)
        raw = _inflated(data, store, (down * rows, across * line), (rows, line), height, tiff.name)
        found.append(_values(raw.reshape(-1, across, line), tiff, columns, bands)[:height, :width])
    return found[0] if planes == 1 else np.concatenate(found, axis=2)


def _blocks(file: IO[bytes], offsets: tuple[int, ...], counts: tuple[int, ...], name: str) -> list[bytes]:
    size = file.seek(0, io.SEEK_END)
    if sum(counts) > size:
        raise ImageError(f"{name} is damaged or truncated: its samples take more bytes than the file has")
    blocks = []
    for offset, count in zip(offsets, counts, strict=True):
        file.seek(offset)
        blocks.append(file.read(count))
        if len(blocks[-1]) != count:
            raise ImageError(f"{name} is damaged or truncated: the file ends within its samples")
    return blocks


def _inflated(
    blocks: list[bytes], store: Storage, size: tuple[int, int], block: tuple[int, int], height: int, name: str
) -> npt.NDArray[np.uint8]:
    """The blocks' bytes, unpacked by libtiff as if they were grey pixels."""
    rows = size[0] if store.tiled else height
    offsets = np.cumsum([8, *(len(data) for data in blocks)])
    tags: dict[int, list[int]] = {256: [size[1]], 257: [rows], 258: [8], 259: [store.compression], 262: [BLACK_IS_ZERO]}
    tags |= {266: [store.fill_order], 277: [1]}
    places, lengths = offsets[:-1].tolist(), [len(data) for data in blocks]
    if store.tiled:
        tags |= {322: [block[1]], 323: [block[0]], 324: places, 325: lengths}
    else:
        tags |= {273: places, 278: [block[0]], 279: lengths}
    end = int(offsets[-1])
    values, entries = b"", []
    after = end + 2 + 12 * len(tags) + 4
    for number, numbers in sorted(tags.items()):
        packed = struct.pack(f"<{len(numbers)}I", *numbers)
        inline = packed if len(packed) == 4 else struct.pack("<I", after + len(values))
        values += b"" if len(packed) == 4 else packed
        entries.append(struct.pack("<HHI", number, 4, len(numbers)) + inline)
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4) + values
    whole = io.BytesIO(b"".join([struct.pack("<2sHI", b"II", 42, end), *blocks, directory]))
    try:
        picture = TiffImagePlugin.TiffImageFile(whole, "")
        picture.load()
        raw = np.asarray(picture)
    except Exception as error:  # libtiff's decoders raise whatever the damage leads to
        raise ImageError(f"{name} is damaged or truncated: {error}") from error
    return np.concatenate([raw, np.zeros((size[0] - rows, size[1]), np.uint8)]) if size[0] > rows else raw


def _values(raw: npt.NDArray[np.uint8], tiff: Tiff, columns: int, bands: int) -> Samples:
    """Samples ``(rows, across * columns, bands)`` of the bytes ``(rows, across, line)`` of each row of each block."""
    store, count, size = tiff.storage, columns * bands, tiff.bits[0] // 8
    (rows, across), shape = raw.shape[:2], (raw.shape[0], raw.shape[1] * columns, bands)
    if tiff.bits[0] % 8:
        return _packed(raw, tiff.bits[0], count).reshape(shape)
    if store.predictor == FLOATING:  # differences of bytes, the high bytes of all numbers first (Adobe's note 3)
        steps = raw.reshape(rows, across, -1, bands)
        plain = np.cumsum(steps, axis=2, dtype=np.uint8).reshape(rows, across, size, count)
        whole = np.ascontiguousarray(np.moveaxis(plain, 2, 3)).view(f">u{size}").astype(f"=u{size}")
    else:
        whole = raw.view(f"{'>' if store.big_endian else '<'}u{size}").astype(f"=u{size}", copy=False)
        if store.predictor == HORIZONTAL:
            whole = np.cumsum(whole.reshape(rows, across, columns, bands), axis=2, dtype=whole.dtype)
    return np.ascontiguousarray(whole).reshape(shape).view(f"={NUMBERS[tiff.kind][0]}{size}")


def _packed(raw: npt.NDArray[np.uint8], bits: int, count: int) -> Samples:
    """Numbers of other than whole bytes, without gaps but for the end of a row."""
    weights = 2 ** np.arange(bits - 1, -1, -1, dtype=np.uint16)
    rows = (np.unpackbits(row, axis=1)[:, : count * bits].reshape(-1, count, bits) @ weights for row in raw)
    return np.stack([row.astype(np.uint8 if bits < 8 else np.uint16) for row in rows])
