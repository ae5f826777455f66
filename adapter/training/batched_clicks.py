"""Simulated clicks and boxes for many masks at once, on the device, with no wait for the host."""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK_NUMBERS = 2**26  # of the distance transform's largest tensor: 256 MiB in float32


def depth(region: Tensor) -> Tensor:
    """Each pixel's Euclidean distance to what is outside of the region, as OpenCV's transform of a padded mask.

    Exact, as the minimum over rows of squared distances along rows (Felzenszwalb and Huttenlocher, 2012, without their
    envelope: a device evaluates the whole table faster).

    Args:
        region: bool ``(N, h, w)``; beyond the border is outside.

    Returns:
        float32 ``(N, h, w)``, 0 outside of the region.
    """
    count, height, width = region.shape
    chunk = max(1, CHUNK_NUMBERS // (height * height * width))
    return torch.cat([_depth(region[i : i + chunk]) for i in range(0, count, chunk)])


def _depth(region: Tensor) -> Tensor:
    _, height, width = region.shape
    x = torch.arange(width, device=region.device, dtype=torch.float32)
    before = torch.where(region, -1.0, x).cummax(2).values
    after = width - 1 - torch.where(region, -1.0, width - 1 - x).flip(2).cummax(2).values.flip(2)
    return _columns(torch.minimum(x - before, after - x).square(), height)


def _columns(across: Tensor, height: int) -> Tensor:
    y = torch.arange(height, device=across.device, dtype=torch.float32)
    away = (y[:, None] - y[None, :]).square()  # (to, from)
    table = across[:, None] + away[None, :, :, None]  # (N, to, from, w)
    edge = torch.minimum(y + 1, height - y).square()  # beyond the first and the last row is outside
    return torch.minimum(table.amin(2), edge[None, :, None]).sqrt()


def simulate(target: Tensor, mask: Tensor, valid: Tensor, more: int, generator: torch.Generator) -> Tensor:
    """``more`` clicks as an annotator makes them, in the larger error region of each mask.

    Half of them at its deepest point (with a little noise, so that several differ), the others anywhere in it with
    probability by depth. Where nothing is wrong they confirm the object; where there is no object they are padding.

    Args:
        target: ``(N, h, w)``, 0 to 1.
        mask, valid: bool ``(N, h, w)``.

    Returns:
        ``(N, more, 3)``: x and y in cells, and the label: 1, 0 or -1 for padding.
    """
    truth = (target > 0.5) & valid
    missed, extra, inside = depth(torch.cat([truth & ~mask, mask & valid & ~truth, truth])).chunk(3)
    most_missed, most_extra = missed.amax((1, 2)), extra.amax((1, 2))
    right = torch.maximum(most_missed, most_extra) == 0
    positive = (most_missed >= most_extra) | right
    where = torch.where(positive[:, None, None], missed, extra)
    where = torch.where(right[:, None, None], inside, where).flatten(1)
    empty = where.amax(1) == 0
    width, made = target.shape[2], []
    for _ in range(more):
        noise = torch.rand(where.shape, device=where.device, generator=generator).clamp_(1e-6, 1 - 1e-6)
        anywhere = where.clamp_min(1e-9).log() - (-noise.log()).log()  # Gumbel: the maximum is a draw by depth
        deepest = torch.rand(len(where), 1, device=where.device, generator=generator) < 0.5
        chosen = torch.where(deepest, where + 0.5 * noise, anywhere).masked_fill(where == 0, -1e9).argmax(1)
        within = torch.rand(len(where), 2, device=where.device, generator=generator)
        label = torch.where(empty, -1, positive.long()).float()
        made.append(torch.stack([chosen % width + within[:, 0], chosen // width + within[:, 1], label], 1))
    return torch.stack(made, 1)


def boxes(target: Tensor, generator: torch.Generator) -> Tensor:
    """A box ``(N, 4)`` x0 y0 x1 y1 in cells around each object, each side off by some hundredths of its size."""
    _, height, width = target.shape
    truth = target > 0.5
    columns, rows = truth.any(1), truth.any(2)
    x, y = torch.arange(width, device=target.device), torch.arange(height, device=target.device)
    low = torch.stack([torch.where(columns, x, width).amin(1), torch.where(rows, y, height).amin(1)], 1)
    high = torch.stack([torch.where(columns, x, -1).amax(1), torch.where(rows, y, -1).amax(1)], 1) + 1
    box = torch.cat([low, high], 1).float()
    whole = torch.tensor([0.0, 0, width, height], device=target.device)
    box = torch.where((high > low).all(1, keepdim=True), box, whole)  # thinner than a cell: no box of its own
    size = (box[:, 2:] - box[:, :2]).repeat(1, 2)
    return box + torch.randn(box.shape, device=box.device, generator=generator) * 0.05 * size


def mask_iou(mask: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """IoU of bool masks ``(N, M, h, w)`` with ``(N, h, w)`` over the valid cells: ``(N, M)``."""
    mask = mask & valid[:, None]
    truth = ((target > 0.5) & valid)[:, None]
    return (mask & truth).sum((2, 3)) / (mask | truth).sum((2, 3)).clamp_min(1)
