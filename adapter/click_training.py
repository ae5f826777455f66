"""One training step of nano on simulated clicks.

Clicks come as an annotator makes them: a first one inside the object (its centre or anywhere, by depth), then
corrections in the larger error region, with the previous logits fed back. Corrections come one to three at a time, so
long sequences stay cheap. The first and the last round of a sequence are learned from, and no gradient flows from one
round into another. Some sequences begin with a box in place of the first click.

A decoder that learns from whole masks alone gets used to clicks that it need not obey: after ten of them, half were on
the wrong side. So the mask counts more near the clicks, and the clicks' own pixels count by themselves.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from livesam.adapter.losses import click_bce, dice, focal, near_clicks
from livesam.adapter.simulated_clicks import simulate_click
from livesam.adapter.torch_decoder import forward
from livesam.adapter.training_data import Sample
from livesam.engine.models import PIXEL_MEAN, PIXEL_STD
from segment_anything.modeling import Sam
from torch import Tensor
from torch.nn import functional as F

BOX_SHARE = 0.2
MOST_AT_ONCE = 3  # clicks of one round of corrections
NEAR = 3.0  # how much more a pixel at a click counts than one far from all
OBEY = 0.5  # weight of the clicks' own pixels


def set_input_size(sam: Sam, size: int) -> None:
    """Let the prompt encoder speak about inputs of ``size`` px; its weights know no size."""
    sam.prompt_encoder.input_image_size = (size, size)
    sam.prompt_encoder.image_embedding_size = (size // 16, size // 16)


def align_attention(sam: Sam) -> None:
    """Begin with attention that already looks where the click is.

    Queries and keys carry the same positional encoding, but through two random projections their product says nothing
    about distance, and a new decoder stays at empty masks until it does. With equal projections it is the kernel of
    that encoding, largest at equal positions.
    """
    transformer = sam.mask_decoder.transformer
    attentions = [transformer.final_attn_token_to_image]
    for layer in transformer.layers:
        attentions += [layer.cross_attn_token_to_image, layer.cross_attn_image_to_token]
    with torch.no_grad():
        for attention in attentions:
            attention.q_proj.weight.mul_(1.7)
            attention.k_proj.weight.copy_(attention.q_proj.weight)
            attention.q_proj.bias.zero_()
            attention.k_proj.bias.zero_()
        for embedding in (*sam.prompt_encoder.point_embeddings, sam.prompt_encoder.not_a_point_embed):
            embedding.weight.mul_(0.3)


def decode(
    sam: Sam, features: Tensor, points: tuple[Tensor, Tensor] | None, boxes: Tensor | None, logits: Tensor | None
) -> tuple[Tensor, Tensor]:
    """All four masks of P prompts on each of B images; the official decoder takes one image a call.

    Args:
        features: ``(B, 256, h, w)``.
        points: coordinates ``(B*P, K, 2)`` in input pixels, x first, and labels ``(B*P, K)``; or None.
        boxes: ``(B*P, 4)`` in input pixels, or None; one of the two is needed.
        logits: previous low-res logits ``(B*P, 1, 4h, 4w)`` or None.

    Returns:
        low-res logits ``(B*P, 4, 4h, 4w)`` and IoU predictions ``(B*P, 4)``.
    """
    sparse, dense = sam.prompt_encoder(points=points, boxes=boxes, masks=logits)
    source = features.repeat_interleave(len(sparse) // len(features), 0) + dense
    position = sam.prompt_encoder.get_dense_pe().flatten(2).transpose(1, 2)
    return forward(sam.mask_decoder, source, position, sparse)


def simulate_box(rng: np.random.Generator, target: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """A box ``(x0, y0, x1, y1)`` around the target in cells, each side off by some hundredths of the object's size."""
    rows, columns = np.flatnonzero(target.any(1)), np.flatnonzero(target.any(0))
    if not len(rows):  # thinner than a cell
        return np.array((0, 0, target.shape[1], target.shape[0]), np.float32)
    box = np.array((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1), np.float32)
    size = box[2:] - box[:2]
    return (box + rng.normal(0, 0.05, 4) * np.tile(size, 2)).astype(np.float32)


