"""Batches of training crops, made on the device: windows, flips, turns, pasted objects, colours as cameras vary."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from livesam.adapter.training.image_store import ImageStore
from livesam.engine.models.spec import PIXEL_MEAN, PIXEL_STD
from torch import Tensor
from torch.nn import functional as F

WHOLE_SHARE = 0.35  # of the crops show their whole image, the others a window around one object
PASTE_SHARE = 0.25
PASTED_ID = 255
MIN_AREA = 0.004  # of the valid part of the crop; evaluation begins at 0.005


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """Which part of which image each crop shows; ``(B, ...)`` arrays on the host.

    Attributes:
        image: number in the store.
        anchor: id of the object that the window was drawn around.
        box: left, top, width and height in pixels of the image.
        valid_hw: what of the crop the window fills, in pixels of the crop.
        flip, angle: mirrored left to right; turned by so many radians.
    """

    image: npt.NDArray[np.int64]
    anchor: npt.NDArray[np.int64]
    box: npt.NDArray[np.float64]
    valid_hw: npt.NDArray[np.int64]
    flip: npt.NDArray[np.bool_]
    angle: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """B crops of side S with P objects each, on the device.

    Attributes:
        pixels: normalised float32 ``(B, 3, S, S)``; 0 where padded, as in SAM.
        target: ``(B*P, S/4, S/4)``, each object's share of the cell, 0 to 1.
        exists: ``(B*P,)`` float, 0 for the objects of a crop that shows none.
        valid: bool ``(B*P, S/4, S/4)``, what is not padding.
    """

    pixels: Tensor
    target: Tensor
    exists: Tensor
    valid: Tensor


def draw_batch(
    store: ImageStore, rng: np.random.Generator, generator: torch.Generator, size: int, images: int, objects: int
) -> Batch:
    """One batch; a function of the two generators' states."""
    windows = draw_windows(store, rng, images, size)
    pixels, ids, known = render(store, windows, size)
    anchor = torch.as_tensor(windows.anchor, device=store.device)
    pixels, ids = paste(pixels, ids, known, anchor, generator)
    whole = store.whole_foreground[torch.as_tensor(windows.image, device=store.device)]
    target, exists = pick_objects(ids, known, anchor, whole, objects, generator)
    valid = F.avg_pool2d(known[:, None].float(), 4)[:, 0] > 0.5
    return Batch(jitter(pixels, known, generator), target, exists, valid.repeat_interleave(objects, 0))


def draw_windows(store: ImageStore, rng: np.random.Generator, count: int, size: int) -> Windows:
    """Which windows the crops show: a third the whole image, the others from closely around one object to wide."""
    image = store.draw(rng, count)
    box, anchor = np.zeros((count, 4)), np.zeros(count, np.int64)
    for crop, number in enumerate(image):
        height, width = store.hw[number]
        table = store.objects[number]
        chance = np.sqrt(table[:, 1])
        anchor[crop], _, x0, y0, x1, y1 = table[rng.choice(len(table), p=chance / chance.sum())]
        if rng.random() < WHOLE_SHARE:
            box[crop] = 0, 0, width, height
            continue
        low = math.log(max(1.1 * max(x1 - x0, y1 - y0), 0.12 * max(height, width), 40))
        high = math.log(1.15 * max(height, width))
        side, aspect = math.exp(rng.uniform(min(low, high), high)), math.exp(rng.uniform(-0.35, 0.35))
        w, h = min(width, side * math.sqrt(aspect)), min(height, side / math.sqrt(aspect))
        left = (x0 + x1) / 2 + rng.normal() * w * 0.25 - w / 2
        top = (y0 + y1) / 2 + rng.normal() * h * 0.25 - h / 2
        box[crop] = min(max(left, 0), width - w), min(max(top, 0), height - h), w, h
    scale = size / np.maximum(box[:, 2], box[:, 3])
    valid = np.maximum(16, np.round(box[:, [3, 2]] * scale[:, None])).astype(np.int64)
    angle = np.where(rng.random(count) < 0.3, rng.uniform(-0.5, 0.5, count), 0)
    square = np.abs(valid[:, 0] - valid[:, 1]) < 2  # only these can be turned by 90 degrees and stay full
    quarter = rng.choice([math.pi / 2, math.pi, -math.pi / 2], count)
    angle += np.where((rng.random(count) < 0.1) & square, quarter, 0)
    return Windows(image, anchor, box, valid, rng.random(count) < 0.5, angle)


def render(store: ImageStore, windows: Windows, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """The crops' pixels ``(B, 3, S, S)`` in 0..255, ids ``(B, S, S)`` and what is not padding, bool ``(B, S, S)``.

    Beyond an image's border, which a turned window may see, the image is mirrored and without objects.
    """

    def column(values: npt.NDArray[np.generic]) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float32, device=store.device)[:, None, None]

    number = torch.as_tensor(windows.image, device=store.device)
    left, top, w, h = (column(windows.box[:, i]) for i in range(4))
    rows, columns = column(windows.valid_hw[:, 0]), column(windows.valid_hw[:, 1])
    cells = torch.arange(size, device=store.device) + 0.5
    u, v = cells[None, None, :] / columns - 0.5, cells[None, :, None] / rows - 0.5  # -0.5..0.5 inside the window
    u = torch.where(column(windows.flip) > 0, -u, u)
    cos, sin = column(windows.angle).cos(), column(windows.angle).sin()
    x, y = cos * (u * w) - sin * (v * h) + left + w / 2, sin * (u * w) + cos * (v * h) + top + h / 2
    height, width = column(store.hw[windows.image, 0]), column(store.hw[windows.image, 1])
    inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    grid = torch.stack([_mirrored(x, width), _mirrored(y, height)], -1) / store.side * 2 - 1
    pixels = F.grid_sample(store.images[number].float(), grid, "bilinear", "border", align_corners=False)
    ids = F.grid_sample(store.ids[number][:, None].float(), grid, "nearest", align_corners=False)[:, 0].round().long()
    known = (cells[None, None, :] < columns) & (cells[None, :, None] < rows)
    return pixels * known[:, None], ids * (known & inside), known


