"""The samples of a TIFF image as they are, whatever their number format and the number of bands.

Pillow's libtiff unpacks the strips or tiles: they are put into a TIFF of their own, whose tags call them grey bytes. So
all of its lossless compressions work, and none can unpack to more than was announced.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from livesam.engine.values.errors import ImageError
from PIL import TiffImagePlugin

MAX_BYTES = 2**30  # of unpacked samples; 64 million pixels of RGB have 0.2 to 0.8 GB
LOSSLESS = (1, 5, 8, 32946, 32773, 34925, 50000)  # none, LZW, deflate (two numbers), PackBits, LZMA, ZSTD
HORIZONTAL, FLOATING = 2, 3  # Predictor

Bytes = npt.NDArray[np.uint8]
Samples = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Storage:
    """How the samples lie in the file.

    Attributes:
        hw: height and width of the image.
        bands: of the image.
        bits: of each sample.
        letter: NumPy's for the kind of number: ``u``, ``i`` or ``f``.
        block_hw: of a strip or tile.
        planar: each band is stored for itself.
        offsets: of the strips or tiles in the file.
        counts: their bytes.
        compression, predictor, fill_order: the tags of these names.
    """

    hw: tuple[int, int]
    bands: int
    bits: int
    letter: str
    block_hw: tuple[int, int]
    tiled: bool
    planar: bool
    offsets: tuple[int, ...]
    counts: tuple[int, ...]
    compression: int
    predictor: int
    fill_order: int
    big_endian: bool

    def samples(self, file: IO[bytes], name: str) -> Samples:
        """The samples ``(H, W, bands)``.

        Raises:
            ImageError: the file is damaged, or has more than 1 GiB of them.
        """
        (height, width), (down, across) = self.hw, self._blocks
        planes = self.bands if self.planar else 1
        total = down * self.block_hw[0] * across * self._line * planes
        if total > MAX_BYTES:
            raise ImageError(
                f"{name} has {self.bands} x {width} x {height} samples of {self.bits} bits, {total / 2**30:.1f} GiB: "
                "at most 1 GiB is read; scale it down or save fewer bands"
            )
        blocks = down * across
        if len(self.offsets) != blocks * planes or len(self.counts) != blocks * planes:
            raise ImageError(f"{name} is a damaged TIFF file: it lists {len(self.offsets)} of {blocks * planes} blocks")
        found = []
        for first in range(0, blocks * planes, blocks):
            raw = self._unpacked(self._packed(file, slice(first, first + blocks), name), name)
            found.append(self._values(raw)[:height, :width])
        return found[0] if planes == 1 else np.concatenate(found, axis=2)

    @property
    def _blocks(self) -> tuple[int, int]:
        """How many blocks lie below and beside each other."""
        return -(-self.hw[0] // self.block_hw[0]), -(-self.hw[1] // self.block_hw[1])

    @property
    def _count(self) -> int:
        """Samples in a row of a block."""
        return self.block_hw[1] * (1 if self.planar else self.bands)

    @property
    def _line(self) -> int:
        """Bytes in a row of a block."""
        return -(-self._count * self.bits // 8)

    def _packed(self, file: IO[bytes], part: slice, name: str) -> list[bytes]:
        size = file.seek(0, io.SEEK_END)
        if sum(self.counts[part]) > size:  # blocks that overlap would multiply a small file
            raise ImageError(f"{name} is damaged or truncated: its samples take more bytes than the file has")
        blocks = []
        for offset, count in zip(self.offsets[part], self.counts[part], strict=True):
            if offset + count > size:
                raise ImageError(f"{name} is damaged or truncated: the file ends within its samples")
            file.seek(offset)
            blocks.append(file.read(count))
        return blocks

    def _unpacked(self, blocks: list[bytes], name: str) -> Bytes:
        """Bytes ``(rows, blocks across, line)``."""
        (down, across), rows = self._blocks, self.block_hw[0]
        height = down * rows if self.tiled else self.hw[0]  # the last strip may be shorter, a tile never is
        sizes = [len(block) for block in blocks]
        places = (8 + np.cumsum([0, *sizes[:-1]])).tolist()
        tags = {256: [across * self._line], 257: [height], 258: [8], 259: [self.compression], 262: [1]}
        tags |= {266: [self.fill_order], 277: [1]}
        if self.tiled:
            tags |= {322: [self._line], 323: [rows], 324: places, 325: sizes}
        else:
            tags |= {273: places, 278: [rows], 279: sizes}
        end = 8 + sum(sizes)
        data = b"".join([struct.pack("<2sHI", b"II", 42, end), *blocks, _directory(tags, end)])
        try:
            picture = TiffImagePlugin.TiffImageFile(io.BytesIO(data), "")
            picture.load()
        except Exception as error:  # its decoders raise whatever the damage leads to
            raise ImageError(f"{name} is damaged or truncated: {error}") from error
        return np.asarray(picture).reshape(height, across, self._line)

    def _values(self, raw: Bytes) -> Samples:
        """Samples ``(rows, columns, bands)`` of bytes ``(rows, blocks across, line)``."""
        rows, across = raw.shape[:2]
        columns, bands = self.block_hw[1], self._count // self.block_hw[1]
        shape, size = (rows, across * columns, bands), self.bits // 8
        if self.bits % 8:
            return _numbers_of(raw, self.bits, self._count).reshape(shape)
        if self.predictor == FLOATING:  # differences of bytes, the high bytes of a row first (Adobe's note 3 on TIFF)
            steps = raw.reshape(rows, across, -1, bands)
            plain = np.cumsum(steps, axis=2, dtype=np.uint8).reshape(rows, across, size, -1)
            whole = np.ascontiguousarray(np.moveaxis(plain, 2, 3)).view(f">u{size}").astype(f"=u{size}")
        else:
            whole = raw.view(f"{'>' if self.big_endian else '<'}u{size}").astype(f"=u{size}", copy=False)
            if self.predictor == HORIZONTAL:
                whole = np.cumsum(whole.reshape(rows, across, columns, bands), axis=2, dtype=whole.dtype)
        return np.ascontiguousarray(whole).reshape(shape).view(f"={self.letter}{size}")


def _directory(tags: dict[int, list[int]], start: int) -> bytes:
    """An image file directory of 32-bit numbers that begins at byte ``start`` of a little-endian TIFF."""
    entries, values = [], b""
    after = start + 2 + 12 * len(tags) + 4
    for tag, numbers in sorted(tags.items()):
        packed = struct.pack(f"<{len(numbers)}I", *numbers)
        if len(numbers) > 1:
            values, packed = values + packed, struct.pack("<I", after + len(values))
        entries.append(struct.pack("<HHI", tag, 4, len(numbers)) + packed)
    return struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4) + values


def _numbers_of(raw: Bytes, bits: int, count: int) -> Samples:
    """Numbers of fewer than 16 bits that lie without gaps but for the end of a row of a block."""
    weights = 2 ** np.arange(bits - 1, -1, -1, dtype=np.uint16)
    rows = (np.unpackbits(row, axis=1)[:, : count * bits].reshape(-1, count, bits) @ weights for row in raw)
    return np.stack([row.astype(np.uint8 if bits < 8 else np.uint16) for row in rows])
