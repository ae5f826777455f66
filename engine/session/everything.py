"""Masks for everything in an image: a click on each point of a grid, and of masks that say the same the best one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from livesam.engine.session.decoding import decode
from livesam.engine.session.kind import Mask
from livesam.engine.session.proposals import Proposal
from livesam.engine.values.prompt import Click, Prompt
from livesam.engine.view.points import geometry_of

if TYPE_CHECKING:
    from livesam.engine.session.session import Session
    from livesam.engine.view.view import View

Logits = npt.NDArray[np.float32]

BATCH = 32  # clicks that the decoder answers at once
TOKENS = (1, 2, 3)  # its masks for a part, a larger part, the whole
THINNED = 2  # rows and columns of which one is compared: 50 MB for all of a grid of 16 at 1024 px, not 200
MARGIN = 1.0  # a mask whose border stays where it is when logits are cut here, above or below 0, is stable


@dataclass(frozen=True, slots=True)
class Sieve:
    """What is kept of the grid's answers.

    Attributes:
        side: points of the grid along each side of the image.
        iou: the decoder's own estimate at least.
        stability: IoU at least of the masks with logits above ``MARGIN`` and above its negative.
        overlap: of two masks with a larger IoU the worse one is left out.
        most: masks of an image at most, the best first.
    """

    side: int = 16
    iou: float = 0.7
    stability: float = 0.6
    overlap: float = 0.7
    most: int = 100

    def __post_init__(self) -> None:
        if not 1 <= self.side <= 128 or self.most < 1:
            raise ValueError(f"a grid has 1 to 128 points a side and 1 mask or more, got {self.side} and {self.most}")
        if not all(0 <= share <= 1 for share in (self.iou, self.stability, self.overlap)):
            raise ValueError(f"IoUs are from 0 to 1, got {self.iou}, {self.stability} and {self.overlap}")


@dataclass(frozen=True, slots=True, eq=False)
class _Answer:
    click: Click
    logits: Logits
    iou: float
    version: int


def propose_everything(session: Session, sieve: Sieve = Sieve()) -> Iterator[Proposal]:
    """Masks for whatever a grid of clicks finds, the surest first, each drawn when it is asked for.

    No examples, so the ``likeness`` of each is 0. The session stays as it is; its image must, too, until the last.

    Raises:
        SessionError: no image is set.
    """
    view = session.whole_view
    with session.right_of_way.click():
        found = _answers(session, view, sieve)
    found.sort(key=lambda one: -one.iou)
    masks = [one.logits[::THINNED, ::THINNED] > 0 for one in found]
    for i in distinct(masks, sieve.overlap)[: sieve.most]:
        one = found[i]
        _, mask, _ = view.shown(one.logits, (one.click,), session.look)
        if mask.any():
            yield Proposal(mask, one.iou, 0.0, one.version)


def distinct(masks: Sequence[Mask], overlap: float) -> list[int]:
    """The indices of masks that have an IoU of at most ``overlap`` with every one that is kept before.

    Args:
        masks: all of one shape, the best first, none empty.
    """
    if not masks:
        return []
    flat = np.stack([one.reshape(-1) for one in masks]).astype(np.float32)
    common = flat @ flat.T
    areas = np.diagonal(common)
    ious = common / np.maximum(areas[:, None] + areas[None, :] - common, 1)
    kept: list[int] = []
    for i in range(len(masks)):
        if not kept or ious[i, kept].max() <= overlap:
            kept.append(i)
    return kept


def stability(logits: Logits) -> npt.NDArray[np.float32]:
    """How little each mask changes with the cut: IoU of the masks cut ``MARGIN`` above 0 and below.

    Args:
        logits: float32 ``(..., h, w)``.
    """
    inner = (logits > MARGIN).sum(axis=(-2, -1))
    outer = (logits > -MARGIN).sum(axis=(-2, -1))
    found: npt.NDArray[np.float32] = (inner / np.maximum(outer, 1)).astype(np.float32)
    return found


def _answers(session: Session, view: View, sieve: Sieve) -> list[_Answer]:
    height, width = view.hw
    steps = (np.arange(sieve.side) + 0.5) / sieve.side
    clicks = [Click(float(x) * width, float(y) * height) for y in steps for x in steps]
    rows, columns = (-(-side // 4) for side in geometry_of(view.embedding).resized_hw)
    found: list[_Answer] = []
    for start in range(0, len(clicks), BATCH):
        asked = clicks[start : start + BATCH]
        output, decoded = decode(session.slot, view, [Prompt((click,)) for click in asked])
        logits, ious = output.low_res_logits[:, TOKENS], output.ious[:, TOKENS]
        inside = logits[..., :rows, :columns]  # the rest is padding
        sure = (ious >= sieve.iou) & (stability(inside) >= sieve.stability) & (inside > 0).any(axis=(-2, -1))
        found += [
            _Answer(asked[i], logits[i, token].copy(), float(ious[i, token]), decoded.version)
            for i, token in zip(*np.nonzero(sure), strict=True)
        ]
    return found