def mask_iou(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """IoU of thresholded masks over the valid cells: ``(N, M, h, w)`` -> ``(N, M)``."""
    mask = (logits > 0) & valid.unsqueeze(1)
    truth = (target > 0.5).unsqueeze(1)
    return (mask & truth).sum((2, 3)) / (mask | truth).sum((2, 3)).clamp_min(1)


def shown(masks: Tensor, ious: Tensor, clicks: int) -> Tensor:
    """What official single-mask clients see, ``(N, h, w)``: the best of tokens 1-3 at the first click, then token 0."""
    index = ious[:, 1:].argmax(1) + 1 if clicks == 1 else torch.zeros(len(masks), dtype=torch.long, device=masks.device)
    return masks[torch.arange(len(masks), device=masks.device), index]


def click_loss(
    out: Tensor, ious: Tensor, targets: Tensor, valid: Tensor, clicks: Tensor | None, *, first: bool
) -> Tensor:
    """What one answer is wrong by: all four masks ``(N, 4, h, w)`` and their predicted IoUs ``(N, 4)``.

    At the first click the best of tokens 1 to 3 learns, and token 0 half as much; after it only token 0, which clients
    show from then on, and it learns to obey the clicks. The IoU head learns the true IoU of every mask.

    Args:
        clicks: x and y in cells and label ``(N, K, 3)``; None for a box alone.
    """
    weight = valid.float()
    if clicks is not None and not first:
        weight = weight * (1 + NEAR * near_clicks(clicks, out.shape[-1]))
    losses = focal(out, targets, weight) + dice(out, targets, valid.float())  # (N, 4)
    quality = F.mse_loss(ious, mask_iou(out.detach(), targets, valid))
    single = losses[:, 0].mean()
    if first or clicks is None:
        return quality + losses[:, 1:].min(1).values.mean() + 0.5 * single
    at_clicks = click_bce(out[:, :1], clicks[..., :2] / out.shape[-1] * 2 - 1, (clicks[..., 2] == 1).float())
    return quality + single + OBEY * at_clicks.mean()


def train_step(
    sam: Sam, batch: list[Sample], most_clicks: int, rng: np.random.Generator, device: torch.device
) -> tuple[Tensor, dict[int, float]]:
    """The loss of one batch, and the mean IoU after so many clicks, of those numbers of clicks that were simulated."""
    images = torch.from_numpy(np.stack([s.image for s in batch])).to(device, non_blocking=True)
    mean, std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (PIXEL_MEAN, PIXEL_STD))
    targets_np = np.concatenate([s.targets for s in batch])
    targets = torch.from_numpy(targets_np).to(device)  # (N, h, w)
    side, per_image = targets.shape[-1], len(batch[0].targets)
    valid = torch.zeros((len(targets), side, side), dtype=torch.bool, device=device)
    for i, sample in enumerate(batch):
        valid[i * per_image : (i + 1) * per_image, : sample.valid_hw[0], : sample.valid_hw[1]] = True
    pixels = (images.float() - mean) / std
    pixels = pixels * F.interpolate(valid[::per_image, None].float(), size=pixels.shape[-2:])  # padding is zero
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        features = sam.image_encoder(pixels.contiguous(memory_format=torch.channels_last))
        boxes = None
        if rng.random() < BOX_SHARE:
            drawn = np.stack([simulate_box(rng, t > 0.5) for t in targets_np])
            boxes = torch.from_numpy(drawn * 4).to(device)
        clicks: list[list[tuple[float, float, int]]] = [[] for _ in targets_np]
        masks = np.zeros(targets_np.shape, bool)
        logits: Tensor | None = None
        seen: dict[int, float] = {}
        losses: list[Tensor] = []
        rounds = draw_rounds(int(rng.integers(1, most_clicks + 1)), rng)
        for number, (more, given) in enumerate(zip(rounds, np.cumsum(rounds), strict=True)):
            said: Tensor | None = None
            points: tuple[Tensor, Tensor] | None = None
            if boxes is None or number > 0:
                for i, history in enumerate(clicks):
                    wanted, valid_hw = targets_np[i] > 0.5, batch[i // per_image].valid_hw
                    history.extend(simulate_click(rng, wanted, masks[i], valid_hw) for _ in range(more))
                said = torch.from_numpy(np.array(clicks, np.float32)).to(device)  # (N, k, 3)
                points = said[..., :2] * 4, said[..., 2]  # cells to input pixels
            learned = number in (0, len(rounds) - 1)
            with torch.set_grad_enabled(learned):
                out, ious = decode(sam, features if learned else features.detach(), points, boxes, logits)
            if learned:
                losses.append(click_loss(out.float(), ious.float(), targets, valid, said, first=number == 0))
            with torch.no_grad():
                current = shown(out.detach().float(), ious.detach(), int(given))
                seen[int(given)] = float(mask_iou(current[:, None], targets, valid).mean())
                masks = (current > 0).cpu().numpy()
                logits = current[:, None].clamp(-32, 32)
    return torch.stack(losses).mean(), seen


def draw_rounds(clicks: int, rng: np.random.Generator) -> list[int]:
    """How many clicks each round adds: one, then one to three at a time until there are ``clicks``."""
    rounds = [1]
    while sum(rounds) < clicks:
        rounds.append(min(int(rng.integers(1, MOST_AT_ONCE + 1)), clicks - sum(rounds)))
    return rounds
