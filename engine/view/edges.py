"""Masks drawn to the image's own edges: what a decoder of a few hundred cells a side cannot see.

GrabCut (Rother, Kolmogorov, Blake, SIGGRAPH 2004; OpenCV's ``grabCut``) decides anew on a band along the decoder's
border: two colour models, of the mask and of what surrounds it, and a cut that prefers edges. What is deeper inside or
farther outside stays as the decoder said, and clicks in the mask's surroundings are obeyed. It works on these
surroundings alone, scaled to 160 px.

It is for decoders with coarse masks, such as nano's 128 x 128; where colours say nothing, it may lose what it usually
gains, so a session does it only when asked to (``Look(edges=True)``).
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
from livesam.engine.values.prompt import Click

# Tried with nano on ten objects of each of the five sets that methods are tuned on: 128 to 256 px, bands of 0.07 to 0.2
# and one or two iterations fail on 30 to 34 % of them, the decoder alone on 44 %; 256 px costs the most.
LONG_SIDE = 160  # px
BAND = 0.1  # on each side of the border, in square roots of the mask's area
DISK = 0.01  # radius around a click in which it is obeyed, of the long side
ITERATIONS = 2
MIN_PIXELS = 10  # of object and of background; colour models of less are noise


def draw_to_edges(
    image: npt.NDArray[np.uint8], logits: npt.NDArray[np.float32], clicks: Sequence[Click]
) -> npt.NDArray[np.bool_]:
    """The mask of ``logits`` with its border moved to edges of the image nearby.

    Deterministic. A mask or a background of less than ten pixels comes back as it is.

    Args:
        image: uint8 RGB ``(H, W, 3)``.
        logits: float32 ``(H, W)``, the decoder's at the original size; above 0 is object.
        clicks: in pixels of the image; those not farther from the mask than two bands are obeyed.

    Returns:
        bool ``(H, W)``.

    Raises:
        ValueError: image and logits differ in size.
    """
    if image.shape[:2] != logits.shape:
        raise ValueError(f"image and logits must have the same size, got {image.shape[:2]} and {logits.shape}")
    mask = logits > 0
    area = int(np.count_nonzero(mask))
    if min(area, mask.size - area) < MIN_PIXELS:
        return mask
    band = BAND * area**0.5
    rows, columns = (_reach(np.asarray(mask.any(axis)), 2 * band) for axis in (1, 0))
    part = (rows, columns)
    hw = (rows.stop - rows.start, columns.stop - columns.start)
    scale = min(1.0, LONG_SIDE / max(hw))
    size = (max(1, round(hw[1] * scale)), max(1, round(hw[0] * scale)))
    colours = cv2.resize(np.ascontiguousarray(image[part]), size, interpolation=cv2.INTER_AREA)
    inside = (cv2.resize(np.ascontiguousarray(logits[part]), size, interpolation=cv2.INTER_AREA) > 0).astype(np.uint8)
    # Distance to the border; each of the two is 0 on the other's side.
    depth = sum(cv2.distanceTransform(side, cv2.DIST_L2, 3) for side in (inside, 1 - inside))
    # GrabCut's labels: 0 and 1 are certain background and object, 2 and 3 probable ones.
    labels = (inside + 2 * (depth <= max(1.5, band * scale))).astype(np.uint8)
    for click in clicks:
        x = int((click.x + 0.5 - columns.start) * size[0] / hw[1])
        y = int((click.y + 0.5 - rows.start) * size[1] / hw[0])
        if 0 <= x < size[0] and 0 <= y < size[1]:
            cv2.circle(labels, (x, y), max(1, round(DISK * max(size))), int(click.positive), thickness=-1)
    objects = int(np.count_nonzero(labels & 1))
    if min(objects, labels.size - objects) < MIN_PIXELS:
        return mask
    cv2.setRNGSeed(0)
    cv2.grabCut(colours, labels, (0, 0, 1, 1), np.zeros((1, 65)), np.zeros((1, 65)), ITERATIONS, cv2.GC_INIT_WITH_MASK)
    share = cv2.resize((labels & 1).astype(np.float32), (hw[1], hw[0]), interpolation=cv2.INTER_LINEAR)
    mask[part] = share > 0.5
    return mask


def _reach(used: npt.NDArray[np.bool_], margin: float) -> slice:
    """From the first to the last used index and a margin beyond, within the image."""
    indices = np.flatnonzero(used)
    reach = int(margin) + 2
    return slice(max(0, int(indices[0]) - reach), min(len(used), int(indices[-1]) + reach + 1))