def _mirrored(place: Tensor, length: Tensor) -> Tensor:
    place = length - (place.abs().remainder(2 * length) - length).abs()
    return torch.minimum(place.clamp_min(0.5), length - 0.5)


def paste(
    pixels: Tensor, ids: Tensor, known: Tensor, anchor: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """On a quarter of the crops lay the next crop's anchor object, at its place there, as id 255."""
    other = torch.roll(torch.arange(len(pixels), device=pixels.device), 1)
    mask = (ids[other] == anchor[other, None, None]) & known & known[other]
    share = mask.sum((1, 2)) / known.sum((1, 2)).clamp_min(1)
    wanted = torch.rand(len(pixels), device=pixels.device, generator=generator) < PASTE_SHARE
    mask = mask & (wanted & (share > MIN_AREA) & (share < 0.5))[:, None, None]
    soft = F.avg_pool2d(mask[:, None].float(), 3, 1, 1)
    return pixels * (1 - soft) + pixels[other] * soft, torch.where(mask, PASTED_ID, ids)


def pick_objects(
    ids: Tensor, known: Tensor, anchor: Tensor, whole: Tensor, objects: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """P objects a crop by the root of their areas, the anchor first; all different where there are enough.

    Returns:
        targets ``(B*P, S/4, S/4)``, and 1 or 0 for each: 0 where the crop shows no object.
    """
    flat = ids.flatten(1)
    areas = torch.zeros(len(ids), 256, device=ids.device).scatter_add_(
        1, flat, torch.ones_like(flat, dtype=torch.float)
    )
    areas[:, 0] = 0
    large = areas >= MIN_AREA * known.sum((1, 2))[:, None]
    empty = ~large.any(1)
    chance = areas.sqrt() * large
    chance[:, 0] += empty
    # Exponential races draw without replacement; those beyond the last object are replaced by the first ones again.
    races = torch.empty_like(chance).exponential_(generator=generator) / chance
    races.scatter_(
        1, anchor[:, None], torch.where(large.gather(1, anchor[:, None]), -1.0, races.gather(1, anchor[:, None]))
    )
    order = races.argsort(1)[:, :objects]
    count = large.sum(1, keepdim=True).clamp(1, objects)
    turn = torch.arange(objects, device=ids.device)[None, :] % count
    chosen = order.gather(1, turn)
    masks = ids[:, None] == chosen[:, :, None, None]  # (B, P, S, S)
    union = whole & (torch.rand(len(ids), device=ids.device, generator=generator) < 0.5)
    masks[:, 0] |= union[:, None, None] & (ids > 0)
    exists = (~empty).float()[:, None].expand(-1, objects).reshape(-1)
    return F.avg_pool2d(masks.float(), 4).flatten(0, 1), exists


def jitter(pixels: Tensor, known: Tensor, generator: torch.Generator) -> Tensor:
    """Vary contrast, brightness, tint, gamma, channels, blur and grain; then normalise as SAM does."""
    count, device = len(pixels), pixels.device

    def uniform(channels: int = 1) -> Tensor:
        return torch.rand(count, channels, 1, 1, device=device, generator=generator)

    def some(share: float) -> Tensor:
        return (uniform() < share).float()

    x = pixels / 255
    strong = some(0.15)
    x = (x - 0.5) * (1 + (uniform() - 0.5) * (0.6 + strong)) + 0.5
    x = x + (uniform() - 0.5) * (0.2 + 0.3 * strong) + (uniform(3) - 0.5) * (0.1 + 0.4 * strong)
    x = x.clamp(0, 1) ** torch.exp(uniform() - 0.5)
    x = torch.lerp(x, x.mean(1, keepdim=True).expand_as(x), some(0.18))
    x = torch.lerp(x, 1 - x, some(0.04))
    order = torch.randperm(3, device=device, generator=generator)
    x = torch.lerp(x, x[:, order], some(0.05))
    x = torch.lerp(x, torch.where(uniform() < 0.5, _binomial(x), F.avg_pool2d(x, 5, 1, 2)), some(0.2))
    grain = torch.randn(x.shape, device=device, generator=generator)
    x = (x + grain * (some(0.25) * uniform() * 0.08)).clamp(0, 1)
    mean, std = (torch.tensor(v, device=device).view(1, 3, 1, 1) / 255 for v in (PIXEL_MEAN, PIXEL_STD))
    return (x - mean) / std * known[:, None]


def _binomial(x: Tensor) -> Tensor:
    """Blurred by 1 4 6 4 1 both ways."""
    kernel = torch.tensor([1.0, 4, 6, 4, 1], device=x.device).expand(3, 1, 1, 5) / 16
    x = F.conv2d(x, kernel, padding=(0, 2), groups=3)
    return F.conv2d(x, kernel.transpose(2, 3), padding=(2, 0), groups=3)
