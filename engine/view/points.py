"""Prompts as the arrays that the decoder graph takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from livesam.engine.models.spec import PATCH
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.prompt import Box, Prompt
from livesam.engine.view.geometry import ResizeGeometry

BACKGROUND, FOREGROUND, TOP_LEFT, BOTTOM_RIGHT, PADDING = 0.0, 1.0, 2.0, 3.0, -1.0

Float = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class PromptGroup:
    """Prompts with equally many points, and all with a mask or all without: one run of the decoder graph.

    Attributes:
        indices: positions of these prompts in the caller's sequence.
        point_coords: float32 ``(P, N, 2)``, ``(x, y)`` in the model's input frame; N may be 0.
        point_labels: float32 ``(P, N)``: 1 object, 0 background, 2 and 3 box corners, -1 padding.
        mask_input: float32 ``(M, 1, 4h, 4w)``: M is P where masks are given, else 1 (zeros), so that the graph shares
            the image side over all prompts.
        has_mask: float32 ``(M,)``, 1 or 0.
    """

    indices: tuple[int, ...]
    point_coords: Float
    point_labels: Float
    mask_input: Float
    has_mask: Float

    def feeds(self) -> dict[str, Float]:
        """The arrays by the graph's input names."""
        return {
            "point_coords": self.point_coords,
            "point_labels": self.point_labels,
            "mask_input": self.mask_input,
            "has_mask": self.has_mask,
        }


def geometry_of(embedding: ImageEmbedding) -> ResizeGeometry:
    """The geometry of an encoded image; the model's input size is 16 times the embedding's."""
    return ResizeGeometry.of(embedding.original_hw, int(embedding.features.shape[2]) * PATCH)


def point_count(prompt: Prompt) -> int:
    """How many points the decoder gets for this prompt, padding and box corners included."""
    if prompt.box is not None:
        return len(prompt.clicks) + 2
    return len(prompt.clicks) + 1 if prompt.clicks else 0


def check_prompt(prompt: Prompt, original_hw: tuple[int, int], low_res_hw: tuple[int, int]) -> None:
    """Refuse a prompt that does not belong to an image of this size.

    Raises:
        ValueError: a click or a box lies outside of the image, or the mask logits have another shape.
    """
    height, width = original_hw
    for click in prompt.clicks:
        if not (0 <= click.x < width and 0 <= click.y < height):
            raise ValueError(
                f"the click ({click.x:g}, {click.y:g}) is outside of the image: x must be in [0, {width}) and y in "
                f"[0, {height})"
            )
    if prompt.box is not None:
        x0, y0, x1, y1 = prompt.box.as_tuple()
        if x0 < 0 or y0 < 0 or x1 > width or y1 > height:
            raise ValueError(
                f"the box ({x0:g}, {y0:g}, {x1:g}, {y1:g}) is outside of the image: x must be in [0, {width}] and y "
                f"in [0, {height}]"
            )
    if prompt.mask_logits is not None and prompt.mask_logits.shape != low_res_hw:
        raise ValueError(f"mask_logits must have the shape {low_res_hw}, got {prompt.mask_logits.shape}")


def fitted(prompt: Prompt, original_hw: tuple[int, int]) -> Prompt:
    """The prompt with its box clipped to an image of this size, where it lies outside by at most one pixel.

    Every drawing tool makes such boxes at an image's border. The prompt itself where there is nothing to clip; boxes
    that reach farther out are left for ``check_prompt`` to refuse.

    Raises:
        ValueError: it is no ``Prompt``, or nothing of the box is within the image.
    """
    if not isinstance(prompt, Prompt):
        raise ValueError(f"a prompt is a Prompt(clicks, box, mask_logits), got {prompt!r}")
    if prompt.box is None:
        return prompt
    (height, width), (x0, y0, x1, y1) = original_hw, prompt.box.as_tuple()
    inside = x0 >= 0 and y0 >= 0 and x1 <= width and y1 <= height
    if inside or min(x0, y0) < -1 or x1 > width + 1 or y1 > height + 1:
        return prompt
    return replace(prompt, box=Box(max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)))


def prompts_to_arrays(prompts: Sequence[Prompt], geometry: ResizeGeometry) -> list[PromptGroup]:
    """Prompts on one image as runs of the decoder graph, grouped by their number of points and by having a mask.

    The rule of ``SamPredictor`` and of the official ONNX clients: clicks alone are followed by one point (0, 0) with
    label -1; with a box its corners follow the clicks and nothing is padded; a lone mask has no points at all. Ragged
    prompts are not padded to one length, because the decoder attends to padding and its masks would change.

    Raises:
        ValueError: there is no prompt, or mask logits do not have a quarter of the model's input size.
    """
    if not prompts:
        raise ValueError("give at least one prompt, got none")
    side = geometry.image_size // 4
    grouped: dict[tuple[int, bool], list[int]] = {}
    for index, prompt in enumerate(prompts):
        grouped.setdefault((point_count(prompt), prompt.mask_logits is not None), []).append(index)
    groups = []
    for (count, masked), indices in grouped.items():
        xy, kinds = zip(*(_points(prompts[index], geometry) for index in indices), strict=True)
        # One call of NumPy for each array: with cold caches, as between two clicks, every call costs 10 to 30 us.
        coords = np.array(xy, np.float32).reshape(len(indices), count, 2)
        labels = np.array(kinds, np.float32).reshape(len(indices), count)
        if masked:
            mask = np.array([_mask(prompts[index], side) for index in indices], np.float32)[:, None]
        else:
            mask = np.zeros((1, 1, side, side), np.float32)
        has_mask = np.full(mask.shape[0], float(masked), np.float32)
        groups.append(PromptGroup(tuple(indices), coords, labels, mask, has_mask))
    return groups


def point_rows(prompt: Prompt, geometry: ResizeGeometry) -> Float:
    """A prompt's points by the same rule, float32 ``(N, 3)``: x and y of the pixel's middle in -1..1, and the label."""
    xy, kinds = _points(prompt, geometry)
    rows = np.empty((len(kinds), 3), np.float32)
    rows[:, :2] = 2 * ((np.array(xy, np.float32).reshape(-1, 2) + np.float32(0.5)) / geometry.image_size) - 1
    rows[:, 2] = kinds
    return rows


def _points(prompt: Prompt, geometry: ResizeGeometry) -> tuple[list[float], list[float]]:
    """x and y of each point in turn, in the input frame as ``to_input_frame`` gives them, and the labels."""
    across, down = geometry.factors_xy
    xy, kinds = [], []
    for click in prompt.clicks:
        xy += [float(click.x) * across, float(click.y) * down]  # in double precision
        kinds.append(FOREGROUND if click.positive else BACKGROUND)
    if prompt.box is not None:
        x0, y0, x1, y1 = map(float, prompt.box.as_tuple())
        xy += [x0 * across, y0 * down, x1 * across, y1 * down]
        kinds += [TOP_LEFT, BOTTOM_RIGHT]
    elif prompt.clicks:
        xy += [0.0, 0.0]
        kinds.append(PADDING)
    return xy, kinds


def _mask(prompt: Prompt, side: int) -> Float:
    mask = prompt.mask_logits
    if mask is None or mask.shape != (side, side):
        raise ValueError(f"mask_logits must have the shape {(side, side)}, got {None if mask is None else mask.shape}")
    return mask
