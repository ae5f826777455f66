"""What an answer to clicks is wrong by."""

from __future__ import annotations

import torch
from livesam.adapter.losses import click_bce, dice, focal, near_clicks
from livesam.adapter.training.batched_clicks import mask_iou
from torch import Tensor

NEAR = 3.0  # how much more a pixel at a click counts than one far from all
OBEY = 0.5  # weight of the clicks' own pixels


def click_loss(
    out: Tensor, ious: Tensor, target: Tensor, valid: Tensor, clicks: Tensor | None, *, first: bool
) -> Tensor:
    """The loss of each answer ``(N,)``: all four masks ``(N, 4, h, w)`` and their predicted IoUs ``(N, 4)``.

    At the first click the best of tokens 1 to 3 learns, and token 0 half as much. After it only token 0 does, which
    clients show from then on, and it learns to obey: a decoder that learns from whole masks alone gets used to clicks
    that it need not heed (after ten of them half were on the wrong side). The IoU head learns each mask's true IoU.

    Args:
        target: ``(N, h, w)``, 0 to 1.
        valid: bool ``(N, h, w)``.
        clicks: x and y in cells and label ``(N, K, 3)``; None for a box alone.
    """
    known = valid.float()
    near = clicks is not None and not first
    weight = known * (1 + NEAR * near_clicks(clicks, out.shape[-1])) if clicks is not None and near else known
    losses = focal(out, target, weight) + dice(out, target, known)  # (N, 4)
    quality = (ious - mask_iou(out.detach() > 0, target, valid)).square().mean(1)
    if first or clicks is None:
        return quality + losses[:, 1:].min(1).values + 0.5 * losses[:, 0]
    at_clicks = click_bce(out[:, :1], clicks[..., :2] / out.shape[-1] * 2 - 1, (clicks[..., 2] == 1).float())
    return quality + losses[:, 0] + OBEY * at_clicks[:, 0]


def shown(masks: Tensor, ious: Tensor, clicks: int) -> Tensor:
    """What official single-mask clients see, ``(N, h, w)``: the best of tokens 1-3 at the first click, then token 0."""
    if clicks != 1:
        return masks[:, 0]
    best = ious[:, 1:].argmax(1) + 1
    return masks[torch.arange(len(masks), device=masks.device), best]
