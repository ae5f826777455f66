"""Clicks are obeyed: where a mask contradicts a click, its logits are corrected around that click.

A decoder takes clicks as advice. The further an image is from what it was trained on, the more of them it leaves
unheeded. The correction is what a kernel machine learns from the clicks of the object: a sum of bumps, one a click,
each falling off with distance in place and in colour, solved together so that every click gets its margin while those
that have it already keep what they have. A closed form, so nothing has to be swapped; as with any learning from clicks
alone, it holds for this object only.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
from livesam.engine.values.prompt import Click
from livesam.engine.view.geometry import ResizeGeometry

Logits = npt.NDArray[np.float32]
Colours = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

# Chosen on validation sets: more reach or likeness spills onto what was right, less corrects little but the click.
REACH = 1 / 32  # standard deviation of a bump in place, of the side of the low-res logits
LIKENESS = 25.0  # in colour, of 255
MARGIN = 2.0  # logit that a click gets
RIDGE = 0.05  # added to the diagonal, in shares of it: clicks side by side that contradict each other stay solvable
SPAN = 4  # a bump ends at so many standard deviations
BLUR = 1 / 4  # of a reach, standard deviation with which colours are smoothed: texture must not tear a correction


def obey(logits: Logits, colours: Colours, clicks: Sequence[Click], geometry: ResizeGeometry) -> Logits:
    """The logits with every click given its margin; the same array where all clicks have it. Deterministic.

    Of clicks in the same low-res cell the last one counts.

    Args:
        logits: float32 ``(4h, 4w)``, a decoder's low-res logits of the window.
        colours: of ``low_res_colours``.
        clicks: in pixels of the window.
        geometry: of the window.
    """
    if not clicks or not np.isfinite(logits).all():
        return logits
    # Low-res cell i is the middle of input pixels 4i to 4i + 3.
    places = geometry.to_input_frame(np.array([(c.x + 0.5, c.y + 0.5) for c in clicks])).astype(np.float64) / 4 - 0.5
    cells = np.minimum(np.maximum(np.rint(places), 0), (colours.shape[1] - 1, colours.shape[0] - 1)).astype(int)
    latest = list({(x, y): index for index, (x, y) in enumerate(cells.tolist())}.values())
    places, cells = places[latest], cells[latest]
    signs = np.array([1.0 if clicks[index].positive else -1.0 for index in latest])
    said = _at(logits, places)
    missing = np.where(signs * said < MARGIN, signs * MARGIN - said, 0.0)
    if not missing.any():
        return logits
    bumps = _bumps(places, cells, colours, logits.shape)
    felt = _at(bumps, places).T  # (K, K): by a click of each bump, as the mask will have it
    solution = np.linalg.pinv(felt * (1 + RIDGE * np.eye(len(felt))))
    heights = solution @ missing
    heights += solution @ (missing - felt @ heights)  # what the ridge has left
    corrected = np.asarray(logits + np.tensordot(heights.astype(np.float32), bumps, 1), np.float32)
    part = slice(colours.shape[0]), slice(colours.shape[1])
    _turn_specks(corrected[part], logits[part], places, (REACH * max(logits.shape)) ** 2)
    return corrected


def _turn_specks(corrected: Logits, before: Logits, places: Float64, size: float) -> None:
    """Turn over, in place, islands and holes of fewer cells than ``size`` that a correction made and nobody clicked.

    What it cut off counts as made; pieces that it did not touch stay, and so does each side's largest.
    """
    changed = ((corrected > 0) != (before > 0)).astype(np.uint8)
    if not changed.any():
        return
    beside = cv2.dilate(changed, np.ones((3, 3), np.uint8)) > 0
    clicked = np.zeros(before.shape, np.bool_)
    for x, y in np.maximum(np.floor(places).astype(int), 1).tolist():
        clicked[y - 1 : y + 3, x - 1 : x + 3] = True  # all cells that the click's pixel is scaled up from
    for sign in (1, -1):  # islands first: their holes go with them
        count, pieces = cv2.connectedComponents((sign * corrected > 0).astype(np.uint8))
        sizes = np.bincount(pieces.ravel(), minlength=count)  # half as long as OpenCV's own statistics
        sizes[0] = 0  # the other side
        turned = sizes < size
        turned[[0, int(sizes.argmax())]] = False
        if turned.any():
            touched = np.zeros(count, np.bool_)
            touched[pieces[beside]] = True
            touched[pieces[clicked]] = False
            corrected[(turned & touched)[pieces]] *= -1


def _bumps(places: Float64, cells: npt.NDArray[np.int_], colours: Colours, shape: tuple[int, ...]) -> Logits:
    """A bump a click, of height 1 at its place and colour: float32 ``(K, 4h, 4w)``."""
    reach = REACH * max(shape)
    span, rows, columns = int(np.ceil(SPAN * reach)), len(colours), colours.shape[1]
    down, across = (
        np.exp(-((np.arange(length) - at[:, None]) ** 2) / (2 * reach**2)).astype(np.float32)
        for length, at in ((rows, places[:, 1]), (columns, places[:, 0]))
    )
    bumps = np.zeros((len(places), *shape), np.float32)
    for k, (x, y) in enumerate(cells.tolist()):
        part = slice(max(0, y - span), y + span + 1), slice(max(0, x - span), x + span + 1)
        away = colours[part] - colours[y, x]
        alike = np.exp(np.einsum("ijc,ijc->ij", away, away) * np.float32(-0.5 / LIKENESS**2))
        bumps[k, :rows, :columns][part] = alike * down[k, part[0], None] * across[k, part[1]]
    return bumps


def _at(maps: Logits, places: Float64) -> Float64:
    """Maps ``(..., 4h, 4w)`` at places ``(K, 2)``, bilinear, as masks are scaled up: ``(..., K)``."""
    last = np.array(maps.shape[:-3:-1]) - 1
    low = np.minimum(np.maximum(np.floor(places), 0), last - 1).astype(int)  # np.clip takes thrice as long
    x, y = np.minimum(np.maximum(places - low, 0), 1).T
    j, i = low.T
    top = maps[..., i, j] * (1 - x) + maps[..., i, j + 1] * x
    return np.asarray(top * (1 - y) + (maps[..., i + 1, j] * (1 - x) + maps[..., i + 1, j + 1] * x) * y, np.float64)


def low_res_colours(pixels: npt.NDArray[np.uint8], geometry: ResizeGeometry) -> Colours:
    """The window's colours on the grid of the low-res logits, a little smoothed.

    Of the padding there is one cell, like its neighbour: a mask's last pixels are scaled up from that too.

    Args:
        pixels: uint8 RGB ``(H, W, 3)``, the window's.

    Returns:
        float32 ``(rows, columns, 3)``, at most ``(4h, 4w)``.
    """
    height, width = (-(-side // 4) for side in geometry.resized_hw)
    step = max(1, max(geometry.original_hw) // (8 * max(height, width)))  # of 12 Mpx not every pixel is needed
    small = cv2.resize(np.ascontiguousarray(pixels[::step, ::step]), (width, height), interpolation=cv2.INTER_AREA)
    side = geometry.image_size // 4
    small = cv2.GaussianBlur(small, (0, 0), BLUR * REACH * side)
    small = cv2.copyMakeBorder(small, 0, min(1, side - height), 0, min(1, side - width), cv2.BORDER_REPLICATE)
    return np.asarray(small, np.float32)
