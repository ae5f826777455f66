"""Finished objects as lessons: what is kept of them, and the clicks that are made up on them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from livesam.adapter.labels import MaskLabel, erode, label_map
from livesam.engine.values.interaction import Interaction
from livesam.engine.values.prompt import Click
from livesam.engine.view.geometry import ResizeGeometry, postprocess
from livesam.engine.view.points import geometry_of
from torch import Tensor

Mask = npt.NDArray[np.bool_]
MAX_BAND = 12  # pixels
MIN_CLICKS_AGREE = 0.7
MIN_OVERLAP = 0.5  # IoU; a mask that was redrawn by hand elsewhere is another object to us


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """A first click on an accepted object: what the head sees of it, on n low-res pixels, and what is known there.

    Attributes:
        queries: float32 ``(5, 256)``.
        fine: float16 ``(n, 32)``.
        target: ``(n,)``, in 0..1.
        weight: ``(n,)``, 0 in the padding and in the band around the mask's border; a pixel that stands for several
            counts as many times.
    """

    queries: Tensor
    fine: Tensor
    target: Tensor
    weight: Tensor


@dataclass(slots=True, eq=False)
class Example:
    """An accepted object.

    Attributes:
        lessons: on a sample of its pixels; what is learned.
        exam: the user's own first click on all pixels, which the gate asks; None while the gate does not hold it.
        scores: mean IoU by weights' name, for the gate.
    """

    lessons: tuple[Lesson, ...]
    exam: Lesson | None = None
    scores: dict[str, float] = field(default_factory=dict)


def plausible(interaction: Interaction) -> bool:
    """Whether the clicks do not contradict each other, and an accepted mask fits to them and to the last answer."""
    mask, clicks = interaction.accepted_mask, interaction.prompts[-1].clicks
    if not np.isfinite(interaction.answer).all() or _contradictory(clicks):
        return False
    if mask is None:
        return True
    height, width = mask.shape
    agree = [bool(mask[min(int(c.y), height - 1), min(int(c.x), width - 1)]) == c.positive for c in clicks]
    if sum(agree) < MIN_CLICKS_AGREE * len(agree):
        return False
    shown = postprocess(interaction.answer, geometry_of(interaction.embedding)) > 0
    union = int(np.count_nonzero(mask | shown))
    return union > 0 and int(np.count_nonzero(mask & shown)) >= MIN_OVERLAP * union


def banded_label(mask: Mask, geometry: ResizeGeometry, border: float) -> MaskLabel | None:
    """The label with an unknown band, as wide as asked for or as the object allows; None for an empty or full mask.

    Args:
        border: width of the band on each side of the border, in square roots of the mask's area.
    """
    band = min(round(border * float(np.count_nonzero(mask)) ** 0.5), MAX_BAND)
    while True:
        label = label_map(erode(mask, band, outside=True), erode(~mask, band, outside=True), geometry)
        if label.has_object and label.has_background:
            return label
        if band == 0:
            return None
        band //= 2


def sample_tokens(
    label: MaskLabel, geometry: ResizeGeometry, count: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Image tokens to learn on, and how many each stands for: half of them at the object, the rest anywhere else.

    Args:
        count: how many; some occur twice where there are too few.

    Returns:
        indices ``(count,)`` into the ``h*w`` tokens, and float32 ``(count,)``.
    """
    height, width = geometry.resized_hw
    size = geometry.image_size // 16
    inside = np.zeros((size, size), bool)
    inside[: -(-height // 16), : -(-width // 16)] = True
    at_object = (label.target.reshape(size, 4, size, 4) > 0).any((1, 3))
    near, far = (np.flatnonzero(inside & part) for part in (at_object, ~at_object))
    share = min(len(near), count // 2) if len(far) else count
    chosen, stands_for = [], []
    for part, wanted in ((near, share), (far, count - share)):
        if wanted:
            chosen.append(rng.choice(part, wanted, replace=len(part) < wanted))
            stands_for.append(np.full(wanted, len(part) / wanted, np.float32))
    return np.concatenate(chosen), np.concatenate(stands_for)


def any_click(depth: npt.NDArray[np.float32], rng: np.random.Generator) -> Click:
    """A first click as people make it: half of the time the deepest point, else anywhere, by depth.

    Args:
        depth: of the object's mask, by ``depth_map``.
    """
    if rng.random() < 0.5:
        index = int(np.argmax(depth))
    else:
        total = np.cumsum(depth.ravel(), dtype=np.float64)
        index = min(int(np.searchsorted(total, rng.random() * total[-1], side="right")), depth.size - 1)
    y, x = divmod(index, depth.shape[1])
    return Click(float(x), float(y), positive=True)


def _contradictory(clicks: tuple[Click, ...]) -> bool:
    """Whether two clicks of different sign are on the same spot, less than 2 pixels apart."""
    inside = [(c.x, c.y) for c in clicks if c.positive]
    outside = [(c.x, c.y) for c in clicks if not c.positive]
    return any((x - u) ** 2 + (y - v) ** 2 < 4 for x, y in inside for u, v in outside)
