"""A mask's border moved past the clicks that contradict it: what late clicks ask for.

From some five clicks on most are about thin pieces along the border. A decoder answers each by drawing the whole mask
anew, and on images unlike those it was trained on it loses elsewhere what earlier clicks had gained: from the tenth
click on a third of them made masks worse. So a click near the border of the last answer moves that border, and
everything else stays as it was.

What moves is the signed distance to the border. A click in the middle of a piece that is missing, d cells from the
border, says that the border belongs d cells beyond it, so the distance changes by 2 d there, and less around it.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
from livesam.engine.values.prompt import Click
from livesam.engine.view.bumps import Colours, Float64, bumps_at, correction, places_of
from livesam.engine.view.geometry import ResizeGeometry

Logits = npt.NDArray[np.float32]

# Chosen on the tuning sets (docs/results.md), for clicks and failures; on validation nothing changes.
FROM_CLICK = 6  # from the third on validation loses 6 % of the clicks; most objects it knows are done by then
NEAR = 0.25  # of the mask's thickness: further from the border than that, a click is about something else
FEWEST = 16  # cells of a mask that has a border to speak of
FURTHEST = 1 / 8  # of the side of the low-res logits: further, a border does not move, it is the answer that is wrong
REACH = 3 / 64  # least standard deviation of a change in place, of the side of the low-res logits
WIDTH = 4.0  # and in distances of the click from the border
WIDEST = 1.0  # most, of the mask's thickness: leaves and cracks must not melt
LIKENESS = 100.0  # in colour, of 255
CLOSE, SOFT = 9, 1.5  # cells: side of the square around a change, and the standard deviation of its rim


def moves_border(last: Logits, clicks: Sequence[Click], geometry: ResizeGeometry) -> bool:
    """Whether the newest of a window's clicks contradicts the last answer, and does so near its border.

    Args:
        last: the last answer's low-res logits as the window's, ``(4h, 4w)``.
        clicks: all of the object, in pixels of the window.
        geometry: of the window.
    """
    if len(clicks) < FROM_CLICK or not np.isfinite(last).all():
        return False
    mask = last > 0
    if mask.sum() < FEWEST:
        return False
    newest = clicks[-1]
    ((x, y),) = places_of([newest], geometry)
    row, column = (min(max(round(float(place)), 0), side - 1) for place, side in zip((y, x), mask.shape, strict=True))
    if mask[row, column] == newest.positive:
        return False
    distance = _distance(mask, geometry)
    return bool(abs(distance[row, column]) <= min(NEAR * _thickness(distance), FURTHEST * max(mask.shape)))


def moved(
    logits: Logits,
    colours: Colours,
    places: Float64,
    cells: npt.NDArray[np.int_],
    signs: Float64,
    said: Float64,
    geometry: ResizeGeometry,
) -> Logits:
    """The logits with their border past each click that contradicts them; the same array where none does.

    Args:
        logits: float32 ``(4h, 4w)``.
        colours: of ``low_res_colours``.
        places, cells: x and y of each click in cells, and rounded: ``(K, 2)``.
        signs: 1 or -1 for what each says, ``(K,)``.
        said: the logits at the clicks, ``(K,)``.
        geometry: of the window.
    """
    wrong = signs * said <= 0
    mask = logits > 0
    if not wrong.any() or mask.sum() < FEWEST or mask[: len(colours), : colours.shape[1]].all():
        return logits
    distance = _distance(mask, geometry)
    here = distance[cells[:, 1], cells[:, 0]].astype(np.float64)
    wrong &= np.abs(here) <= FURTHEST * max(logits.shape)
    if not wrong.any():
        return logits
    depth = np.where(wrong, np.maximum(np.abs(here), 1), 0)
    reach = np.minimum(np.maximum(REACH * max(logits.shape), WIDTH * depth), WIDEST * _thickness(distance))
    bumps = bumps_at(places, cells, colours, logits.shape, reach, LIKENESS)
    change = correction(bumps, places, np.where(wrong, signs * depth - here, 0))
    result, after = logits.copy(), distance + change
    turned = (after > 0) != (distance > 0)
    result[turned] = np.clip(after[turned], -2, 2)  # cells, taken as logits: small at the new border
    return result


def _distance(mask: npt.NDArray[np.bool_], geometry: ResizeGeometry) -> npt.NDArray[np.float32]:
    """Cells to the border, positive inside. The image's own edges are none: a mask goes on beyond them."""
    rows, columns = (-(-side // 4) for side in geometry.resized_hw)
    inside = mask[:rows, :columns].astype(np.uint8)
    if inside.all():
        return np.full(mask.shape, max(mask.shape), np.float32)
    into, out_of = (cv2.distanceTransform(side, cv2.DIST_L2, 5) - np.float32(0.5) for side in (inside, 1 - inside))
    distance = np.where(inside > 0, into, -out_of)
    beyond = ((0, mask.shape[0] - rows), (0, mask.shape[1] - columns))
    return np.asarray(np.pad(distance, beyond, mode="edge"), np.float32)


def _thickness(distance: npt.NDArray[np.float32]) -> float:
    """Of a mask, in cells from its border to the place that is furthest inside."""
    return float(distance.max())


def near_changes(before: Logits, after: Logits) -> Logits:
    """1 where the mask has changed and close by, softly 0 elsewhere: ``(4h, 4w)``."""
    changed = ((before > 0) != (after > 0)).astype(np.uint8)
    close = cv2.dilate(changed, np.ones((CLOSE, CLOSE), np.uint8)).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(close, (0, 0), SOFT), np.float32)
