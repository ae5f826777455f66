"""Losses on low-res logits. Each is a mean over what is known, so its size does not depend on how much that is."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

REACH = 3.0  # how far a click goes, in cells (standard deviation)


def sample(logits: Tensor, xy: Tensor) -> Tensor:
    """Logits at exact places, bilinear: ``(P, M, h, w)`` at ``(P, K, 2)`` in -1..1 gives ``(P, M, K)``."""
    return F.grid_sample(logits, xy.unsqueeze(1), mode="bilinear", padding_mode="border", align_corners=False)[:, :, 0]


def click_bce(logits: Tensor, xy: Tensor, target: Tensor, there: Tensor | None = None) -> Tensor:
    """Binary cross entropy at the clicks, the mean over both signs that occur: ``(P, M, h, w)`` gives ``(P, M)``.

    Args:
        xy: ``(P, K, 2)`` in -1..1.
        target: ``(P, K)``, 1 or 0.
        there: ``(P, K)``, 0 for a click that does not count, else 1; None where all do.
    """
    values = sample(logits, xy)  # (P, M, K)
    wanted = target.unsqueeze(1).expand_as(values)
    counts = torch.ones_like(wanted) if there is None else there.unsqueeze(1).expand_as(values)
    return balanced(pixel_bce(values, target), wanted, counts)


def near_clicks(clicks: Tensor, side: int) -> Tensor:
    """1 at a click, falling to 0 some cells away from all: clicks ``(N, K, 3)``, in cells, give ``(N, side, side)``."""
    cells = torch.arange(side, device=clicks.device) + 0.5
    x, y = (torch.exp(-((clicks[..., i : i + 1] - cells) ** 2) / (2 * REACH**2)) for i in (0, 1))  # (N, K, side)
    return (y[..., :, None] * x[..., None, :]).amax(1)


def pixel_bce(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross entropy of each logit: ``(P, M, ...)`` and ``(P, ...)`` give ``(P, M, ...)``."""
    return F.binary_cross_entropy_with_logits(logits, target.unsqueeze(1).expand_as(logits), reduction="none")


def sparse_bce(logits: Tensor, target: Tensor, weight: Tensor, *, bce: Tensor | None = None) -> Tensor:
    """Binary cross entropy where something is known, object and background counting the same: gives ``(P, M)``.

    Args:
        logits: ``(P, M, h, w)``.
        target: ``(P, h, w)``, in 0..1.
        weight: ``(P, h, w)``, 0 where nothing is known.
        bce: of ``pixel_bce``, where the caller has it already.
    """
    wanted = target.unsqueeze(1).expand_as(logits).flatten(2)
    known = weight.unsqueeze(1).expand_as(logits).flatten(2)
    return balanced((pixel_bce(logits, target) if bce is None else bce).flatten(2), wanted, known)


def balanced(loss: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """The mean of the two classes' means over the last axis; a class without weight does not count; 0 without any."""
    total = loss.new_zeros(loss.shape[:-1])
    classes = loss.new_zeros(loss.shape[:-1])
    for share in (target, 1 - target):
        mass = (weight * share).sum(-1)
        total = total + (loss * weight * share).sum(-1) / mass.clamp_min(1e-6)
        classes = classes + (mass > 0)
    return total / classes.clamp_min(1)


def focal(logits: Tensor, target: Tensor, weight: Tensor, gamma: float = 2.0, *, bce: Tensor | None = None) -> Tensor:
    """RITM's normalised focal loss where something is known: ``(P, M, h, w)`` gives ``(P, M)``.

    The weights ``|p - t|**gamma`` are scaled to a mean of 1, so confident pixels do not make the whole gradient vanish.

    Args:
        bce: of ``pixel_bce``, where the caller has it already.
    """
    wanted = target.unsqueeze(1).expand_as(logits)
    bce = pixel_bce(logits, target) if bce is None else bce
    hard = (logits.detach().sigmoid() - wanted).abs().pow(gamma) * weight.unsqueeze(1)
    return (bce * hard).sum((2, 3)) / hard.sum((2, 3)).clamp_min(1e-4)


def dice(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """1 - Dice of the probabilities where something is known, plus-one smoothed: ``(P, M, h, w)`` gives ``(P, M)``."""
    known = weight.unsqueeze(1)
    inside = logits.sigmoid() * known
    wanted = target.unsqueeze(1) * known
    overlap = (inside * target.unsqueeze(1)).sum((2, 3))
    return 1 - (2 * overlap + 1) / (inside.sum((2, 3)) + wanted.sum((2, 3)) + 1)


def soft_iou(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """IoU of the thresholded masks where something is known, no gradient: ``(P, M, h, w)`` gives ``(P, M)``."""
    with torch.no_grad():
        mask = (logits > 0).float() * weight.unsqueeze(1)
        wanted = (target > 0.5).float().unsqueeze(1) * weight.unsqueeze(1)
        overlap = torch.minimum(mask, wanted).sum((2, 3))
        union = torch.maximum(mask, wanted).sum((2, 3))
        return torch.where(union > 0, overlap / union.clamp_min(1e-6), torch.ones_like(union))
