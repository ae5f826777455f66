"""From what a user did to what may be learned from it.

A label is a target in 0..1 and a weight for every cell of the low-res logits; weight 0 means "not known". Padding,
the band around an accepted mask's border and pixels that nobody vouched for have weight 0. Clicks are not put on the
grid at all: the logits are sampled at the click, so no click is lost in a resize.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from livesam.engine.values.interaction import Interaction
from livesam.engine.values.prompt import Click
from livesam.engine.view.geometry import ResizeGeometry, postprocess
from livesam.engine.view.points import geometry_of

Mask = npt.NDArray[np.bool_]
Float = npt.NDArray[np.float32]

MAX_BAND = 12  # pixels
MIN_CLICKS_AGREE = 0.7
MIN_OVERLAP = 0.5  # IoU; a mask that was redrawn by hand elsewhere is another object to us


@dataclass(frozen=True, slots=True, eq=False)
class MaskLabel:
    """What is known about every cell of the low-res logits.

    Attributes:
        target: float32 ``(4h, 4w)``, share of the cell's known pixels that belong to the object.
        weight: float32 ``(4h, 4w)``, share of the cell that is known; 0 in the padding.
    """

    target: Float
    weight: Float

    @property
    def has_object(self) -> bool:
        """Whether any cell is known to be object."""
        return bool(((self.target > 0.5) & (self.weight > 0)).any())

    @property
    def has_background(self) -> bool:
        """Whether any cell is known not to be object."""
        return bool(((self.target < 0.5) & (self.weight > 0)).any())


@dataclass(frozen=True, slots=True, eq=False)
class ClickLabels:
    """Clicks as places on the logits.

    Attributes:
        xy: float32 ``(K, 2)``, in -1..1 over the square input, as ``torch.nn.functional.grid_sample`` counts without
            aligned corners; the middle of the clicked pixel.
        target: float32 ``(K,)``, 1 for positive clicks.
    """

    xy: Float
    target: Float


def click_labels(clicks: Sequence[Click], geometry: ResizeGeometry) -> ClickLabels:
    """Clicks as labels; an earlier click on the very same pixel with the other sign is overruled by the later one."""
    last = {(click.x, click.y): click for click in clicks}
    xy = np.array([(x + 0.5, y + 0.5) for x, y in last], np.float64).reshape(-1, 2)
    frame = geometry.to_input_frame(xy)
    target = np.array([click.positive for click in last.values()], np.float32)
    return ClickLabels((2 * frame / geometry.image_size - 1).astype(np.float32), target)


def erode(mask: Mask, iterations: int, *, outside: bool) -> Mask:
    """The mask after ``iterations`` erosions with the 3x3 cross; ``outside`` is what lies beyond the image.

    ``outside=False`` is SciPy's ``binary_erosion`` and its default element.
    """
    if iterations == 0:
        return mask.copy()
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    eroded = cv2.erode(
        mask.astype(np.uint8),
        cross,
        iterations=iterations,
        borderType=cv2.BORDER_CONSTANT,
        borderValue=(int(outside), 0, 0, 0),
    )
    return np.asarray(eroded, np.bool_)


def plausible(interaction: Interaction) -> bool:
    """Whether most clicks do not contradict each other, and an accepted mask fits to them and to the last answer."""
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


def result_label(mask: Mask, geometry: ResizeGeometry, erosion: int, *, outside: bool = False) -> MaskLabel:
    """The accepted mask with its border band unknown: object and background, each eroded at the original resolution.

    Args:
        mask: bool ``(H, W)``.
        erosion: applications of the 3x3 cross.
        outside: whether the image goes on beyond its edge; True keeps pixels at the edge known, the papers have False.
    """
    return label_map(erode(mask, erosion, outside=outside), erode(~mask, erosion, outside=outside), geometry)


def confident_label(mask: Mask, logits: Float, geometry: ResizeGeometry, confidence: float) -> MaskLabel:
    """The accepted mask where the decoder was sure of it: ``abs(sigmoid(logits) - 0.5) > confidence``.

    Args:
        logits: at the original size ``(H, W)``.
    """
    sure = np.abs(1 / (1 + np.exp(-np.clip(logits, -60, 60))) - 0.5) > confidence
    return label_map(mask & sure, ~mask & sure, geometry)


def label_map(is_object: Mask, is_background: Mask, geometry: ResizeGeometry) -> MaskLabel:
    """Known pixels at the original size as a label of the low-res logits.

    Raises:
        ValueError: the masks are not of the image's size.
    """
    if is_object.shape != geometry.original_hw or is_background.shape != geometry.original_hw:
        raise ValueError(f"labels must be of the image's size {geometry.original_hw}, got {is_object.shape}")
    share_object, share_background = cells(is_object, geometry), cells(is_background, geometry)
    weight = share_object + share_background
    target = np.divide(share_object, weight, out=np.zeros_like(weight), where=weight > 0)
    return MaskLabel(target, np.minimum(weight, 1.0))


def cells(mask: Mask, geometry: ResizeGeometry) -> Float:
    """The share of every low-res cell that the mask covers, float32 ``(4h, 4w)``; 0 in the padding."""
    (height, width), size = geometry.resized_hw, geometry.image_size
    shrinks = height < geometry.original_hw[0]
    resized = cv2.resize(
        mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST
    )
    square = np.zeros((size, size), np.float32)
    square[:height, :width] = resized
    return np.asarray(square.reshape(size // 4, 4, size // 4, 4).mean((1, 3)), np.float32)


def _contradictory(clicks: tuple[Click, ...]) -> bool:
    """Whether many clicks are less than 2 pixels away from one of the other sign."""
    xy, positive = np.array([(c.x, c.y) for c in clicks]).reshape(-1, 2), np.array([c.positive for c in clicks], bool)
    close = np.square(xy[:, None] - xy[None]).sum(-1) < 4
    contradicted = (close & (positive[:, None] != positive[None])).any(1)
    return int(np.count_nonzero(contradicted)) > (1 - MIN_CLICKS_AGREE) * len(clicks)
