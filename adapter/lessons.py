"""What `live` teaches from a finished object: losses under simulated and remembered prompts, and the gate's score."""

from __future__ import annotations

import numpy as np
import torch
from livesam.adapter.labels import click_labels
from livesam.adapter.losses import click_bce, dice, distillation, focal, soft_iou, sparse_bce
from livesam.adapter.method import LiveConfig
from livesam.adapter.replay import Example, Mask, any_click, correcting_click
from livesam.adapter.torch_decoder import Decoding, FlatDecoder, shown_token
from livesam.engine.embedding import ImageEmbedding
from livesam.engine.points import geometry_of
from livesam.engine.prompt import Prompt
from torch import Tensor
from torch.nn import functional as F


class Lessons:
    """Losses of one decoder on examples, with gradients; the teacher is the base and never changes."""

    def __init__(self, decoding: Decoding, decoder: FlatDecoder, teacher: FlatDecoder, config: LiveConfig) -> None:
        self.decoding, self.decoder, self.teacher, self.config = decoding, decoder, teacher, config

    def click(self, embedding: ImageEmbedding, prompt: Prompt) -> Tensor:
        """The clicks as labels of the shown mask, which else is told to stay as it is."""
        masks, ious = self.decoding.run(self.decoder, embedding, [prompt])
        logits = _shown(masks, ious, prompt)
        keep = F.binary_cross_entropy_with_logits(logits, (logits.detach() > 0).float())
        return self._at_clicks(logits, embedding, prompt) + self.config.keep * keep

    def first_click(self, example: Example, rng: np.random.Generator) -> Tensor:
        """A first click: the best of tokens 1 to 3, the shown one and token 0 learn the mask; all learn its quality."""
        if example.mask is None:
            raise ValueError("an object that was given up has no mask to make a first click in")
        prompt = Prompt((any_click(example.mask, rng),))
        masks, ious = self._run(self.decoder, example, prompt)
        losses = self._mask_loss(masks, example)[0]  # (4,)
        shown = shown_token(prompt, ious[0].detach().cpu().numpy())
        mask_loss = losses[1:].min() + 0.5 * losses[shown] + 0.25 * losses[0]
        return mask_loss + self.config.iou_weight * self._iou_loss(ious, masks, example)

    def correction(self, example: Example, rng: np.random.Generator) -> Tensor:
        """Several clicks: token 0 learns mask and clicks, and the base's opinion where nothing is known.

        All clicks of the object are labels, also those that came after the prompt.
        """
        position = -1
        if example.mask is not None and (len(example.prompts) == 1 or rng.random() < self.config.simulated):
            simulated = self._simulate(example.mask, example, rng)
            if simulated is None:
                return self.first_click(example, rng)
            prompt = simulated
        else:
            position = int(rng.integers(min(1, len(example.prompts) - 1), len(example.prompts)))
            prompt = example.prompts[position]
        masks, ious = self._run(self.decoder, example, prompt)
        single = masks[:, :1]
        loss = self._at_clicks(single, example.embedding, example.prompts[-1])
        if example.mask is not None:
            loss = loss + self._mask_loss(single, example).mean()
            loss = loss + self.config.iou_weight * self._iou_loss(ious[:, :1], single, example)
        if self.config.distil > 0:
            unknown = _inside(example) - example.weight[None]
            base = self._base_mask(example, prompt, position)
            loss = loss + self.config.distil * distillation(single, base, unknown).mean()
        return loss

    @torch.no_grad()
    def score(self, decoder: FlatDecoder, example: Example) -> float:
        """Mean IoU on what is known, after the user's first click and under their last prompt."""
        found = []
        for prompt in {id(p): p for p in (example.prompts[0], example.prompts[-1])}.values():
            masks, ious = self._run(decoder, example, prompt)
            shown = _shown(masks, ious, prompt)
            found.append(float(soft_iou(shown, example.target[None], example.weight[None])))
        return sum(found) / len(found)

    def _run(self, decoder: FlatDecoder, example: Example, prompt: Prompt) -> tuple[Tensor, Tensor]:
        features = example.features(self.decoding.device)
        return self.decoding.run(decoder, example.embedding, [prompt], features)

    def _at_clicks(self, logits: Tensor, embedding: ImageEmbedding, prompt: Prompt) -> Tensor:
        labels = click_labels(prompt.clicks, geometry_of(embedding))
        device = self.decoding.device
        xy, target = torch.from_numpy(labels.xy)[None].to(device), torch.from_numpy(labels.target)[None].to(device)
        return click_bce(logits, xy, target).mean()

    def _mask_loss(self, logits: Tensor, example: Example) -> Tensor:
        target, weight = example.target[None], example.weight[None]
        return sparse_bce(logits, target, weight) + focal(logits, target, weight) + dice(logits, target, weight)

    def _iou_loss(self, ious: Tensor, logits: Tensor, example: Example) -> Tensor:
        return F.mse_loss(ious, soft_iou(logits, example.target[None], example.weight[None]))

    def _simulate(self, mask: Mask, example: Example, rng: np.random.Generator) -> Prompt | None:
        """One to three corrections on the current weights after a first click; None: nothing to correct."""
        prompt = Prompt((any_click(mask, rng),))
        for _ in range(int(rng.integers(1, 4))):
            with torch.no_grad():
                masks, ious = self._run(self.decoder, example, prompt)
            logits = _shown(masks, ious, prompt)[0, 0].cpu().numpy()
            if not np.isfinite(logits).all():
                return None
            click = correcting_click(example, logits, prompt.clicks)
            if click is None:
                break
            prompt = prompt.with_click(click).with_mask(logits)
        return prompt if len(prompt.clicks) > 1 else None

    @torch.no_grad()
    def _base_mask(self, example: Example, prompt: Prompt, position: int) -> Tensor:
        """The base's token 0, ``(1, 1, 4h, 4w)``; kept for the user's own prompts."""
        if position not in example.teacher:
            masks, _ = self._run(self.teacher, example, prompt)
            if position < 0:
                return masks[:, :1]
            example.teacher[position] = masks[:, :1].half()
        return example.teacher[position].float()


def _shown(masks: Tensor, ious: Tensor, prompt: Prompt) -> Tensor:
    """The mask that a user sees, ``(1, 1, 4h, 4w)``."""
    token = shown_token(prompt, ious[0].detach().cpu().numpy())
    return masks[:, token : token + 1]


def _inside(example: Example) -> Tensor:
    """1 in the image, 0 in the padding, ``(1, 4h, 4w)``."""
    inside = torch.zeros_like(example.weight)
    height, width = example.geometry.resized_hw
    inside[: -(-height // 4), : -(-width // 4)] = 1
    return inside[None]
