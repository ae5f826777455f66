"""Finished objects as training examples: what is kept of them, and the prompts that are made from them."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from livesam.adapter.labels import MaskLabel, erode, label_map
from livesam.adapter.oracle import depth_map, next_click
from livesam.engine.embedding import ImageEmbedding
from livesam.engine.geometry import ResizeGeometry, postprocess
from livesam.engine.interaction import Interaction
from livesam.engine.points import geometry_of
from livesam.engine.prompt import Click, Prompt
from torch import Tensor

Mask = npt.NDArray[np.bool_]
MAX_BAND = 12  # pixels
MIN_CLICKS_AGREE = 0.7
MIN_OVERLAP = 0.5  # IoU; a mask that was redrawn by hand elsewhere is another object to us


@dataclass(slots=True, eq=False)
class Example:
    """A finished object: accepted, or given up; then its clicks are all that is known of it.

    Attributes:
        embedding: its image, features float16 in host memory; examples of one image share them.
        geometry: its image's geometry.
        mask: the accepted mask, bool ``(H, W)``; None where the object was given up.
        known: bool ``(H, W)``, False in the band around the mask's border.
        target, weight: the label on the low-res grid, ``(4h, 4w)``; weight 0 everywhere without a mask.
        prompts: what the user gave, oldest first; fed-back logits float16.
        teacher: token 0 of the base under a prompt of ``prompts``, by its position, float16; filled when first used.
        scores: mean IoU by weights' name, for the gate.
    """

    embedding: ImageEmbedding
    geometry: ResizeGeometry
    mask: Mask | None
    known: Mask | None
    target: Tensor
    weight: Tensor
    prompts: tuple[Prompt, ...]
    teacher: dict[int, Tensor] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)

    def features(self, device: torch.device) -> Tensor:
        """float32 ``(1, 256, h, w)``."""
        found = self.embedding.features
        tensor = torch.from_numpy(found) if isinstance(found, np.ndarray) else found
        return tensor.to(device, torch.float32)


def make_example(
    interaction: Interaction, border: float, embedding: ImageEmbedding, device: torch.device
) -> Example | None:
    """An example of a finished object; None where nothing can be learned from it.

    That is so without clicks, and where an accepted mask is empty, full, or too thin.

    Args:
        border: width of the unknown band on each side of the border, in square roots of the mask's area.
        embedding: the interaction's embedding as the memory keeps it.
    """
    mask = interaction.accepted_mask
    geometry = geometry_of(interaction.embedding)
    prompts = tuple(p for p in interaction.prompts if p.clicks)
    if not prompts:
        return None
    if mask is None:
        nothing = torch.zeros(interaction.answers[-1].shape, device=device)
        return Example(embedding, geometry, None, None, nothing, nothing, prompts)
    found = banded_label(mask, geometry, border)
    if found is None:
        return None
    label, known = found
    target, weight = torch.from_numpy(label.target).to(device), torch.from_numpy(label.weight).to(device)
    return Example(embedding, geometry, mask, known, target, weight, prompts)


def plausible(interaction: Interaction) -> bool:
    """Whether the clicks do not contradict each other, and an accepted mask fits to them and to the last answer."""
    mask, clicks = interaction.accepted_mask, interaction.prompts[-1].clicks
    if not np.isfinite(interaction.answers[-1]).all() or _contradictory(clicks):
        return False
    if mask is None:
        return True
    height, width = mask.shape
    agree = [bool(mask[min(int(c.y), height - 1), min(int(c.x), width - 1)]) == c.positive for c in clicks]
    if sum(agree) < MIN_CLICKS_AGREE * len(agree):
        return False
    shown = postprocess(interaction.answers[-1], geometry_of(interaction.embedding)) > 0
    union = int(np.count_nonzero(mask | shown))
    return union > 0 and int(np.count_nonzero(mask & shown)) >= MIN_OVERLAP * union


def banded_label(mask: Mask, geometry: ResizeGeometry, border: float) -> tuple[MaskLabel, Mask] | None:
    """The label with an unknown band, as wide as asked for or as the object allows; and the known pixels."""
    band = min(round(border * float(np.count_nonzero(mask)) ** 0.5), MAX_BAND)
    while True:
        inside, outside = erode(mask, band, outside=True), erode(~mask, band, outside=True)
        label = label_map(inside, outside, geometry)
        if label.has_object and label.has_background:
            return label, inside | outside
        if band == 0:
            return None
        band //= 2


def _contradictory(clicks: tuple[Click, ...]) -> bool:
    """Whether two clicks of different sign are on the same spot, less than 2 pixels apart."""
    inside = [(c.x, c.y) for c in clicks if c.positive]
    outside = [(c.x, c.y) for c in clicks if not c.positive]
    return any((x - u) ** 2 + (y - v) ** 2 < 4 for x, y in inside for u, v in outside)


def any_click(mask: Mask, rng: np.random.Generator) -> Click:
    """A first click as people make it: half of the time the deepest point, else anywhere, by depth."""
    depth = depth_map(mask)
    if rng.random() < 0.5:
        index = int(np.argmax(depth))
    else:
        total = np.cumsum(depth.ravel(), dtype=np.float64)
        index = min(int(np.searchsorted(total, rng.random() * total[-1], side="right")), depth.size - 1)
    y, x = divmod(index, mask.shape[1])
    return Click(float(x), float(y), positive=True)


def correcting_click(example: Example, logits: npt.NDArray[np.float32], clicks: tuple[Click, ...]) -> Click | None:
    """The oracle's next click on an answer, as if the accepted mask were the truth and its border band ignored."""
    if example.mask is None or example.known is None:
        return None
    predicted = postprocess(logits, example.geometry) > 0
    return next_click(example.mask, predicted, ~example.known, clicks)


class EmbeddingStore:
    """Embeddings in float16, one copy an image, for as long as somebody uses the key."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: OrderedDict[str, ImageEmbedding] = OrderedDict()

    def keep(self, embedding: ImageEmbedding) -> ImageEmbedding:
        """The embedding with float16 features in host memory (2 MB for a 1024-px model, 0.5 MB for nano)."""
        if embedding.key in self._kept:
            self._kept.move_to_end(embedding.key)
            return self._kept[embedding.key]
        # A torch tensor: NumPy's float16 would be mistaken for the float32 array that the type promises.
        features = torch.from_numpy(embedding.numpy()).half()
        small = ImageEmbedding(features, embedding.original_hw, embedding.resized_hw, embedding.key)
        self._kept[embedding.key] = small
        while len(self._kept) > self._limit:
            self._kept.popitem(last=False)
        return small

    def clear(self) -> None:
        self._kept.clear()
