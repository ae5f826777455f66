"""Masks in frames."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from livesam.wire import Mask, bits_of, pack

if TYPE_CHECKING:
    from livesam.engine.values.result import MaskResult

__all__ = ["Mask", "answered", "iou_of", "many", "ms"]


def answered(head: Mapping[str, Any], result: MaskResult | None, came: float, before: Mapping[str, float]) -> bytes:
    """A frame with the session's answer, or with no mask; says how many milliseconds each stage took.

    Args:
        came: when the message that it answers was there, by ``time.perf_counter``.
        before: stages that are not of this time, because they were over when the message came.
    """
    begun = time.perf_counter()
    box, bits = (None, b"") if result is None else bits_of(result.mask)
    told = {**head, "kind": "mask", "box": box}
    if result is not None:
        now = time.perf_counter()
        stages = {name: ms(took / 1e3) for name, took in result.timings_ms.items() if name != "total"}
        total = result.timings_ms["total"] / 1e3
        stages |= {"queue": ms(begun - came - total), "pack": ms(now - begun), "server": ms(now - came), **before}
        told |= {"iou": iou_of(result), "version": result.decoder_version, "ms": ms(total), "stages": stages}
    return pack(told, bits)


def many(head: Mapping[str, Any], masks: Iterable[tuple[Mapping[str, Any], Mask]]) -> bytes:
    """A frame with masks one after the other; each says what it is and where its bits lie in the payload."""
    told: list[dict[str, Any]] = []
    payload = bytearray()
    for what, mask in masks:
        box, bits = bits_of(mask)
        told.append({**what, "box": box, "offset": len(payload), "length": len(bits)})
        payload += bits
    return pack({**head, "kind": "masks", "masks": told}, bytes(payload))


def iou_of(result: MaskResult) -> float:
    """The decoder's own estimate, as JSON can say it."""
    return round(float(np.nan_to_num(result.iou)), 4)


def ms(seconds: float) -> float:
    """Milliseconds, as they are sent."""
    return round(seconds * 1e3, 2)
