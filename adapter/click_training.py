"""One training step of nano on simulated clicks.

Clicks come as an annotator makes them: a first one inside the object (its centre or anywhere, by depth), then
corrections in the larger error region, with the previous logits fed back. The first and the last click of a sequence
are learned from, and no gradient flows from one click into another. Some sequences begin with a box in place of the
first click.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from livesam.adapter.losses import dice, focal
from livesam.adapter.oracle import depth_map
from livesam.adapter.torch_decoder import forward
from livesam.adapter.training_data import Sample
from livesam.engine.models import PIXEL_MEAN, PIXEL_STD
from segment_anything.modeling import Sam
from torch import Tensor
from torch.nn import functional as F

BOX_SHARE = 0.2


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


def simulate_click(
    rng: np.random.Generator, target: npt.NDArray[np.bool_], mask: npt.NDArray[np.bool_], valid_hw: tuple[int, int]
) -> tuple[float, float, int]:
    """A click ``(x, y, label)`` in cells of the target: half of the time the deepest point of the larger error region,
    else anywhere in it with probability by depth. Where nothing is wrong it confirms the object."""
    target, mask = target[: valid_hw[0], : valid_hw[1]], mask[: valid_hw[0], : valid_hw[1]]
    missed, extra = (depth_map(target & ~mask), depth_map(mask & ~target))
    positive = missed.max() >= extra.max()
    depth = missed if positive else extra
    if depth.max() == 0:
        depth, positive = depth_map(target), True
    if depth.max() == 0:  # the object is thinner than a cell
        return valid_hw[1] / 2, valid_hw[0] / 2, -1
    if rng.random() < 0.5:
        index = int(depth.argmax())
    else:
        flat = depth.ravel()
        index = int(np.searchsorted(np.cumsum(flat), rng.random() * flat.sum(), side="right").clip(0, flat.size - 1))
    y, x = divmod(index, target.shape[1])
    return x + rng.random(), y + rng.random(), int(positive)


def simulate_box(rng: np.random.Generator, target: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """A box ``(x0, y0, x1, y1)`` around the target in cells, each side off by some hundredths of the object's size."""
    rows, columns = np.flatnonzero(target.any(1)), np.flatnonzero(target.any(0))
    if not len(rows):  # thinner than a cell
        return np.array((0, 0, target.shape[1], target.shape[0]), np.float32)
    box = np.array((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1), np.float32)
    size = box[2:] - box[:2]
    return (box + rng.normal(0, 0.05, 4) * np.tile(size, 2)).astype(np.float32)


def mask_loss(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Normalised focal loss plus dice over the valid cells, per mask: ``(N, M, h, w)`` gives ``(N, M)``."""
    return focal(logits, target, valid) + dice(logits, target, valid)


def mask_iou(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """IoU of thresholded masks over the valid cells: ``(N, M, h, w)`` -> ``(N, M)``."""
    mask = (logits > 0) & valid.unsqueeze(1)
    truth = (target > 0.5).unsqueeze(1)
    return (mask & truth).sum((2, 3)) / (mask | truth).sum((2, 3)).clamp_min(1)


def shown(masks: Tensor, ious: Tensor, clicks: int) -> Tensor:
    """What official single-mask clients see, ``(N, h, w)``: the best of tokens 1-3 at the first click, then token 0."""
    index = ious[:, 1:].argmax(1) + 1 if clicks == 1 else torch.zeros(len(masks), dtype=torch.long, device=masks.device)
    return masks[torch.arange(len(masks), device=masks.device), index]


def click_loss(out: Tensor, ious: Tensor, targets: Tensor, valid: Tensor, *, first: bool) -> Tensor:
    """What one click is wrong by: all four masks ``(N, 4, h, w)`` and their predicted IoUs ``(N, 4)``.

    At the first click the best of tokens 1 to 3 learns, and token 0 half as much; after it only token 0, which clients
    show from then on. The IoU head learns the true IoU of every mask.
    """
    losses = mask_loss(out, targets, valid.float())  # (N, 4)
    quality = F.mse_loss(ious, mask_iou(out.detach(), targets, valid))
    single = losses[:, 0].mean()
    return quality + (losses[:, 1:].min(1).values.mean() + 0.5 * single if first else single)


def train_step(
    sam: Sam, batch: list[Sample], most_clicks: int, rng: np.random.Generator, device: torch.device
) -> tuple[Tensor, list[float]]:
    """The loss of one batch, and the mean IoU after each click that was simulated; at most ``most_clicks`` of them."""
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
        total = int(rng.integers(1, most_clicks + 1))
        boxes = None
        if rng.random() < BOX_SHARE:
            drawn = np.stack([simulate_box(rng, t > 0.5) for t in targets_np])
            boxes = torch.from_numpy(drawn * 4).to(device)
        clicks: list[list[tuple[float, float, int]]] = [[] for _ in targets_np]
        masks = np.zeros(targets_np.shape, bool)
        logits: Tensor | None = None
        seen: list[float] = []
        losses: list[Tensor] = []
        for k in range(1, total + 1):
            points: tuple[Tensor, Tensor] | None = None
            if boxes is None or k > 1:
                for i, history in enumerate(clicks):
                    history.append(simulate_click(rng, targets_np[i] > 0.5, masks[i], batch[i // per_image].valid_hw))
                said = np.array(clicks, np.float32)  # (N, k, 3)
                coords, labels = said[..., :2] * 4, said[..., 2]  # cells to input pixels
                points = torch.from_numpy(coords).to(device), torch.from_numpy(labels).to(device)
            learned = k in (1, total)
            with torch.set_grad_enabled(learned):
                out, ious = decode(sam, features if learned else features.detach(), points, boxes, logits)
            if learned:
                losses.append(click_loss(out.float(), ious.float(), targets, valid, first=k == 1))
            with torch.no_grad():
                current = shown(out.detach().float(), ious.detach(), k)
                seen.append(float(mask_iou(current[:, None], targets, valid).mean()))
                masks = (current > 0).cpu().numpy()
                logits = current[:, None].clamp(-32, 32)
    return torch.stack(losses).mean(), seen
