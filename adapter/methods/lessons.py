"""What `live` teaches: the loss of a click, lessons from an accepted object, their loss, and the gate's exam.

Only the head learns, so what the transformer makes of a prompt never changes and is kept instead of the image: a lesson
is five queries and the fine features of some pixels, and a step over sixteen of them costs milliseconds. The fine
features are those of the slow copy, whose upscaling is always the base's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from livesam.adapter.flat_decoder import FlatDecoder
from livesam.adapter.labels import MaskLabel, click_labels
from livesam.adapter.losses import click_bce, dice, focal, pixel_bce, soft_iou, sparse_bce
from livesam.adapter.methods.replay import Example, Lesson, any_click, banded_label, sample_tokens
from livesam.adapter.oracle import depth_map
from livesam.adapter.torch_decoder import (
    Decoding,
    Trunk,
    between,
    by_token,
    fine_features,
    head,
    mask_vectors,
    predicted_ious,
)
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.interaction import Interaction
from livesam.engine.values.prompt import Prompt
from livesam.engine.view.points import geometry_of
from livesam.engine.view.selection import select_token
from torch import Tensor
from torch.nn import functional as F


class LessonConfig(Protocol):
    """The numbers of ``LiveConfig`` that lessons use."""

    @property
    def keep(self) -> float: ...
    @property
    def simulated(self) -> int: ...
    @property
    def tokens(self) -> int: ...
    @property
    def border(self) -> float: ...
    @property
    def iou_weight(self) -> float: ...


class Lessons:
    """Losses of one decoder's head, with gradients."""

    def __init__(self, decoding: Decoding, decoder: FlatDecoder, config: LessonConfig) -> None:
        self.decoding, self.decoder, self.config = decoding, decoder, config

    def click(self, embedding: ImageEmbedding, prompt: Prompt, reached: Trunk) -> Tensor:
        """The clicks as labels of the shown mask, which else is told to stay as it is."""
        hw = (embedding.features.shape[2], embedding.features.shape[3])
        masks, ious = head(self.decoder.module, reached, hw, self.decoding.give_way)
        token = select_token(ious[0].detach().cpu().numpy(), prompt)
        logits = masks[:, token : token + 1]
        labels = click_labels(prompt.clicks, geometry_of(embedding))
        device = self.decoding.device
        xy, target = torch.from_numpy(labels.xy)[None].to(device), torch.from_numpy(labels.target)[None].to(device)
        keep = F.binary_cross_entropy_with_logits(logits, (logits.detach() > 0).float())
        return click_bce(logits, xy, target).mean() + self.config.keep * keep

    def prepare(self, interaction: Interaction, first: Trunk | None, rng: np.random.Generator) -> Example | None:
        """Lessons on an accepted object: the user's first click, and others made up on its mask.

        Args:
            first: what the transformer made of the first click, where that is known already.

        Returns:
            None where nothing can be learned: without clicks, and where the mask is empty, full, or too thin.
        """
        mask, label, prompt = interaction.accepted_mask, self._label(interaction), _first_click(interaction)
        if mask is None or label is None or prompt is None:
            return None
        lessons = [self._lesson(interaction.embedding, prompt, label, first, rng)]
        depth = depth_map(mask)
        for _ in range(self.config.simulated):
            prompt = Prompt((any_click(depth, rng),))
            lessons.append(self._lesson(interaction.embedding, prompt, label, None, rng))
        return Example(tuple(lessons))

    def exam(self, interaction: Interaction, first: Trunk | None) -> Lesson:
        """The user's own first click on all pixels, of an object that ``prepare`` took."""
        label, prompt = self._label(interaction), _first_click(interaction)
        if label is None or prompt is None:
            raise ValueError("an object without clicks or mask cannot judge anything")
        return self._lesson(interaction.embedding, prompt, label, first, None)

    def loss(self, lessons: Sequence[Lesson]) -> Tensor:
        """The mean over lessons of as many pixels each.

        The best of tokens 1 to 3 learns the mask, and half as much the one that is shown; the IoU head learns how good
        each of the four is.
        """
        give_way = self.decoding.give_way
        queries = torch.stack([lesson.queries for lesson in lessons])
        fine = torch.stack([lesson.fine for lesson in lessons]).float()  # (B, n, 32)
        target = torch.stack([lesson.target for lesson in lessons])[:, None]  # (B, 1, n)
        weight = torch.stack([lesson.weight for lesson in lessons])[:, None]
        masks = (mask_vectors(self.decoder.module, queries) @ fine.transpose(1, 2)).unsqueeze(2)  # (B, 4, 1, n)
        ious = predicted_ious(self.decoder.module, queries)
        between(masks, give_way)
        multi = masks[:, 1:]
        bce = pixel_bce(multi, target)
        between(bce, give_way)
        wrong = sparse_bce(multi, target, weight, bce=bce) + focal(multi, target, weight, bce=bce)
        between(wrong, give_way)
        wrong = wrong + dice(multi, target, weight)  # (B, 3)
        shown = wrong.gather(1, ious[:, 1:].detach().argmax(1, keepdim=True))
        quality = F.mse_loss(ious, soft_iou(masks, target, weight))
        return (wrong.min(1, keepdim=True).values + 0.5 * shown).mean() + self.config.iou_weight * quality

    @torch.no_grad()
    def score(self, decoder: FlatDecoder, exam: Lesson) -> float:
        """IoU of the mask that would be shown."""
        queries = exam.queries[None]
        masks = mask_vectors(decoder.module, queries) @ exam.fine.float().T  # (1, 4, n)
        token = 1 + int(predicted_ious(decoder.module, queries)[0, 1:].argmax())
        shown = masks[:, token : token + 1].unsqueeze(2)
        return float(soft_iou(shown, exam.target[None, None], exam.weight[None, None]))

    def _label(self, interaction: Interaction) -> MaskLabel | None:
        mask = interaction.accepted_mask
        return None if mask is None else banded_label(mask, geometry_of(interaction.embedding), self.config.border)

    @torch.no_grad()
    def _lesson(
        self,
        embedding: ImageEmbedding,
        prompt: Prompt,
        label: MaskLabel,
        reached: Trunk | None,
        rng: np.random.Generator | None,
    ) -> Lesson:
        """On a sample of the image tokens, or on all without ``rng``."""
        device, geometry = self.decoding.device, geometry_of(embedding)
        if reached is None:
            reached = self.decoding.trunk(self.decoder, embedding, prompt)
        target, weight = (by_token(torch.from_numpy(part).to(device)) for part in (label.target, label.weight))
        image = reached.image[0].float()
        if rng is not None:
            chosen, stands_for = sample_tokens(label, geometry, self.config.tokens, rng)
            index, times = torch.from_numpy(chosen).to(device), torch.from_numpy(stands_for).to(device)[:, None]
            image, target, weight = image[index], target[index], weight[index] * times
        fine = fine_features(self.decoder.module, image[None], self.decoding.give_way)[0]
        return Lesson(reached.queries[0].float(), fine.half(), target.flatten(), weight.flatten())


def _first_click(interaction: Interaction) -> Prompt | None:
    """The user's first click, alone."""
    clicks = interaction.prompts[-1].clicks
    return Prompt(clicks[:1]) if clicks and clicks[0].positive else None
