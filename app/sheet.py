"""Sheets of pictures with captions, for the demo."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from livesam.engine.view.overlay import Pixels

WHITE = (255, 255, 255)


def tile(pictures: Sequence[Pixels], columns: int, cell_hw: tuple[int, int], gap: int = 8) -> Pixels:
    """Pictures on a white sheet, row by row, each scaled to fit its cell ``(height, width)`` and centred in it."""
    cell_height, cell_width = cell_hw
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * (cell_height + gap) + gap, columns * (cell_width + gap) + gap, 3), 255, np.uint8)
    for i, picture in enumerate(pictures):
        scale = min(cell_height / picture.shape[0], cell_width / picture.shape[1])
        size = (round(picture.shape[1] * scale), round(picture.shape[0] * scale))
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
        top = gap + (i // columns) * (cell_height + gap) + (cell_height - size[1]) // 2
        left = gap + (i % columns) * (cell_width + gap) + (cell_width - size[0]) // 2
        sheet[top : top + size[1], left : left + size[0]] = small
    return sheet


def caption(picture: Pixels, text: str) -> Pixels:
    """The picture with a line of text on a dark bar in its lower left corner."""
    out = picture.copy()
    scale = max(out.shape[:2]) / 1100
    thickness = max(1, round(1.6 * scale))
    (width, height), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
    pad = round(10 * scale)
    bottom = out.shape[0]
    bar = out[bottom - height - base - 2 * pad : bottom, : width + 2 * pad]
    bar[:] = (bar * 0.35).astype(np.uint8)
    origin = (pad, bottom - base - pad)
    cv2.putText(out, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, WHITE, thickness, cv2.LINE_AA)
    return out
