"""Clicks as an annotator makes them, on masks that are known: to learn from, not to measure with (``oracle``)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from livesam.adapter.oracle import depth_map


def simulate_click(
    rng: np.random.Generator, target: npt.NDArray[np.bool_], mask: npt.NDArray[np.bool_], valid_hw: tuple[int, int]
) -> tuple[float, float, int]:
    """A click ``(x, y, label)`` in cells of the target: half of the time the deepest point of the larger error region,
    else anywhere in it with probability by depth. Where nothing is wrong it confirms the object."""
    target, mask = target[: valid_hw[0], : valid_hw[1]], mask[: valid_hw[0], : valid_hw[1]]
    missed, extra = (depth_map(target & ~mask), depth_map(mask & ~target))
    positive = missed.max() >= extra.max()
    depth = missed if positive else extra
    if depth.max() == 0:
        depth, positive = depth_map(target), True
    if depth.max() == 0:  # the object is thinner than a cell
        return valid_hw[1] / 2, valid_hw[0] / 2, -1
    if rng.random() < 0.5:
        index = int(depth.argmax())
    else:
        flat = depth.ravel()
        index = int(np.searchsorted(np.cumsum(flat), rng.random() * flat.sum(), side="right").clip(0, flat.size - 1))
    y, x = divmod(index, target.shape[1])
    return x + rng.random(), y + rng.random(), int(positive)
