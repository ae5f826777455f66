"""Procedural images with exact instance masks: textured shapes, thin and hollow things, occlusion.

They teach what photographs of a few kinds of scene cannot: that an outline, not a familiar class, makes an object.
"""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]  # (H, W, 3) RGB
Ids = npt.NDArray[np.int32]  # (H, W), 0 = background


def texture(rng: np.random.Generator, height: int, width: int) -> Image:
    """A random texture: flat, gradient, multi-scale noise, stripes or checks, in two random colours plus grain."""
    first, second = rng.uniform(0, 255, (2, 3))
    if rng.random() < 0.5:  # close colours are the hard case
        second = np.clip(first + rng.normal(0, 40, 3), 0, 255)
    kind = rng.integers(5)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / max(height, width)
    angle = rng.uniform(0, np.pi)
    along = x * np.cos(angle) + y * np.sin(angle)
    if kind == 0:
        blend = np.zeros((height, width), np.float32)
    elif kind == 1:
        blend = (along - along.min()) / max(float(np.ptp(along)), 1e-6)
    elif kind == 2:
        blend = np.zeros((height, width), np.float32)
        for octave in range(2, 6):
            grid = rng.random((2**octave, 2**octave)).astype(np.float32)
            blend += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) / 2 ** (octave - 1)
        blend = (blend - blend.min()) / max(float(np.ptp(blend)), 1e-6)
    elif kind == 3:
        blend = 0.5 + 0.5 * np.sin(along * 2 * np.pi * rng.uniform(4, 40))
    else:
        across = -x * np.sin(angle) + y * np.cos(angle)
        frequency = 2 * np.pi * rng.uniform(3, 20)
        blend = ((np.sin(along * frequency) > 0) ^ (np.sin(across * frequency) > 0)).astype(np.float32)
    pixels = first + blend[..., None] * (second - first)
    grain = rng.normal(0, rng.uniform(1, 12), (height, width, 1))
    return cast(Image, np.clip(pixels + grain, 0, 255).astype(np.uint8))


def shape(rng: np.random.Generator, height: int, width: int) -> npt.NDArray[np.bool_]:
    """The mask of one random thing: a blob, polygon, box, ring or stroke."""
    mask = np.zeros((height, width), np.uint8)
    side = max(height, width)
    centre = rng.uniform(0.1, 0.9, 2) * (width, height)
    radius = side * np.exp(rng.uniform(np.log(0.06), np.log(0.35)))
    kind = rng.integers(6)
    if kind <= 1:  # star-convex blob, or polygon with few corners
        corners = int(rng.integers(3, 8)) if kind else 48
        angles = np.sort(rng.uniform(0, 2 * np.pi, corners)) if kind else np.linspace(0, 2 * np.pi, corners, False)
        radii = np.full(corners, radius)
        for harmonic in range(1, 5):
            radii = radii * (1 + rng.uniform(0, 0.35) / harmonic * np.sin(harmonic * angles + rng.uniform(0, 6.3)))
        points = np.stack([np.cos(angles) * rng.uniform(0.5, 1), np.sin(angles)], 1) * radii[:, None] + centre
        cv2.fillPoly(mask, [points.astype(np.int32)], 1)
    elif kind == 2:
        box = cv2.boxPoints((tuple(centre), tuple(radius * rng.uniform(0.4, 2, 2)), float(rng.uniform(0, 180))))
        cv2.fillPoly(mask, [box.astype(np.int32)], 1)
    elif kind == 3:
        axes = tuple(int(v) for v in np.maximum(2, radius * rng.uniform(0.4, 1, 2)))
        cv2.ellipse(mask, tuple(int(v) for v in centre), axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
    elif kind == 4:  # hollow
        axes = tuple(int(v) for v in np.maximum(4, radius * rng.uniform(0.6, 1, 2)))
        thickness = max(2, int(radius * rng.uniform(0.12, 0.4)))
        cv2.ellipse(mask, tuple(int(v) for v in centre), axes, float(rng.uniform(0, 180)), 0, 360, 1, thickness)
    else:  # thin: a wandering stroke
        steps = np.cumsum(rng.normal(0, radius * 0.5, (6, 2)), 0) + centre
        cv2.polylines(mask, [steps.astype(np.int32)], False, 1, max(2, int(side * rng.uniform(0.008, 0.03))))
    return mask.astype(bool)


def paste(rng: np.random.Generator, image: Image, ids: Ids, mask: npt.NDArray[np.bool_], pixels: Image) -> None:
    """Lay ``pixels`` over ``image`` where ``mask`` is set, with a soft edge, as a new id on top, in place."""
    sigma = rng.uniform(0.3, 1.2)
    alpha = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), sigma)[..., None]
    image[:] = (image * (1 - alpha) + pixels * alpha).astype(np.uint8)
    ids[mask] = ids.max() + 1


def procedural(rng: np.random.Generator, height: int, width: int, background: Image | None = None) -> tuple[Image, Ids]:
    """An image of 3 to 9 textured shapes, later ones over earlier ones, on a texture or on ``background``."""
    image = texture(rng, height, width) if background is None else background.copy()
    ids = np.zeros((height, width), np.int32)
    for _ in range(int(rng.integers(3, 10))):
        paste(rng, image, ids, shape(rng, height, width), texture(rng, height, width))
    return image, ids
