"""Clicks are obeyed: where a mask contradicts a click, its logits are corrected around that click.

A decoder takes clicks as advice. The further an image is from what it was trained on, the more of them it leaves
unheeded. First the mask's border is moved past the clicks that are near it (``border.py``). Then comes what a kernel
machine learns from the clicks of the object: a sum of bumps, one a click, each falling off with distance in place and
in colour, solved together so that every click gets its margin while those that have it already keep what they have.
Closed forms, so nothing has to be swapped; as with any learning from clicks alone, it holds for this object only.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
from livesam.engine.values.prompt import Click
from livesam.engine.view.border import moved
from livesam.engine.view.bumps import Colours, Float64, at, bumps_at, correction, places_of
from livesam.engine.view.geometry import ResizeGeometry

Logits = npt.NDArray[np.float32]

# Chosen on validation sets: more reach or likeness spills onto what was right, less corrects little but the click.
REACH = 1 / 32  # standard deviation of a bump in place, of the side of the low-res logits
LIKENESS = 25.0  # in colour, of 255
MARGIN = 2.0  # logit that a click gets
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
    places = places_of(clicks, geometry)
    cells = np.minimum(np.maximum(np.rint(places), 0), (colours.shape[1] - 1, colours.shape[0] - 1)).astype(int)
    latest = list({(x, y): index for index, (x, y) in enumerate(cells.tolist())}.values())
    places, cells = places[latest], cells[latest]
    signs = np.array([1.0 if clicks[index].positive else -1.0 for index in latest])
    corrected = moved(logits, colours, places, cells, signs, at(logits, places), geometry)
    said = at(corrected, places)
    missing = np.where(signs * said < MARGIN, signs * MARGIN - said, 0.0)
    if missing.any():
        reach = np.full(len(places), REACH * max(logits.shape))
        bumps = bumps_at(places, cells, colours, logits.shape, reach, LIKENESS)
        corrected = corrected + correction(bumps, places, missing)
    if corrected is logits:
        return logits
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
