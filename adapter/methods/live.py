"""Ours: a fast copy of the decoder for the object at hand, on top of a slow copy for the domain.

Fast: after every click one small step on all clicks so far, sampled where they are, while the rest of the mask is told
to stay as it is. Several steps at once overfit, so there is one by default. When the object
ends the copy is thrown away; the slow one goes a small part of its way.

Slow: an accepted mask was looked at by a person, so it is dense supervision, but only as exact as their patience.
A band around its border is unknown. Micro-steps replay it and earlier ones from memory:

* first clicks, at the centre or anywhere in the object: the best of the three multi-mask tokens learns, and so does
  the one that would be shown; the IoU head learns which one that should be. Official clients show one of these three
  at a first click, so a decoder that trains token 0 alone looks unchanged there;
* corrections: the user's own prompts, or clicks of the oracle on what the current weights make of it. Token 0 learns
  the accepted mask, and in the unknown band the base's opinion under the same prompt, so that the precision which many
  clicks can reach does not shrink to that of the accepted masks.

The guard (guard.py) checks every step, and a gate of held-back accepted masks every object.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import torch
from livesam.adapter.guard import CircuitBreaker, ReplayGate, StepGuard, mean_over
from livesam.adapter.labels import click_labels
from livesam.adapter.losses import click_bce, dice, distillation, focal, soft_iou, sparse_bce
from livesam.adapter.method import Answer, LiveConfig, ObjectId, StepReport, object_id
from livesam.adapter.optimiser import Adam
from livesam.adapter.replay import EmbeddingStore, Example, any_click, correcting_click, make_example
from livesam.adapter.torch_decoder import Decoding, FlatDecoder, shown_token
from livesam.engine.embedding import ImageEmbedding
from livesam.engine.interaction import Interaction
from livesam.engine.points import geometry_of
from livesam.engine.prompt import Prompt
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from livesam.engine.protocols import DecoderWeights
    from segment_anything.modeling import Sam


class LiveMethod:
    """Fast copy, slow copy, replay, guard."""

    name = "live"

    def __init__(self, sam: Sam, config: LiveConfig, *, device: str = "cpu") -> None:
        self.config = config
        self._decoding = Decoding(sam, device)
        self._decoder = FlatDecoder(sam.mask_decoder, device)  # the fast copy within an object, else the slow one
        self._teacher = FlatDecoder(sam.mask_decoder, device)  # the base, never changed
        self._slow = self._decoder.vector.clone()
        self._fast_adam = Adam(self._decoder.vector, config.click_lr)
        self._slow_adam = Adam(self._decoder.vector, config.lr)
        self._guard = StepGuard(self._teacher.vector, config.guard)
        self._gate: ReplayGate[Example] = ReplayGate(config.guard)
        self._breaker = CircuitBreaker(config.guard)
        self._store = EmbeddingStore(config.memory + config.guard.held_back)
        self._memory: deque[Example] = deque(maxlen=config.memory)
        self._counts: Counter[str] = Counter()
        self._rng = np.random.default_rng(config.seed)
        self._object: ObjectId | None = None  # the object that the fast copy belongs to

    # What the user sees

    def answer(self, embedding: ImageEmbedding, prompt: Prompt) -> Answer:
        output = self._decoding.decode(self._decoder, embedding, [prompt])
        return Answer(output, shown_token(prompt, output.ious[0]))

    # Between two clicks

    def learn_click(self, interaction: Interaction) -> Iterator[StepReport]:
        if self._object != object_id(interaction):
            self._start_object()
            self._object = object_id(interaction)
        if not interaction.prompts[-1].clicks:
            return
        for _ in range(self.config.click_steps):
            yield self._step("click", self._click_loss(interaction), self._fast_adam)

    def _start_object(self) -> None:
        self._decoder.vector.copy_(self._slow)
        self._fast_adam.clear()
        self._object = None

    def _click_loss(self, interaction: Interaction) -> Tensor:
        prompt = interaction.prompts[-1]
        masks, ious = self._decoding.run(self._decoder, interaction.embedding, [prompt])
        token = shown_token(prompt, ious[0].detach().cpu().numpy())
        logits = masks[:, token : token + 1]
        own = (logits.detach() > 0).float()
        keep = F.binary_cross_entropy_with_logits(logits, own)
        return self._at_clicks(logits, interaction.embedding, prompt) + self.config.keep * keep

    def _at_clicks(self, logits: Tensor, embedding: ImageEmbedding, prompt: Prompt) -> Tensor:
        labels = click_labels(prompt.clicks, geometry_of(embedding))
        device = self._decoding.device
        xy, target = torch.from_numpy(labels.xy)[None].to(device), torch.from_numpy(labels.target)[None].to(device)
        return click_bce(logits, xy, target).mean()

    # After an object

    def learn_object(self, interaction: Interaction) -> Iterator[StepReport]:
        way = self._decoder.vector - self._slow if self._object == object_id(interaction) else None
        self._start_object()
        if not self._breaker.allows():
            return
        example = self._keep(interaction)
        carried = way is not None and self.config.carry > 0
        if way is not None and carried:
            self._decoder.vector.add_(way, alpha=self.config.carry)
            carried = self._guard.hold(self._decoder.vector)
            if not carried:
                self._decoder.vector.copy_(self._slow)
        stepped = False
        if self._memory and interaction.accepted_mask is not None:
            for _ in range(self.config.steps):
                stepped = True
                yield self._replay_step(example)
        if carried or stepped:
            yield self._judge()

    def learn_idle(self, steps: int) -> Iterator[StepReport]:
        """Replay memory while nothing else is to be done, then let the gate judge; the object at hand must be over."""
        if self._object is not None or not self._memory or self._breaker.is_open:
            return
        for _ in range(steps):
            yield self._replay_step(None)
        yield self._judge()

    def _keep(self, interaction: Interaction) -> Example | None:
        """Put an accepted object into memory or gate; returns what is new in the memory."""
        if interaction.accepted_mask is None:
            self._counts["given_up"] += 1
            return None
        self._counts["accepted"] += 1
        if not np.isfinite(interaction.embedding.numpy()).all():
            self._counts["bad_embedding"] += 1
            return None
        embedding = self._store.keep(interaction.embedding)
        example = make_example(interaction, self.config.border, embedding, self._decoding.device)
        if example is None or not example.prompts:
            self._counts["nothing_left_of_mask"] += 1
            return None
        learnable = self._gate.offer(example)
        if learnable is not None:
            self._memory.append(learnable)
        return learnable

    def _replay_step(self, newest: Example | None) -> StepReport:
        """One first click and one correction, of the newest example or of one from memory."""
        losses = []
        for kind in ("first", "correction"):
            if newest is not None and self._rng.random() < 0.5:
                example = newest
            else:
                example = self._memory[int(self._rng.integers(len(self._memory)))]
            losses.append(self._first_loss(example) if kind == "first" else self._correction_loss(example))
        return self._step("object", torch.stack(losses).mean(), self._slow_adam)

    def _run(self, decoder: FlatDecoder, example: Example, prompt: Prompt) -> tuple[Tensor, Tensor]:
        features = example.features(self._decoding.device)
        return self._decoding.run(decoder, example.embedding, [prompt], features)

    def _mask_loss(self, logits: Tensor, example: Example) -> Tensor:
        target, weight = example.target[None], example.weight[None]
        return sparse_bce(logits, target, weight) + focal(logits, target, weight) + dice(logits, target, weight)

    def _iou_loss(self, ious: Tensor, logits: Tensor, example: Example) -> Tensor:
        return F.mse_loss(ious, soft_iou(logits, example.target[None], example.weight[None]))

    def _first_loss(self, example: Example) -> Tensor:
        prompt = Prompt((any_click(example.mask, self._rng),))
        masks, ious = self._run(self._decoder, example, prompt)
        losses = self._mask_loss(masks, example)[0]  # (4,)
        shown = shown_token(prompt, ious[0].detach().cpu().numpy())
        mask_loss = losses[1:].min() + 0.5 * losses[shown] + 0.25 * losses[0]
        return mask_loss + self.config.iou_weight * self._iou_loss(ious, masks, example)

    def _correction_loss(self, example: Example) -> Tensor:
        if len(example.prompts) > 1 and self._rng.random() >= self.config.simulated:
            position = int(self._rng.integers(1, len(example.prompts)))
            prompt = example.prompts[position]
        else:
            position, simulated = -1, self._simulate(example)
            if simulated is None:
                return self._first_loss(example)
            prompt = simulated
        masks, ious = self._run(self._decoder, example, prompt)
        single = masks[:, :1]
        loss = self._mask_loss(single, example).mean() + self._at_clicks(single, example.embedding, prompt)
        loss = loss + self.config.iou_weight * self._iou_loss(ious[:, :1], single, example)
        if self.config.distil > 0:
            unknown = self._inside(example) - example.weight[None]
            loss = (
                loss
                + self.config.distil * distillation(single, self._base_mask(example, prompt, position), unknown).mean()
            )
        return loss

    def _simulate(self, example: Example) -> Prompt | None:
        """One to three corrections on the current weights, starting with a first click; None: nothing to correct."""
        prompt = Prompt((any_click(example.mask, self._rng),))
        for _ in range(int(self._rng.integers(1, 4))):
            with torch.no_grad():
                masks, ious = self._run(self._decoder, example, prompt)
            logits = masks[0, shown_token(prompt, ious[0].cpu().numpy())].cpu().numpy()
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
            masks, _ = self._run(self._teacher, example, prompt)
            if position < 0:
                return masks[:, :1]
            example.teacher[position] = masks[:, :1].half()
        return example.teacher[position].float()

    def _inside(self, example: Example) -> Tensor:
        """1 in the image, 0 in the padding, ``(1, 4h, 4w)``."""
        inside = torch.zeros_like(example.weight)
        height, width = example.geometry.resized_hw
        inside[: -(-height // 4), : -(-width // 4)] = 1
        return inside[None]

    # Guarding

    def _step(self, label: Literal["click", "object"], loss: Tensor, adam: Adam) -> StepReport:
        vector, gradient = self._decoder.vector, self._decoder.gradient
        value = float(loss.detach())
        gradient.zero_()
        if not self._guard.loss_is_good(loss):
            return StepReport(label, float("nan"), False, "the loss is not finite")
        loss.backward()  # type: ignore[no-untyped-call]
        if not self._guard.clip(gradient):
            return StepReport(label, value, False, "the gradient is not finite")
        adam.step(gradient)
        if not self._guard.hold(vector):
            vector.copy_(self._slow)
            adam.clear()
            return StepReport(label, value, False, "the weights became infinite")
        self._counts[f"{label}_steps"] += 1
        return StepReport(label, value, True)

    def _judge(self) -> StepReport:
        """The decoder's vector is the candidate: it becomes the slow copy, or is thrown away."""
        held = self._gate.held
        if held:
            candidate = mean_over(held, lambda e: self._score(self._decoder, e))
            before = mean_over(held, lambda e: self._cached_score("slow", e))
            base = mean_over(held, lambda e: self._cached_score("base", e))
            passed = self._gate.passes(candidate, before, base)
        else:
            candidate, passed = float("nan"), True
        self._breaker.record(passed)
        if passed:
            self._slow.copy_(self._decoder.vector)
            for example in (*held, *self._memory):
                example.scores.pop("slow", None)
            return StepReport("gate", candidate, True)
        if before < base - self.config.guard.worse_than_base:
            self._slow.copy_(self._teacher.vector)  # what is there already is worse than nothing learned
            self._counts["back_to_base"] += 1
        self._decoder.vector.copy_(self._slow)
        self._slow_adam.clear()
        self._counts["rejected"] += 1
        return StepReport("gate", candidate, False, "worse on the held-back masks")

    def _cached_score(self, which: str, example: Example) -> float:
        if which not in example.scores:
            if which == "base":
                example.scores[which] = self._score(self._teacher, example)
            else:
                candidate = self._decoder.vector.clone()
                self._decoder.vector.copy_(self._slow)
                example.scores[which] = self._score(self._decoder, example)
                self._decoder.vector.copy_(candidate)
        return example.scores[which]

    @torch.no_grad()
    def _score(self, decoder: FlatDecoder, example: Example) -> float:
        """Mean IoU on what is known, after the user's first click and under their last prompt."""
        found = []
        for prompt in {id(p): p for p in (example.prompts[0], example.prompts[-1])}.values():
            masks, ious = self._run(decoder, example, prompt)
            token = shown_token(prompt, ious[0].cpu().numpy())
            found.append(float(soft_iou(masks[:, token : token + 1], example.target[None], example.weight[None])))
        return sum(found) / len(found)

    # Weights

    def weights(self) -> dict[str, npt.NDArray[np.float32]]:
        return self._decoder.weights()

    def domain_weights(self) -> dict[str, npt.NDArray[np.float32]]:
        now = self._decoder.vector.clone()
        self._decoder.vector.copy_(self._slow)
        weights = self._decoder.weights()
        self._decoder.vector.copy_(now)
        return weights

    def load_domain(self, weights: DecoderWeights) -> None:
        self._decoder.load(weights)
        self._slow.copy_(self._decoder.vector)
        self._slow_adam.clear()
        self._start_object()

    def reset(self) -> None:
        self._slow.copy_(self._teacher.vector)
        self._slow_adam.clear()
        self._start_object()
        self._memory.clear()
        self._store.clear()
        self._gate.clear()
        self._breaker.clear()
        self._guard.counts.clear()
        self._counts.clear()
        self._rng = np.random.default_rng(self.config.seed)

    def counts(self) -> dict[str, int]:
        return {
            **self._counts,
            **{f"guard_{k}": v for k, v in self._guard.counts.items()},
            **{f"gate_{k}": v for k, v in self._gate.counts.items()},
            **{f"breaker_{k}": v for k, v in self._breaker.counts.items()},
        }
