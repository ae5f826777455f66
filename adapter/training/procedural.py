"""Procedural images with exact instance masks: what photographs of a few kinds of scene cannot teach.

Blobs, polygons, boxes, rings and strokes teach that an outline, not a familiar class, makes an object. Branching
strokes stand for cracks and vessels, lattices and sprays of leaves for lacy plants, and shades (the ground itself, a
little darker, lighter or coarser) for defects on steel and stains: no photograph shows anything as thin or faint.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeAlias, cast

import cv2
import numpy as np
import numpy.typing as npt
from livesam.adapter.training.sources import PROCEDURAL, Image, Source, few_ids

Mask: TypeAlias = npt.NDArray[np.bool_]
Rng: TypeAlias = np.random.Generator
SIDE = 448
CHUNK = 20  # images that one process makes at a time


def texture(rng: Rng, height: int, width: int) -> Image:
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
        blend = noise(rng, height, width, range(2, 6))
    elif kind == 3:
        blend = 0.5 + 0.5 * np.sin(along * 2 * np.pi * rng.uniform(4, 40))
    else:
        across = -x * np.sin(angle) + y * np.cos(angle)
        frequency = 2 * np.pi * rng.uniform(3, 20)
        blend = ((np.sin(along * frequency) > 0) ^ (np.sin(across * frequency) > 0)).astype(np.float32)
    pixels = first + blend[..., None] * (second - first)
    grain = rng.normal(0, rng.uniform(1, 12), (height, width, 1))
    return cast(Image, np.clip(pixels + grain, 0, 255).astype(np.uint8))


def noise(rng: Rng, height: int, width: int, octaves: range) -> npt.NDArray[np.float32]:
    """Smooth noise in 0..1: the sum of random grids of ``2**octave`` cells, finer ones weaker."""
    total = np.zeros((height, width), np.float32)
    for octave in octaves:
        grid = rng.random((2**octave, 2**octave)).astype(np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) / 2 ** (octave - octaves.start + 1)
    return cast(npt.NDArray[np.float32], (total - total.min()) / max(float(np.ptp(total)), 1e-6))


# -- shapes: each draws one thing of some radius around a centre into a uint8 mask


def _blob(rng: Rng, mask: npt.NDArray[np.uint8], centre: npt.NDArray[np.float64], radius: float) -> None:
    """A star-convex blob, or a polygon of few corners."""
    smooth = rng.random() < 0.5
    corners = 48 if smooth else int(rng.integers(3, 8))
    angles = np.linspace(0, 2 * np.pi, corners, False) if smooth else np.sort(rng.uniform(0, 2 * np.pi, corners))
    radii = np.full(corners, radius)
    for harmonic in range(1, 5):
        radii = radii * (1 + rng.uniform(0, 0.35) / harmonic * np.sin(harmonic * angles + rng.uniform(0, 6.3)))
    points = np.stack([np.cos(angles) * rng.uniform(0.5, 1), np.sin(angles)], 1) * radii[:, None] + centre
    cv2.fillPoly(mask, [points.astype(np.int32)], 1)


def _box(rng: Rng, mask: npt.NDArray[np.uint8], centre: npt.NDArray[np.float64], radius: float) -> None:
    box = cv2.boxPoints((tuple(centre), tuple(radius * rng.uniform(0.4, 2, 2)), float(rng.uniform(0, 180))))
    cv2.fillPoly(mask, [box.astype(np.int32)], 1)


def _ellipse(rng: Rng, mask: npt.NDArray[np.uint8], centre: npt.NDArray[np.float64], radius: float) -> None:
    """Filled, or a ring."""
    axes = tuple(int(v) for v in np.maximum(4, radius * rng.uniform(0.4, 1, 2)))
    thickness = -1 if rng.random() < 0.5 else max(2, int(radius * rng.uniform(0.12, 0.4)))
    cv2.ellipse(mask, tuple(int(v) for v in centre), axes, float(rng.uniform(0, 180)), 0, 360, 1, thickness)


def _stroke(rng: Rng, mask: npt.NDArray[np.uint8], centre: npt.NDArray[np.float64], radius: float) -> None:
    """One wandering stroke."""
    steps = np.cumsum(rng.normal(0, radius * 0.5, (6, 2)), 0) + centre
    width = max(2, int(max(mask.shape) * rng.uniform(0.008, 0.03)))
    cv2.polylines(mask, [steps.astype(np.int32)], False, 1, width)


def _branches(rng: Rng, mask: npt.NDArray[np.uint8], centre: npt.NDArray[np.float64], radius: float) -> None:
    """A tree of strokes that fork and taper: a crack, a vessel tree, roots."""
    width = max(mask.shape) * float(np.exp(rng.uniform(np.log(0.006), np.log(0.03))))
    jag = rng.uniform(0.05, 0.5)  # radians a step: smooth vessels to jagged cracks
    open_ends = [(centre.copy(), rng.uniform(0, 2 * np.pi), width, 2.5 * radius)]
    open_ends.append((centre.copy(), open_ends[0][1] + np.pi + rng.normal() * 0.4, width, 2.5 * radius))
    strokes = 0
    while open_ends and strokes < 40:
        place, angle, thick, length = open_ends.pop(0)
        strokes += 1
        done = 0.0
        while done < length:
            step = rng.uniform(4, 14) * max(mask.shape) / SIDE
            angle += rng.normal() * jag
            following = place + step * np.array((np.cos(angle), np.sin(angle)))
            cv2.line(mask, _point(place), _point(following), 1, max(1, round(thick)))
            place, done = following, done + step
            if thick > 1.5 and rng.random() < 0.08:
                side = rng.choice((-1, 1)) * rng.uniform(0.4, 1.2)
                open_ends.append((place.copy(), angle + side, thick * rng.uniform(0.5, 0.9), (length - done) * 0.8))
        if rng.random() < 0.3 and thick > 2:
            open_ends.append((place, angle + rng.normal() * 0.6, thick * 0.7, length * 0.5))


def _lattice(rng: Rng, mask: npt.NDArray[np.uint8], centre: npt.NDArray[np.float64], radius: float) -> None:
    """A mesh inside a blob: fence, net, basket, honeycomb."""
    inside = np.zeros_like(mask)
    _blob(rng, inside, centre, 1.3 * radius)
    lines = np.zeros_like(mask)
    pitch = max(8.0, radius * rng.uniform(0.15, 0.5))
    width = max(2, int(pitch * rng.uniform(0.15, 0.45)))
    reach = 3 * radius
    base = rng.uniform(0, np.pi)
    for angle in base + np.arange(int(rng.integers(2, 4))) * np.pi / rng.choice((2, 3)):
        direction = np.array((np.cos(angle), np.sin(angle)))
        normal = np.array((-direction[1], direction[0]))
        for offset in np.arange(-reach, reach, pitch):
            middle = centre + normal * offset
            cv2.line(lines, _point(middle - reach * direction), _point(middle + reach * direction), 1, width)
    mask |= inside & lines


def _leaves(rng: Rng, mask: npt.NDArray[np.uint8], centre: npt.NDArray[np.float64], radius: float) -> None:
    """A rosette or spray: stems from one centre, with small leaves along them."""
    stems = int(rng.integers(3, 11))
    for angle in rng.uniform(0, 2 * np.pi) + np.arange(stems) * 2 * np.pi / stems + rng.normal(0, 0.2, stems):
        length = radius * rng.uniform(0.7, 1.6)
        direction = np.array((np.cos(angle), np.sin(angle)))
        cv2.line(mask, _point(centre), _point(centre + direction * length), 1, max(1, int(radius * 0.04)))
        pairs = int(rng.integers(1, 6))
        for part in np.linspace(0.35, 1.0, pairs):
            for side in (-1, 1):
                tilt = angle + side * rng.uniform(0.2, 0.9)
                size = radius * rng.uniform(0.12, 0.3) * (1.4 if pairs == 1 else 1)
                away = np.array((np.cos(tilt), np.sin(tilt))) * size
                axes = (max(2, int(size)), max(1, int(size * rng.uniform(0.25, 0.55))))
                at = _point(centre + direction * length * part + away)
                cv2.ellipse(mask, at, axes, float(np.degrees(tilt)), 0, 360, 1, -1)


def _point(place: npt.NDArray[np.float64]) -> tuple[int, int]:
    return int(place[0]), int(place[1])


Draw: TypeAlias = Callable[[Rng, npt.NDArray[np.uint8], npt.NDArray[np.float64], float], None]
SHAPES: tuple[tuple[Draw, float], ...] = (
    (_blob, 0.28), (_box, 0.1), (_ellipse, 0.2), (_stroke, 0.1), (_branches, 0.14), (_lattice, 0.08), (_leaves, 0.1),
)  # fmt: skip


def shape(rng: Rng, height: int, width: int) -> Mask:
    """The mask of one random thing."""
    mask = np.zeros((height, width), np.uint8)
    draw = SHAPES[int(rng.choice(len(SHAPES), p=[share for _, share in SHAPES]))][0]
    centre = rng.uniform(0.1, 0.9, 2) * (width, height)
    draw(rng, mask, centre, max(height, width) * float(np.exp(rng.uniform(np.log(0.06), np.log(0.35)))))
    return mask.astype(bool)


def shade(rng: Rng, image: Image) -> Image:
    """The ground itself, a little darker, lighter, tinted, or coarser: what makes a faint object."""
    height, width = image.shape[:2]
    pixels: Any = image.astype(np.float32)
    if rng.random() < 0.3:
        pixels = cv2.GaussianBlur(pixels, (0, 0), float(rng.uniform(1, 4)))
    amount = rng.choice((-1, 1)) * rng.uniform(8, 50)
    tint = rng.uniform(0.5, 1, 3) if rng.random() < 0.3 else np.ones(3)
    pixels = pixels + amount * tint * (0.5 + noise(rng, height, width, range(2, 5))[..., None])
    if rng.random() < 0.4:
        pixels = pixels + rng.normal(0, rng.uniform(3, 15), (height, width, 1))
    return cast(Image, np.clip(pixels, 0, 255).astype(np.uint8))


def paste(rng: Rng, image: Image, ids: npt.NDArray[np.int32], mask: Mask, pixels: Image) -> None:
    """Lay ``pixels`` over ``image`` where ``mask`` is set, with a soft edge, as a new id on top, in place."""
    sigma = float(np.exp(rng.uniform(np.log(0.3), np.log(2.0))))
    alpha = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), sigma)[..., None]
    image[:] = (image * (1 - alpha) + pixels * alpha).astype(np.uint8)
    ids[mask] = ids.max() + 1


def procedural(
    rng: Rng, height: int, width: int, background: Image | None = None
) -> tuple[Image, npt.NDArray[np.int32]]:
    """An image of 2 to 9 things, later ones over earlier ones, on a texture or on ``background``."""
    image = texture(rng, height, width) if background is None else background.copy()
    ids = np.zeros((height, width), np.int32)
    faint = rng.random() < 0.35
    for _ in range(int(rng.integers(2, 10))):
        mask = shape(rng, height, width)
        pixels = shade(rng, image) if faint or rng.random() < 0.2 else texture(rng, height, width)
        paste(rng, image, ids, mask, pixels)
    return image, ids


def procedural_sources(
    count: int, seed: int, workers: int, backgrounds: list[Image] | None = None, side: int = SIDE
) -> Iterator[Source]:
    """So many procedural images, made by ``workers`` processes; a function of count and seed alone.

    Processes are spawned: forked ones inherit locks of PyTorch's and OpenCV's threads and hang.
    """
    jobs = [(seed, first, min(CHUNK, count - first), backgrounds or [], side) for first in range(0, count, CHUNK)]
    if workers <= 1:
        for job in jobs:
            yield from _make(job)
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for part in pool.map(_make, jobs):
            yield from part


def _make(job: tuple[int, int, int, list[Any], int]) -> list[Source]:
    seed, first, count, backgrounds, side = job
    cv2.setNumThreads(1)
    made = []
    for index in range(first, first + count):
        rng = np.random.default_rng((seed, index))
        background = None
        if backgrounds and rng.random() < 0.5:
            drawn = backgrounds[int(rng.integers(len(backgrounds)))]
            background = cast(Image, cv2.resize(drawn, (side, side), interpolation=cv2.INTER_AREA))
        image, ids = procedural(rng, side, side, background)
        made.append(Source(image, few_ids(ids), PROCEDURAL))
    return made
