"""The outlines of a mask as polygons along the edges of its pixels, which say the same as the mask."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import numpy.typing as npt
from livesam.app.annotations.values import Mask

Ring = npt.NDArray[np.int64]  # (n, 2): x, y of pixel corners, not closed


def rings(crop: Mask) -> tuple[list[Ring], list[Ring]]:
    """Outer rings, the largest first, and holes, in the crop's pixels.

    Pixels that touch at a corner only are of different parts, so no ring meets itself.
    """
    padded = np.pad(crop, 1).astype(np.int8)
    follow = _edges(padded)
    outer: list[tuple[float, Ring]] = []
    holes: list[Ring] = []
    while follow:
        ring = _ring(follow)
        area = _area(ring)
        if area > 0:
            outer.append((area, ring))
        else:
            holes.append(ring)
    outer.sort(key=lambda one: -one[0])
    return [ring for _, ring in outer], holes


def joined(parts: list[Ring]) -> Ring:
    """Several outer rings as one polygon: each is reached from the one before over a bridge without width."""
    ring = parts[0]
    for part in parts[1:]:
        apart = np.abs(ring[:, None] - part[None]).sum(axis=2) if len(ring) * len(part) <= 4_000_000 else None
        at, to = (0, 0) if apart is None else np.unravel_index(int(apart.argmin()), apart.shape)
        turned = np.roll(part, -int(to), axis=0)
        ring = np.concatenate([ring[: int(at) + 1], turned, turned[:1], ring[int(at) :]])
    return ring


def _edges(padded: npt.NDArray[np.int8]) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """Every edge between inside and outside by its first corner, the inside on its right hand (y goes down)."""
    follow: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    down = np.diff(padded, axis=0)  # between a row and the next
    for value, forward in ((1, True), (-1, False)):
        for y, x in np.argwhere(down == value).tolist():
            start, end = ((x - 1, y), (x, y)) if forward else ((x, y), (x - 1, y))
            follow[start].append(end)
    across = np.diff(padded, axis=1)
    for value, forward in ((-1, True), (1, False)):
        for y, x in np.argwhere(across == value).tolist():
            start, end = ((x, y - 1), (x, y)) if forward else ((x, y), (x, y - 1))
            follow[start].append(end)
    return follow


def _ring(follow: dict[tuple[int, int], list[tuple[int, int]]]) -> Ring:
    """Take one ring out, without the corners that lie on a straight line."""
    first = next(iter(follow))
    corners: list[tuple[int, int]] = []
    here, heading = first, (0, 0)
    while True:
        ends = follow[here]
        # Where two pixels touch at this corner, turn right: that stays at the same pixel.
        choice = 0 if len(ends) == 1 else _rightmost(here, heading, ends)
        there = ends.pop(choice)
        if not ends:
            del follow[here]
        turned = (there[0] - here[0], there[1] - here[1])
        if turned != heading:
            corners.append(here)
        here, heading = there, turned
        if here == first:
            break
    ring = np.array(corners, np.int64)
    if len(ring) > 2 and _straight(ring[-1], ring[0], ring[1]):
        ring = ring[1:]
    return ring


def _rightmost(here: tuple[int, int], heading: tuple[int, int], ends: list[tuple[int, int]]) -> int:
    right = (-heading[1], heading[0])
    return next((i for i, end in enumerate(ends) if (end[0] - here[0], end[1] - here[1]) == right), 0)


def _straight(a: npt.NDArray[np.int64], b: npt.NDArray[np.int64], c: npt.NDArray[np.int64]) -> bool:
    return bool((a[0] == b[0] == c[0]) or (a[1] == b[1] == c[1]))


def _area(ring: Ring) -> float:
    """Positive for outer rings."""
    x, y = ring[:, 0], ring[:, 1]
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) / 2
