"""What a kernel machine learns of clicks: sums of bumps, one a click, that fall off in place and in colour."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from livesam.engine.values.prompt import Click
from livesam.engine.view.geometry import ResizeGeometry

Colours = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Maps = npt.NDArray[np.float32]

RIDGE = 0.05  # added to the diagonal, in shares of it: clicks side by side that contradict each other stay solvable
SPAN = 4  # a bump ends at so many standard deviations


def places_of(clicks: Sequence[Click], geometry: ResizeGeometry) -> Float64:
    """Where a window's clicks are, in cells: x and y, ``(K, 2)``. Cell i is the middle of input pixels 4i to 4i + 3."""
    return geometry.to_input_frame(np.array([(c.x + 0.5, c.y + 0.5) for c in clicks])).astype(np.float64) / 4 - 0.5


def correction(bumps: Maps, places: Float64, missing: Float64) -> Maps:
    """The sum of bumps that adds what is missing at each place, ``(4h, 4w)``; all are solved for together.

    Args:
        bumps: of ``bumps_at``, ``(K, 4h, 4w)``.
        places: x and y in cells, ``(K, 2)``.
        missing: ``(K,)``; 0 at a place keeps what is there.
    """
    felt = at(bumps, places).T  # (K, K): by a click of each bump, as the mask will have it
    solution = np.linalg.pinv(felt * (1 + RIDGE * np.eye(len(felt))))
    heights = solution @ missing
    heights += solution @ (missing - felt @ heights)  # what the ridge has left
    return np.asarray(np.tensordot(heights.astype(np.float32), bumps, 1), np.float32)


def bumps_at(
    places: Float64, cells: npt.NDArray[np.int_], colours: Colours, shape: tuple[int, ...], reach: Float64, alike: float
) -> Maps:
    """A bump a click, of height 1 at its place and colour: float32 ``(K, 4h, 4w)``.

    Args:
        places, cells: x and y of each click in cells, and rounded: ``(K, 2)``.
        colours: of ``low_res_colours``.
        shape: of the low-res logits.
        reach: standard deviation of each in place, in cells, ``(K,)``.
        alike: the same in colour, of 255.
    """
    rows, columns = colours.shape[:2]
    down, across = (
        np.exp(-((np.arange(length) - along[:, None]) ** 2) / (2 * reach[:, None] ** 2)).astype(np.float32)
        for length, along in ((rows, places[:, 1]), (columns, places[:, 0]))
    )
    bumps = np.zeros((len(places), *shape), np.float32)
    for k, (x, y) in enumerate(cells.tolist()):
        span = int(np.ceil(SPAN * reach[k]))
        part = slice(max(0, y - span), y + span + 1), slice(max(0, x - span), x + span + 1)
        away = colours[part] - colours[y, x]
        like = np.exp(np.einsum("ijc,ijc->ij", away, away) * np.float32(-0.5 / alike**2))
        bumps[k, :rows, :columns][part] = like * down[k, part[0], None] * across[k, part[1]]
    return bumps


def at(maps: Maps, places: Float64) -> Float64:
    """Maps ``(..., 4h, 4w)`` at places ``(K, 2)``, bilinear, as masks are scaled up: ``(..., K)``."""
    last = np.array(maps.shape[:-3:-1]) - 1
    low = np.minimum(np.maximum(np.floor(places), 0), last - 1).astype(int)  # np.clip takes thrice as long
    x, y = np.minimum(np.maximum(places - low, 0), 1).T
    j, i = low.T
    top = maps[..., i, j] * (1 - x) + maps[..., i, j + 1] * x
    return np.asarray(top * (1 - y) + (maps[..., i + 1, j] * (1 - x) + maps[..., i + 1, j + 1] * x) * y, np.float64)
