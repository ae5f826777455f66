"""What `live` trains: the decoder's late layers, on what the layers before them made of a prompt.

Those are the last attention, the upscaling, the hyper-networks and the IoU head: a fifth of the decoder. The two-way
layers, the tokens and the prompt encoder stay the base's, so what they make of a prompt never changes and is kept
instead of the image; prompts with any number of clicks then go through in one batch. The whole decoder was tried: it
costs more and does no better.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from livesam.adapter.flat_decoder import FlatDecoder
from livesam.adapter.losses import click_bce, dice, focal, near_clicks, soft_iou
from livesam.adapter.methods.replay import Lesson
from livesam.adapter.torch_decoder import Decoding
from livesam.engine.models.mask_decoder import Decoded, Trunk
from torch import Tensor

LATE = (
    "transformer.final_attn_token_to_image.",
    "transformer.norm_final_attn.",
    "output_upscaling.",
    "output_hypernetworks_mlps.",
    "iou_prediction_head.",
)


class LateLayers:
    """Loss and score of lessons, for any decoder that shares the early layers.

    Args:
        near: how much more a pixel at a click counts than one far from all, from the second click on.
        at_clicks: weight of the clicks' own pixels, likewise.
    """

    def __init__(self, decoding: Decoding, near: float, at_clicks: float) -> None:
        self._decoding, self._near, self._at_clicks = decoding, near, at_clicks

    def loss(self, decoder: FlatDecoder, lessons: Sequence[Lesson]) -> Tensor:
        """What each lesson's answer is wrong by, times its trust: ``(B,)``, with gradients.

        At a first click the best of tokens 1 to 3 learns the mask, and half as much the one that is shown and token 0;
        after it only token 0, which is shown from then on, and it learns to obey the clicks. The IoU head learns how
        good each of the four is.
        """
        masks, ious = self._answer(decoder, lessons)
        target = torch.stack([lesson.label.target for lesson in lessons])
        known = torch.stack([lesson.label.weight for lesson in lessons])
        first = torch.tensor([lesson.first for lesson in lessons], device=masks.device)
        near, disobeyed = self._nearness(lessons), self._disobeyed(masks, lessons)
        trust = torch.tensor([lesson.trust for lesson in lessons], device=masks.device)
        return trust * self.combined((masks, ious), target, known, near, disobeyed, first)

    def combined(
        self, answer: Decoded, target: Tensor, known: Tensor, near: Tensor, disobeyed: Tensor, first: Tensor
    ) -> Tensor:
        """What answers are wrong by, ``(B,)``.

        Args:
            target, known: of the labels, ``(B, 4h, 4w)``.
            near: 1 at clicks that the answer has to heed, ``(B, 4h, 4w)``.
            disobeyed: cross entropy of token 0 at the clicks, ``(B,)``.
            first: whether it is a first click, bool ``(B,)``.
        """
        masks, ious = answer
        wrong = focal(masks, target, known * (1 + self._near * near)) + dice(masks, target, known)
        shown = wrong[:, 1:].gather(1, ious[:, 1:].detach().argmax(1, keepdim=True))[:, 0]
        at_first = wrong[:, 1:].amin(1) + 0.5 * shown + 0.5 * wrong[:, 0]
        at_later = wrong[:, 0] + self._at_clicks * disobeyed
        quality = (ious - soft_iou(masks, target, known)).square().mean(1)
        return torch.where(first, at_first, at_later) + quality

    @torch.no_grad()
    def score(self, decoder: FlatDecoder, lessons: Sequence[Lesson]) -> float:
        """Mean IoU of the masks that would be shown."""
        masks, ious = self._answer(decoder, lessons)
        total = 0.0
        for row, lesson in enumerate(lessons):
            token = 1 + int(ious[row, 1:].argmax()) if lesson.first else 0
            label = lesson.label
            total += float(soft_iou(masks[row, token][None, None], label.target[None], label.weight[None]))
        return total / len(lessons)

    def _answer(self, decoder: FlatDecoder, lessons: Sequence[Lesson]) -> Decoded:
        queries = torch.stack([lesson.queries for lesson in lessons]).float()
        image = torch.stack([lesson.image for lesson in lessons]).float()
        height, width = (side // 4 for side in lessons[0].label.target.shape)
        return self._decoding.finish(decoder, Trunk(queries, image), (height, width))

    def _nearness(self, lessons: Sequence[Lesson]) -> Tensor:
        """1 at clicks that the answer has to heed, ``(B, 4h, 4w)``."""
        near = []
        for lesson in lessons:
            side = lesson.label.target.shape[0]
            if lesson.first or not len(lesson.xy):
                near.append(torch.zeros_like(lesson.label.target))
            else:
                cells = (lesson.xy + 1) / 2 * side
                near.append(near_clicks(cells[None], side)[0])
        return torch.stack(near)

    def _disobeyed(self, masks: Tensor, lessons: Sequence[Lesson]) -> Tensor:
        """Cross entropy of token 0 at the clicks, ``(B,)``."""
        return torch.stack(
            [
                click_bce(masks[row : row + 1, :1], lesson.xy[None], lesson.positive[None])[0, 0]
                if len(lesson.xy)
                else masks.new_zeros(())
                for row, lesson in enumerate(lessons)
            ]
        )
