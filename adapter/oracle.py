"""The simulated user: where the next click goes, given the truth and the current mask.

The click oracle of RITM (``SamsungLabs/ritm_interactive_segmentation`` @ b9b4460, ``isegm/inference/clicker.py``),
which the papers compared with use: the deepest point of the larger error region, by exact Euclidean distance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
from livesam.engine.values.prompt import Click

Mask: TypeAlias = npt.NDArray[np.bool_]


def next_click(truth: Mask, predicted: Mask, ignore: Mask | None = None, visited: Sequence[Click] = ()) -> Click | None:
    """The click that a careful user would give next, at integer pixel coordinates. Deterministic.

    Missed object and wrong object are two error regions; ignored pixels belong to neither, and the image's border ends
    both. The click goes to the first (row by row) of the pixels that are farthest from their region's outside, and it
    is positive only if the missed region is strictly deeper than the wrong one. Pixels clicked before have depth 0. An
    empty prediction therefore gets a positive click at the deepest point of the object.

    Args:
        truth: bool ``(H, W)``, the object.
        predicted: bool ``(H, W)``, the current mask; all False before the first click.
        ignore: bool ``(H, W)``, pixels without a label.
        visited: the clicks so far.

    Returns:
        The click, or None where no error pixel is left that was not clicked (RITM clicks the corner pixel then).

    Raises:
        ValueError: the masks are not two-dimensional booleans of one shape.
    """
    for name, mask in (("truth", truth), ("predicted", predicted), ("ignore", ignore)):
        if mask is not None and (mask.ndim != 2 or mask.dtype != np.bool_ or mask.shape != truth.shape):
            raise ValueError(
                f"the masks must be bool (H, W) of one shape {truth.shape}, got {name} {mask.dtype} {mask.shape}"
            )
    wrong = truth ^ predicted
    if ignore is not None:
        wrong &= ~ignore
    missed_depth, missed_xy = deepest(wrong & truth, visited)
    extra_depth, extra_xy = deepest(wrong & predicted, visited)
    if missed_depth == 0 and extra_depth == 0:
        return None
    if missed_depth > extra_depth:
        return Click(float(missed_xy[0]), float(missed_xy[1]), positive=True)
    return Click(float(extra_xy[0]), float(extra_xy[1]), positive=False)


def depth_map(region: Mask) -> npt.NDArray[np.float32]:
    """Each pixel's Euclidean distance to the nearest one outside of the region; all beyond the image is outside."""
    return np.sqrt(_squared_depth(np.pad(region, 1).astype(np.uint8)))


def deepest(region: Mask, visited: Sequence[Click] = ()) -> tuple[float, tuple[int, int]]:
    """Depth in pixels and ``(x, y)`` of the region's first deepest pixel; depth 0 where nothing is left.

    Depth is the Euclidean distance to the nearest pixel outside of the region; all beyond the image is outside.
    """
    cells = region.view(np.uint8)
    x0, y0, width, height = cv2.boundingRect(cells)
    if width == 0:
        return 0.0, (0, 0)
    # The nearest outside pixel always lies in the bounding box or in the ring around it, so the crop changes no number.
    crop = np.pad(cells[y0 : y0 + height, x0 : x0 + width], 1)
    squared = _squared_depth(crop)
    for click in visited:
        row, column = round(click.y) - y0, round(click.x) - x0
        if 0 <= row < height and 0 <= column < width:
            squared[row, column] = 0.0
    row, column = divmod(int(np.argmax(squared)), width)
    return float(squared[row, column]) ** 0.5, (x0 + column, y0 + row)


def _squared_depth(cells: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Squared depths of all cells but those of the ring around them, which must be 0.

    They are whole numbers, and made so: OpenCV 5.0's distances differ in the last bit from one call to the next, which
    would make the first of several deepest pixels a matter of chance. Right up to depths of 2000 pixels.
    """
    depth = cv2.distanceTransform(cells, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    return np.asarray(np.rint(depth * depth), np.float32)
