"""Frames between `livesam serve` and its clients: a JSON header, and masks as bits behind it. docs/api.md has the rest.

A frame is the header's length as uint32, little-endian, the header as UTF-8 JSON, and the payload. A mask travels as
the bits of its bounding box, row by row, each row padded to whole bytes, the first pixel in the highest bit.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Mask: TypeAlias = npt.NDArray[np.bool_]
BoxOf: TypeAlias = "tuple[int, int, int, int]"  # x0, y0, x1, y1 in whole pixels; x1 and y1 are the first beside it

MAX_HEADER = 1 << 20


def pack(header: Mapping[str, Any], payload: bytes = b"") -> bytes:
    """One frame.

    Raises:
        ValueError: a number in the header is NaN or infinite, which JSON cannot say.
    """
    text = json.dumps(header, allow_nan=False, separators=(",", ":")).encode()
    return struct.pack("<I", len(text)) + text + payload


def unpack(frame: bytes) -> tuple[dict[str, Any], memoryview]:
    """Header and payload of a frame.

    Raises:
        ValueError: it is none.
    """
    if len(frame) < 4:
        raise ValueError(f"a frame begins with the length of its header, got {len(frame)} bytes")
    (length,) = struct.unpack_from("<I", frame)
    if length > min(MAX_HEADER, len(frame) - 4):
        raise ValueError(f"the frame's header claims {length} bytes, and {len(frame) - 4} follow")
    return parse(frame[4 : 4 + length]), memoryview(frame)[4 + length :]


def parse(text: bytes | str) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ValueError: it is none, or holds NaN or infinity, which JSON does not have.
    """
    try:
        found = json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise ValueError("the message is nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError(f"a message is a JSON object, got {type(found).__name__}")
    return found


def bits_of(mask: Mask) -> tuple[BoxOf | None, bytes]:
    """A mask's bounding box and the bits in it; None and nothing for an empty one."""
    rows = np.flatnonzero(mask.any(axis=1))
    if not rows.size:
        return None, b""
    y0, y1 = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(mask[y0:y1].any(axis=0))
    x0, x1 = int(columns[0]), int(columns[-1]) + 1
    return (x0, y0, x1, y1), np.packbits(mask[y0:y1, x0:x1], axis=1).tobytes()


def mask_of(box: Sequence[int] | None, bits: bytes | memoryview, hw: tuple[int, int]) -> Mask:
    """The mask of an image of this height and width.

    Raises:
        ValueError: the box is not in the image, or the bits are of another one.
    """
    mask = np.zeros(hw, np.bool_)
    if box is None:
        if len(bits):
            raise ValueError(f"a mask without a box has no bits, got {len(bits)} bytes")
        return mask
    if (
        not isinstance(box, list | tuple)
        or len(box) != 4
        or not all(isinstance(side, int) and not isinstance(side, bool) for side in box)
    ):
        raise ValueError(f"a mask's box is four whole numbers, got {box!r}")
    x0, y0, x1, y1 = box
    if not (0 <= x0 < x1 <= hw[1] and 0 <= y0 < y1 <= hw[0]):
        raise ValueError(f"the mask's box {tuple(box)} is not in the image of {hw[1]} x {hw[0]} pixels")
    stride = -(-(x1 - x0) // 8)
    if len(bits) != stride * (y1 - y0):
        raise ValueError(f"the box {tuple(box)} has {stride * (y1 - y0)} bytes of bits, got {len(bits)}")
    packed = np.frombuffer(bits, np.uint8).reshape(y1 - y0, stride)
    mask[y0:y1, x0:x1] = np.unpackbits(packed, axis=1, count=x1 - x0)
    return mask


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):  # 1e999 is JSON, and cannot be said again
        raise ValueError(f"{text[:20]} is beyond any number")
    return value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
