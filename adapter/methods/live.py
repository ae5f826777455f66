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
from livesam.adapter.guard import CircuitBreaker, ReplayGate, StepGuard
from livesam.adapter.lessons import Lessons
from livesam.adapter.method import Answer, LiveConfig, ObjectId, StepReport, object_id
from livesam.adapter.optimiser import Adam
from livesam.adapter.replay import EmbeddingStore, Example, make_example, plausible
from livesam.adapter.torch_decoder import Decoding, FlatDecoder, GiveWay, shown_token
from livesam.engine.embedding import ImageEmbedding
from livesam.engine.interaction import Interaction
from livesam.engine.prompt import Prompt
from torch import Tensor

if TYPE_CHECKING:
    from livesam.engine.protocols import DecoderWeights
    from segment_anything.modeling import Sam


class LiveMethod:
    """Fast copy, slow copy, replay, guard."""

    name = "live"

    def __init__(self, sam: Sam, config: LiveConfig, *, device: str = "cpu", give_way: GiveWay | None = None) -> None:
        self.config = config
        self._decoding = Decoding(sam, device, give_way)
        self._decoder = FlatDecoder(sam.mask_decoder, device)  # the fast copy within an object, else the slow one
        self._teacher = FlatDecoder(sam.mask_decoder, device)  # the base, never changed
        self._slow = self._decoder.vector.clone()
        self._fast_adam = Adam(self._decoder.vector, config.click_lr)
        self._slow_adam = Adam(self._decoder.vector, config.lr)
        self._lessons = Lessons(self._decoding, self._decoder, self._teacher, config)
        self._guard = StepGuard(self._teacher.vector, config.guard)
        self._gate: ReplayGate[Example] = ReplayGate(config.guard)
        self._breaker = CircuitBreaker(config.guard)
        self._store = EmbeddingStore(2 * config.memory + config.guard.held_back)
        self._memory: deque[Example] = deque(maxlen=config.memory)
        self._given_up: deque[Example] = deque(maxlen=max(1, config.memory // 3))
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
        if self.config.click_restart:
            self._decoder.vector.copy_(self._slow)
            self._fast_adam.clear()
        for _ in range(self.config.click_steps):
            yield self._step(
                "click", self._lessons.click(interaction.embedding, interaction.prompts[-1]), self._fast_adam
            )

    def _start_object(self) -> None:
        self._decoder.vector.copy_(self._slow)
        self._fast_adam.clear()
        self._object = None

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
        steps = self.config.given_up_steps if interaction.accepted_mask is None else self.config.steps
        if not self._memory and (example is None or example.mask is not None):
            steps = 0  # the very first accepted mask may have gone to the gate
        for turn in range(steps):
            yield self._replay_step(example, turn)
        if carried or steps:
            yield self._judge()

    def learn_idle(self, steps: int) -> Iterator[StepReport]:
        """Replay memory while nothing else is to be done, then let the gate judge; the object at hand must be over."""
        if self._object is not None or not self._memory or self._breaker.is_open:
            return
        for turn in range(steps):
            yield self._replay_step(None, turn)
        yield self._judge()

    def _keep(self, interaction: Interaction) -> Example | None:
        """Put an accepted object into memory or gate; returns what is new and may be learned from."""
        self._counts["given_up" if interaction.accepted_mask is None else "accepted"] += 1
        if not np.isfinite(interaction.embedding.numpy()).all():
            self._counts["bad_embedding"] += 1
            return None
        if not plausible(interaction):
            self._counts["implausible"] += 1
            return None
        embedding = self._store.keep(interaction.embedding)
        example = make_example(interaction, self.config.border, embedding, self._decoding.device)
        if example is None:
            self._counts["nothing_left_of_mask"] += 1
            return None
        if example.mask is None:
            self._given_up.append(example)
            return example
        learnable = self._gate.offer(example)
        if learnable is not None:
            self._memory.append(learnable)
        return learnable

    def _replay_step(self, newest: Example | None, turn: int) -> StepReport:
        """One prompt, first click and correction in turn, of the newest example or of one from memory."""
        draw = self._rng.random()
        if newest is not None and (draw < 0.5 or not self._memory):
            example = newest
        elif self._given_up and turn % 2 and draw < 0.75:
            example = self._given_up[int(self._rng.integers(len(self._given_up)))]
        else:
            example = self._memory[int(self._rng.integers(len(self._memory)))]
        first = turn % 2 == 0 and example.mask is not None
        lesson = self._lessons.first_click if first else self._lessons.correction
        return self._step("object", lesson(example, self._rng), self._slow_adam)

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
        adam.step()
        if not self._guard.hold(vector):
            vector.copy_(self._slow)
            adam.clear()
            return StepReport(label, value, False, "the weights became infinite")
        self._counts[f"{label}_steps"] += 1
        return StepReport(label, value, True)

    def _judge(self) -> StepReport:
        """The decoder's vector is the candidate: it becomes the slow copy, or is thrown away."""
        held = self._gate.held
        candidate = [self._lessons.score(self._decoder, example) for example in held]
        before = [self._cached_score("slow", example) for example in held]
        base = [self._cached_score("base", example) for example in held]
        passed = self._gate.passes(candidate, before, base)
        mean = sum(candidate) / len(candidate) if candidate else 0.0
        # Worse than before happens by chance with few held-back masks; worse than the base is what poison does.
        self._breaker.record(passed or self._gate.good_enough(candidate, base))
        if passed:
            self._slow.copy_(self._decoder.vector)
            for example, score in zip(held, candidate, strict=True):
                example.scores["slow"] = score
            for example in self._memory:
                example.scores.clear()  # it has left the gate, or was never in it
            return StepReport("gate", mean, True)
        if not self._gate.good_enough(before, base):
            self._slow.copy_(self._teacher.vector)  # what is there already is worse than nothing learned
            for example in held:
                example.scores.pop("slow", None)
            self._counts["back_to_base"] += 1
        self._decoder.vector.copy_(self._slow)
        self._slow_adam.clear()
        self._counts["rejected"] += 1
        return StepReport("gate", mean, False, "worse on the held-back masks")

    def _cached_score(self, which: str, example: Example) -> float:
        if which not in example.scores:
            if which == "base":
                example.scores[which] = self._lessons.score(self._teacher, example)
            else:
                candidate = self._decoder.vector.clone()
                self._decoder.vector.copy_(self._slow)
                example.scores[which] = self._lessons.score(self._decoder, example)
                self._decoder.vector.copy_(candidate)
        return example.scores[which]

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
        self._given_up.clear()
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
