"""Masks and clicks drawn on an image, for a person's eye."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from livesam.engine.values.prompt import Box, Click

Pixels = npt.NDArray[np.uint8]

# Distinct on photos and for colour-blind eyes (Okabe and Ito's palette, brightened), RGB.
COLOURS: tuple[tuple[int, int, int], ...] = (
    (30, 144, 255),
    (255, 140, 0),
    (50, 205, 100),
    (230, 90, 200),
    (250, 220, 40),
    (0, 210, 220),
)
_POSITIVE, _NEGATIVE, _WHITE = (46, 190, 80), (225, 50, 50), (255, 255, 255)
_TINT, _DIM = 0.45, 0.72


@dataclass(frozen=True, eq=False)
class Layer:
    """One object: its mask, bool ``(H, W)``, and what the user said about it."""

    mask: npt.NDArray[np.bool_]
    clicks: Sequence[Click] = ()
    box: Box | None = None
    colour: tuple[int, int, int] | None = None


def draw(image: Pixels, layers: Sequence[Layer], min_long_side: int = 900) -> Pixels:
    """The image with each layer tinted and outlined, the rest dimmed, clicks on top.

    Args:
        image: RGB, uint8 ``(H, W, 3)``.
        layers: drawn in order, the last on top.
        min_long_side: smaller images are enlarged to it, so that outlines and click markers stay fine.

    Returns:
        RGB, uint8, the image's size times a factor of at least 1.
    """
    height, width = image.shape[:2]
    factor = max(1.0, min_long_side / max(height, width))
    size = (round(width * factor), round(height * factor))
    canvas = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC).astype(np.float32)
    masks = [_smooth(layer.mask, size) for layer in layers]  # (H, W) bool each
    covered = np.zeros(canvas.shape[:2], bool)
    for mask in masks:
        covered |= mask
    canvas[~covered] *= _DIM
    colours = [layer.colour or COLOURS[i % len(COLOURS)] for i, layer in enumerate(layers)]
    for mask, colour in zip(masks, colours, strict=True):
        canvas[mask] = canvas[mask] * (1 - _TINT) + np.array(colour, np.float32) * _TINT
    picture: Pixels = np.clip(canvas, 0, 255).astype(np.uint8)

    line = max(2, round(max(size) / 450))
    for mask, colour in zip(masks, colours, strict=True):
        outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, outlines, -1, _WHITE, line + 2, cv2.LINE_AA)
        cv2.drawContours(picture, outlines, -1, colour, line, cv2.LINE_AA)
    for layer, colour in zip(layers, colours, strict=True):
        if layer.box is not None:
            x0, y0, x1, y1 = (round(v * factor) for v in layer.box.as_tuple())
            cv2.rectangle(picture, (x0, y0), (x1, y1), _WHITE, line + 2, cv2.LINE_AA)
            cv2.rectangle(picture, (x0, y0), (x1, y1), colour, line, cv2.LINE_AA)
        for click in layer.clicks:
            _mark(picture, click, factor, max(7, round(max(size) / 95)))
    return picture


def _smooth(mask: npt.NDArray[np.bool_], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """The mask at ``(width, height)``, its edge between pixels rounded instead of stepped."""
    if mask.shape == (size[1], size[0]):
        return mask
    return np.asarray(cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_CUBIC) > 0.5)


def _mark(picture: Pixels, click: Click, factor: float, radius: int) -> None:
    centre = (round((click.x + 0.5) * factor), round((click.y + 0.5) * factor))
    cv2.circle(picture, centre, radius + 2, _WHITE, -1, cv2.LINE_AA)
    cv2.circle(picture, centre, radius, _POSITIVE if click.positive else _NEGATIVE, -1, cv2.LINE_AA)
    arm, thick = round(radius * 0.55), max(2, radius // 4)
    cv2.line(picture, (centre[0] - arm, centre[1]), (centre[0] + arm, centre[1]), _WHITE, thick, cv2.LINE_AA)
    if click.positive:
        cv2.line(picture, (centre[0], centre[1] - arm), (centre[0], centre[1] + arm), _WHITE, thick, cv2.LINE_AA)
