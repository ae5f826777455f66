"""Segment the rest: masks for what looks like the objects that were accepted, on the same image.

The embedding's cells inside accepted masks say how such objects look, all others how they do not. Where a cell is more
like the first than the second and no neighbour is more so, a click is made up. What its mask covers, overlaps with what
is there, or is of another size than the examples is left out; then the next click is looked for beside what was found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from livesam.engine.session.decoding import decode
from livesam.engine.session.kind import Grid, Kind, Mask, shrunk
from livesam.engine.session.question import Shown, show
from livesam.engine.values.prompt import Click, Prompt
from livesam.engine.view.points import geometry_of

if TYPE_CHECKING:
    from livesam.engine.session.session import Session
    from livesam.engine.view.view import View

ROUNDS = (32, 16)  # clicks of each round of looking for them: one batch of the decoder
SIZES = 4.0  # at most so many times larger or smaller than the examples
OVERLAP = 0.3  # of a proposal may lie on what is there already


@dataclass(frozen=True, slots=True, eq=False)
class Proposal:
    """A mask that looks like the examples.

    Attributes:
        mask: bool ``(H, W)`` of the image.
        iou: the decoder's own estimate.
        likeness: how much it looks like the examples; the larger the better.
        decoder_version: the version that gave it.
    """

    mask: Mask
    iou: float
    likeness: float
    decoder_version: int


def propose(
    session: Session, examples: Sequence[Mask], taken: Sequence[Mask] = (), *, most: int = 50
) -> list[Proposal]:
    """Masks for what looks like the examples, the likeliest first; leaves the session as it is.

    Args:
        examples: masks of one kind of object on the session's image, bool ``(H, W)``.
        taken: what is segmented already, beside the examples.
        most: how many at most.

    Raises:
        SessionError: no image is set.
        ValueError: there is no example, or one is empty or of another size than the image.
    """
    kind = Kind.of([(session.whole_view, examples)])
    return propose_kind(session, kind, [*examples, *taken], most=most)


def propose_kind(session: Session, kind: Kind, taken: Sequence[Mask] = (), *, most: int = 50) -> list[Proposal]:
    """Masks for what looks like a kind, which may have been learned on other images. As ``propose``."""
    view = session.whole_view
    found: list[Proposal] = []
    with session.right_of_way.click():
        likeness, threshold = kind.seen_in(view)
        areas = [share * view.hw[0] * view.hw[1] for share in kind.shares]
        free = ~np.logical_or.reduce(taken) if taken else np.ones(view.hw, np.bool_)
        for count in ROUNDS:
            clicks = _peaks(likeness, threshold, free, view)[:count]
            if not clicks or len(found) >= most:
                break
            masks = _answers(session, view, clicks, areas)
            for click, shown, version in masks:
                mask, area = shown.mask, int(shown.mask.sum())
                free[int(click.y), int(click.x)] = False  # not to be asked again
                if area == 0 or not min(areas) / SIZES <= area <= max(areas) * SIZES:
                    continue
                if (mask & ~free).sum() - 1 > OVERLAP * area:
                    continue
                alike = _mean(likeness, mask)
                if alike < threshold:
                    continue
                free &= ~mask
                found.append(Proposal(mask, shown.iou, alike, version))
    found.sort(key=lambda one: -one.likeness)
    return found[:most]


def _peaks(likeness: Grid, threshold: float, free: Mask, view: View) -> list[Click]:
    """Where likeness has its maxima in what is free, the largest first."""
    rows, columns = likeness.shape
    open_ = shrunk(free, (rows, columns)) > 0.9
    inside = np.where(open_, likeness, -np.inf).astype(np.float32)
    highest = cv2.dilate(inside, np.ones((3, 3), np.uint8))
    ys, xs = np.nonzero((inside >= highest) & (inside > threshold))
    order = np.argsort(-inside[ys, xs], kind="stable")
    height, width = view.hw
    return [
        Click(min((int(xs[i]) + 0.5) * width / columns, width - 1), min((int(ys[i]) + 0.5) * height / rows, height - 1))
        for i in order
    ]


def _answers(
    session: Session, view: View, clicks: Sequence[Click], areas: Sequence[float]
) -> list[tuple[Click, Shown, int]]:
    """Of each click the decoder's mask whose size is nearest to the examples', and that it believes in most."""
    output, decoded = decode(session.slot, view, [Prompt((click,)) for click in clicks])
    masks, ious = output.low_res_logits[:, 1:] > 0, output.ious[:, 1:]
    scale = geometry_of(view.embedding).resized_hw[0] / 4 / view.hw[0]
    usual = float(np.median(np.log(areas))) + 2 * np.log(scale)
    sizes = np.log(np.maximum(masks.sum(axis=(2, 3)), 1))
    tokens = 1 + np.argmax(ious - 0.5 * np.abs(sizes - usual), axis=1)
    look = session.look
    return [
        (click, show(view, (click,), output, i, int(tokens[i]), look), decoded.version)
        for i, click in enumerate(clicks)
    ]


def _mean(likeness: Grid, mask: Mask) -> float:
    cover = shrunk(mask, (likeness.shape[0], likeness.shape[1]))
    total = float(cover.sum())
    return float((likeness * cover).sum() / total) if total > 0 else float("-inf")
