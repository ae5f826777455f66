"""Ours: a fast copy of the decoder's head for the object at hand, on top of a slow copy for the domain.

The transformer stays the base's. What learns is the head: upscaling, hyper-networks and IoU prediction, a quarter of
the decoder, which works on what the transformer made of a prompt.

Fast, for this object only: what its clicks say and the decoder does not heed is learned in closed form, by a kernel
machine on top of the answer (``engine/view/obey.py``; whoever shows the answer applies it). ``click_steps`` of gradient
may be taken beside it after every click, on all clicks so far, sampled where they are, while the rest of the shown mask
is told to stay as it is; they begin at the slow copy each time, because steps that add up overfit. When the object ends
the copy is thrown away.

Slow: an accepted mask was looked at by a person, so it is dense supervision, but only as exact as their patience; a
band around its border is unknown. It teaches first clicks, at the centre or anywhere in the object, and nothing else:
the hyper-networks of the three multi-mask tokens, of which official clients show one at a first click, and the IoU
head, which chooses it. Token 0, which is shown from the second click on, is not touched: taught with accepted masks it
loses more under many clicks than it gains under few, because the precision that clicks can reach shrinks to theirs. So
the slow copy cannot spoil what corrections do.

The guard (guard.py) checks every step, and a gate of held-back accepted masks every object.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import torch
from livesam.adapter.flat_decoder import FlatDecoder
from livesam.adapter.learning.guard import CircuitBreaker, GuardConfig, ReplayGate, StepGuard
from livesam.adapter.method import Answer, ObjectId, StepReport, object_id
from livesam.adapter.methods.lessons import Lessons
from livesam.adapter.methods.replay import Example, Lesson, plausible
from livesam.adapter.optimiser import Adam
from livesam.adapter.torch_decoder import Decoding, GiveWay, Trunk
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.errors import AdaptationError
from livesam.engine.values.interaction import Interaction
from livesam.engine.values.prompt import Prompt
from livesam.engine.view.selection import select_token
from torch import Tensor

if TYPE_CHECKING:
    from livesam.engine.values.protocols import DecoderWeights
    from segment_anything.modeling import Sam

PART = 4  # lessons that go through the head together: 16 take a third less, but clicks wait for more of them
HEAD = ("output_upscaling.", "output_hypernetworks_mlps.", "iou_prediction_head.")


@dataclass(frozen=True, slots=True)
class LiveConfig:
    """Ours: a fast copy for the object on top of a slow copy for the domain; ``methods/live.py`` says how.

    Attributes:
        obey: correct answers where they contradict clicks; who shows them does that (``engine/view/obey.py``).
        click_lr: rate of the fast copy's Adam, which starts anew with every click.
        click_steps: gradient steps after a click, beside obeying. Of 50 objects of the sets to tune on, 0 and 1 failed
            on 9 and 9 by 85/20 (10.5 and 10.4 clicks each), with zoom on 6 and 9 (10.3 and 10.1), with zoom by 90/30
            on 15 and 14 (19.3 and 19.0). 0 costs nothing and publishes no weights between two clicks.
        keep: weight of staying with the own mask while a click is learned.
        lr: rate of the slow copy's Adam.
        steps: steps after an accepted object.
        batch: lessons a step; a third of them of the newest object.
        simulated: first clicks that are made up on an accepted mask, beside the user's own.
        tokens: image tokens that a lesson keeps, of 16 low-res pixels each.
        memory: accepted objects that are kept for replay.
        border: width of the unknown band on each side of an accepted mask's border, in square roots of its area.
        iou_weight: weight of the IoU head's regression.
        guard: limits of the guard.
    """

    seed: int = 0
    obey: bool = True
    click_lr: float = 2e-4
    click_steps: int = 0
    keep: float = 1.0
    lr: float = 4e-4
    steps: int = 60
    batch: int = 16
    simulated: int = 4
    tokens: int = 256
    memory: int = 48
    border: float = 0.04
    iou_weight: float = 0.5
    guard: GuardConfig = field(default_factory=GuardConfig)


class LiveMethod:
    """Fast copy, slow copy, replay, guard."""

    name = "live"

    def __init__(self, sam: Sam, config: LiveConfig, *, device: str = "cpu", give_way: GiveWay | None = None) -> None:
        self.config = config
        self._decoding = Decoding(sam, device, give_way)
        # The fast copy within an object, else the slow one; the teacher is the base and never changes.
        self._decoder, self._teacher = (
            FlatDecoder(sam.mask_decoder, device, lambda name: name.startswith(HEAD)) for _ in range(2)
        )
        self._slow = self._decoder.vector.clone()
        self._fast_adam = Adam(self._decoder.vector, config.click_lr)
        self._slow_adam = Adam(self._decoder.vector, config.lr)
        self._lessons = Lessons(self._decoding, self._decoder, config)
        self._guard = StepGuard(self._teacher.vector, config.guard)
        self._gate: ReplayGate[Example] = ReplayGate(config.guard)
        self._breaker = CircuitBreaker(config.guard)
        self._memory: deque[Example] = deque(maxlen=config.memory)
        self._counts: Counter[str] = Counter()
        self._rng = np.random.default_rng(config.seed)
        self._object: ObjectId | None = None  # the object that the fast copy belongs to
        self._first: Trunk | None = None  # what the transformer made of its first click

    # What the user sees

    def answer(self, embedding: ImageEmbedding, prompt: Prompt) -> Answer:
        output = self._decoding.decode(self._decoder, embedding, [prompt])
        return Answer(output, select_token(output.ious[0], prompt))

    # Between two clicks

    def learn_click(self, interaction: Interaction) -> Iterator[StepReport]:
        if self._object != object_id(interaction):
            self._start_object()
            self._object = object_id(interaction)
        prompt = interaction.prompts[-1]
        if not prompt.clicks or self._breaker.is_open:
            return
        first = len(interaction.prompts) == len(prompt.clicks) == 1 and prompt.box is None
        first = first and prompt.mask_logits is None
        if not first and self.config.click_steps == 0:
            return
        reached = self._decoding.trunk(self._decoder, interaction.embedding, prompt)
        if first:
            self._first = reached
        self._decoder.vector.copy_(self._slow)
        self._fast_adam.clear()
        for _ in range(self.config.click_steps):
            yield self._step("click", [self._lessons.click(interaction.embedding, prompt, reached)], self._fast_adam)

    def _start_object(self) -> None:
        self._decoder.vector.copy_(self._slow)
        self._fast_adam.clear()
        self._object = self._first = None

    # After an object

    def learn_object(self, interaction: Interaction) -> Iterator[StepReport]:
        first = self._first if self._object == object_id(interaction) else None
        self._start_object()
        if not self._breaker.allows():
            return
        learned = self._keep(interaction, first)
        if not learned or not self._memory:  # the very first accepted mask may have gone to the gate
            return
        yield from self._replay(self.config.steps)

    def learn_idle(self, steps: int) -> Iterator[StepReport]:
        """Replay memory while nothing else is to be done, then let the gate judge; the object at hand must be over."""
        if self._object is None and self._memory and not self._breaker.is_open:
            yield from self._replay(steps)

    def _keep(self, interaction: Interaction, first: Trunk | None) -> bool:
        """Put an accepted object into memory or gate; whether it was taken."""
        self._counts["given_up" if interaction.accepted_mask is None else "accepted"] += 1
        if interaction.accepted_mask is None:
            return False
        if not np.isfinite(interaction.embedding.numpy()).all():
            self._counts["bad_embedding"] += 1
            return False
        if not plausible(interaction):
            self._counts["implausible"] += 1
            return False
        example = self._lessons.prepare(interaction, first, self._rng)
        if example is None:
            self._counts["nothing_left_of_mask"] += 1
            return False
        learnable = self._gate.offer(example)
        if learnable is not example:
            example.exam = self._lessons.exam(interaction, first)
        if learnable is not None:
            learnable.exam = None
            self._memory.append(learnable)
        return True

    def _replay(self, steps: int) -> Iterator[StepReport]:
        """Steps of a batch each, a third of it of the newest object; then the gate judges."""
        newest = self._memory[-1]
        lessons = [lesson for example in self._memory for lesson in example.lessons]
        for _ in range(steps):
            yield self._step("object", self._losses(self._draw(newest, lessons)), self._slow_adam)
        yield self._judge()

    def _losses(self, batch: list[Lesson]) -> Iterator[Tensor]:
        """What adds up to the batch's mean loss, in parts that a click can wait for."""
        for start in range(0, len(batch), PART):
            part = batch[start : start + PART]
            yield self._lessons.loss(part) * (len(part) / len(batch))

    def _draw(self, newest: Example, lessons: list[Lesson]) -> list[Lesson]:
        count = self.config.batch
        of_newest = self._rng.integers(len(newest.lessons), size=count // 3)
        of_all = self._rng.integers(len(lessons), size=count - count // 3)
        return [newest.lessons[int(i)] for i in of_newest] + [lessons[int(i)] for i in of_all]

    # Guarding

    def _step(self, label: Literal["click", "object"], losses: Iterable[Tensor], adam: Adam) -> StepReport:
        """One step on the sum of the losses."""
        vector, gradient, value = self._decoder.vector, self._decoder.gradient, 0.0
        gradient.zero_()
        for loss in losses:
            value += float(loss.detach())
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
        candidate = [self._score(self._decoder, example) for example in held]
        before = [self._cached_score("slow", example) for example in held]
        base = [self._cached_score("base", example) for example in held]
        passed = self._gate.passes(candidate, before, base)
        mean = sum(candidate) / len(candidate) if candidate else 0.0
        good = self._gate.good_enough(candidate, base)
        if passed or not good:  # no gain is what a domain comes to that has been learned, and no sign of poison
            self._breaker.record(good)
        if passed:
            self._slow.copy_(self._decoder.vector)
            for example, score in zip(held, candidate, strict=True):
                example.scores["slow"] = score
            return StepReport("gate", mean, True)
        if not self._gate.good_enough(before, base):
            self._slow.copy_(self._teacher.vector)  # what is there already is worse than nothing learned
            self._forget_scores()
            self._counts["back_to_base"] += 1
        self._decoder.vector.copy_(self._slow)
        self._slow_adam.clear()
        self._counts["rejected"] += 1
        return StepReport("gate", mean, False, f"{'no better' if good else 'worse'} on the held-back masks")

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

    def _score(self, decoder: FlatDecoder, example: Example) -> float:
        if example.exam is None:
            raise AdaptationError("the gate holds an object without an exam: this is a mistake in livesam, report it")
        return self._lessons.score(decoder, example.exam)

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
        self._start_object()
        before = [value.clone() for value in self._fixed()]
        self._decoder.load(weights)
        if not all(torch.equal(old, new) for old, new in zip(before, self._fixed(), strict=True)):
            self._forget()  # lessons are what another transformer made of their clicks
        self._slow.copy_(self._decoder.vector)
        self._slow_adam.clear()
        self._forget_scores()

    def reset(self) -> None:
        self._decoder.module.load_state_dict(self._teacher.module.state_dict())
        self._slow.copy_(self._teacher.vector)
        self._slow_adam.clear()
        self._start_object()
        self._forget()
        self._breaker.clear()
        self._guard.counts.clear()
        self._counts.clear()
        self._rng = np.random.default_rng(self.config.seed)

    def _forget_scores(self) -> None:
        """The slow copy is another."""
        for example in self._gate.held:
            example.scores.pop("slow", None)

    def _forget(self) -> None:
        self._memory.clear()
        self._gate.clear()

    def _fixed(self) -> list[Tensor]:
        """What never learns: the transformer and the tokens; and the upscaling, which the slow copy leaves alone."""
        state = self._decoder.module.state_dict()
        return [value for name, value in state.items() if not name.startswith(HEAD[1:])]

    def counts(self) -> dict[str, int]:
        return {
            **self._counts,
            **{f"guard_{k}": v for k, v in self._guard.counts.items()},
            **{f"gate_{k}": v for k, v in self._gate.counts.items()},
            **{f"breaker_{k}": v for k, v in self._breaker.counts.items()},
        }
