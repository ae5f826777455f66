"""One training step: a sequence of simulated clicks on every object of a batch.

Corrections come one to three at a time with the previous logits fed back, so long sequences stay cheap. The first
round, the last and one in between are learned from, and no gradient flows from one round into another. Some sequences
begin with a box in place of the first click.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from livesam.adapter.training import batched_clicks
from livesam.adapter.training.click_loss import click_loss, shown
from livesam.adapter.training.crops import Batch
from livesam.engine.models.mask_decoder import forward
from segment_anything.modeling import Sam
from torch import Tensor

BOX_SHARE = 0.15
MOST_AT_ONCE = 3  # clicks of one round of corrections
LOGIT_LIMIT = 32.0  # of what is fed back


@dataclass(frozen=True, slots=True)
class Sequence:
    """How many clicks each round adds, which rounds are learned from, and whether a box takes the first one's place."""

    rounds: tuple[int, ...]
    learned: frozenset[int]
    box: bool

    @classmethod
    def draw(cls, rng: np.random.Generator, most_clicks: int) -> Sequence:
        """A sequence of 1 to ``most_clicks`` clicks."""
        clicks = int(rng.integers(1, most_clicks + 1))
        rounds = [1]
        while sum(rounds) < clicks:
            rounds.append(min(int(rng.choice([1, 1, 2, MOST_AT_ONCE])), clicks - sum(rounds)))
        learned = {0, len(rounds) - 1}
        if len(rounds) > 2:
            learned.add(int(rng.integers(1, len(rounds) - 1)))
        return cls(tuple(rounds), frozenset(learned), bool(rng.random() < BOX_SHARE))


def set_input_size(sam: Sam, size: int) -> None:
    """Let the model speak about inputs of ``size`` px; its weights know no size."""
    sam.image_encoder.img_size = size
    sam.prompt_encoder.input_image_size = (size, size)
    sam.prompt_encoder.image_embedding_size = (size // 16, size // 16)


def decode(
    sam: Sam, features: Tensor, points: tuple[Tensor, Tensor] | None, box: Tensor | None, logits: Tensor | None
) -> tuple[Tensor, Tensor]:
    """All four masks of P prompts on each of B images; the official decoder takes one image a call.

    The prompt encoder runs in fp32 under autocast too: a bf16 coordinate is off by pixels.

    Args:
        features: ``(B, 256, h, w)``.
        points: coordinates ``(B*P, K, 2)`` in input pixels, x first, and labels ``(B*P, K)``; or None.
        box: ``(B*P, 4)`` in input pixels, or None; one of the two is needed.
        logits: previous low-res logits ``(B*P, 1, 4h, 4w)`` or None.

    Returns:
        low-res logits ``(B*P, 4, 4h, 4w)`` and IoU predictions ``(B*P, 4)``, float32.
    """
    with torch.autocast(features.device.type, enabled=False):
        sparse, dense = sam.prompt_encoder(points=points, boxes=box, masks=logits)
        position = sam.prompt_encoder.get_dense_pe().flatten(2).transpose(1, 2)
    source = features.repeat_interleave(len(sparse) // len(features), 0) + dense
    masks, ious = forward(sam.mask_decoder, source, position, sparse)
    return masks.float(), ious.float()


def sequence_loss(
    sam: Sam, features: Tensor, batch: Batch, sequence: Sequence, generator: torch.Generator
) -> tuple[Tensor, dict[int, Tensor]]:
    """The loss of one batch, a scalar, and the mean IoU after so many clicks; nothing here waits for the device."""
    box = batched_clicks.boxes(batch.target, generator) * 4 if sequence.box else None
    clicks: Tensor | None = None
    logits: Tensor | None = None
    mask = torch.zeros_like(batch.valid)
    total = batch.exists.sum().clamp_min(1)
    losses, seen = [], {}
    given = 0
    for number, more in enumerate(sequence.rounds):
        given += more
        if box is None or number > 0:
            new = batched_clicks.simulate(batch.target, mask, batch.valid, more, generator)
            clicks = new if clicks is None else torch.cat([clicks, new], 1)
        points = None if clicks is None else (clicks[..., :2] * 4, clicks[..., 2])  # cells to input pixels
        learned = number in sequence.learned
        with torch.set_grad_enabled(learned):
            out, ious = decode(sam, features if learned else features.detach(), points, box, logits)
        if learned:
            loss = click_loss(out, ious, batch.target, batch.valid, clicks, first=number == 0)
            losses.append((loss * batch.exists).sum() / total)
        current = shown(out.detach(), ious.detach(), given)
        mask = (current > 0) & batch.valid
        found = batched_clicks.mask_iou(mask[:, None], batch.target, batch.valid)[:, 0]
        seen[given] = (found * batch.exists).sum() / total
        logits = current[:, None].clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
    return torch.stack(losses).mean(), seen


def batch_loss(
    sam: Sam, batch: Batch, sequence: Sequence, generator: torch.Generator, half: bool
) -> tuple[Tensor, dict[int, Tensor]]:
    """Encode a batch and click on it; ``half``: bf16 autocast for all but the prompt encoder.

    Pixels stay contiguous: on a Hopper GPU depthwise convolutions in bf16 with channels_last took 16 s a batch.
    """
    with torch.autocast(batch.pixels.device.type, torch.bfloat16, enabled=half):
        return sequence_loss(sam, sam.image_encoder(batch.pixels.contiguous()), batch, sequence, generator)
