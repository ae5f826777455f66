"""Several masks in one frame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from livesam.wire import Mask, bits_of, pack

__all__ = ["Mask", "many"]


def many(head: Mapping[str, Any], masks: Iterable[tuple[Mapping[str, Any], Mask]]) -> bytes:
    """A frame with masks one after the other; each says what it is and where its bits lie in the payload."""
    told: list[dict[str, Any]] = []
    payload = bytearray()
    for what, mask in masks:
        box, bits = bits_of(mask)
        told.append({**what, "box": box, "offset": len(payload), "length": len(bits)})
        payload += bits
    return pack({**head, "kind": "masks", "masks": told}, bytes(payload))
