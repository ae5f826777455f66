"""Ours: what a domain's finished objects teach, learned while the next ones are worked on.

Every object that is over becomes lessons (``lessons.py``): sequences of clicks, in the views in which clicks happen.
The decoder's late layers learn from them (``late_layers.py``) with a memory of the objects before. Few steps follow the
first objects and more the later ones, because one object is easily learned by heart.

What is served is one plain decoder: an average of the weights over objects, pulled part of the way back to the base.
The average takes out what one batch or one object happened to say; the pull keeps what the base does well already.
The guard (``guard.py``) checks every step, and a gate of held-back accepted masks every object.

Beside gradients, answers are corrected where they contradict clicks (``engine/view/obey.py``), and first clicks are
looked at in windows of the objects' size (``engine/view/size_prior.py``); whoever shows the answers does both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from livesam.adapter.flat_decoder import FlatDecoder
from livesam.adapter.labels import plausible
from livesam.adapter.learning.guard import CircuitBreaker, GuardConfig, ReplayGate, StepGuard
from livesam.adapter.method import AdaptationConfig, Answer, StepReport
from livesam.adapter.methods.batch_gradient import BatchGradient
from livesam.adapter.methods.late_layers import LATE, LateLayers
from livesam.adapter.methods.lessons import PREPARED, Lessons
from livesam.adapter.methods.recorded_loss import RecordedLoss
from livesam.adapter.methods.replay import Example, Lesson, Memory
from livesam.adapter.optimiser import Adam
from livesam.adapter.torch_decoder import Decoding
from livesam.engine.models.mask_decoder import GiveWay
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.interaction import Interaction
from livesam.engine.values.prompt import Prompt
from livesam.engine.view.selection import select_token
from torch import Tensor

if TYPE_CHECKING:
    from livesam.engine.values.protocols import DecoderWeights
    from segment_anything.modeling import Sam


@dataclass(frozen=True, slots=True)
class LiveConfig(AdaptationConfig):
    """The numbers of `live`, and a switch for each of its parts.

    Attributes:
        obey: correct answers where they contradict clicks; who shows them does that (``engine/view/obey.py``).
        size_prior: look at first clicks in a window of the objects' size (``engine/view/size_prior.py``), likewise.
        learn: take gradient steps; without them only the two above are left.
        lr: rate of AdamW.
        steps: steps after an object, once there are enough objects in memory.
        ramp: at most so many for each object in memory.
        batch: lessons a step.
        newest: the newest object's share of a batch, beside its part in all of them.
        first: share of first clicks.
        sequences: of simulated clicks on the whole image, and as many divided over zoom's windows, at least one each.
        rounds: clicks of such a sequence; 1 teaches first clicks only.
        zoomed: take lessons in zoom's windows too.
        kept: lessons of an object on later clicks.
        given_up: how much an object counts that was given up or taken as rough; 0 leaves it out.
        memory: objects that are kept for replay.
        memory_mib: room for them.
        border: width of the unknown band on each side of a mask's border, in square roots of its area.
        near, at_clicks: weight of pixels near clicks and at them, from the second click on.
        average: the share of the weights before in the average over objects.
        pull: how far from the base to the average the served weights are.
        guard: limits of the guard.
    """

    seed: int = 0
    obey: bool = True
    size_prior: bool = True
    learn: bool = True
    lr: float = 3e-4
    steps: int = 16
    ramp: int = 4
    batch: int = 8
    newest: float = 0.34
    first: float = 0.35
    sequences: int = 2
    rounds: int = 6
    zoomed: bool = True
    kept: int = 14
    given_up: float = 0.5
    memory: int = 48
    memory_mib: float = 256
    border: float = 0.04
    near: float = 3.0
    at_clicks: float = 0.5
    average: float = 0.5
    pull: float = 0.65
    guard: GuardConfig = field(default_factory=GuardConfig)

    def __post_init__(self) -> None:
        if not (0 < self.pull <= 1 and 0 <= self.average < 1):
            raise ValueError(f"pull must be above 0 and at most 1, average at least 0 and below 1, got {self}")


class LiveMethod:
    """A student that learns, the average of what it was, and the decoder that is served."""

    name = "live"

    def __init__(self, sam: Sam, config: LiveConfig, *, device: str = "cpu", give_way: GiveWay | None = None) -> None:
        self.config = config
        self._decoding = Decoding(sam, device, give_way)
        self._served, self._student, self._base = (
            FlatDecoder(sam.mask_decoder, device, lambda name: name.startswith(LATE)) for _ in range(3)
        )
        self._average = self._base.vector.clone()
        self._adam = Adam(self._student.vector, config.lr)
        self._late = LateLayers(self._decoding, config.near, config.at_clicks)
        self._lessons = Lessons(self._decoding, self._served, config)
        self._guard = StepGuard(self._base.vector, config.guard)
        recorded = None
        if self._decoding.device.type == "cuda":
            recorded = RecordedLoss(self._late, self._student, self._decoding.position(), config.batch)
        self._gradient = BatchGradient(self._late, self._student, self._guard, recorded)
        self._gate: ReplayGate[Example] = ReplayGate(config.guard)
        self._breaker = CircuitBreaker(config.guard)
        self._memory = Memory(config.memory, config.memory_mib)
        self._counts: Counter[str] = Counter()
        self._rng = np.random.default_rng(config.seed)

    def answer(self, embedding: ImageEmbedding, prompt: Prompt) -> Answer:
        output = self._decoding.decode(self._served, embedding, [prompt])
        return Answer(output, select_token(output.ious[0], prompt))

    def learn_click(self, interaction: Interaction) -> Iterator[StepReport]:
        """Nothing: steps on the clicks of the object at hand were tried, and gain nothing beside obeying."""
        return iter(())

    def learn_object(self, interaction: Interaction) -> Iterator[StepReport]:
        if not self.config.learn or not self._breaker.allows() or not self._may_learn(interaction):
            return
        example = yield from self._lessons.prepare(interaction, self._rng)
        if example is None:
            self._counts["nothing_left_of_mask"] += 1
            return
        certain = interaction.accepted and not interaction.rough
        learnable = self._gate.offer(example) if certain else example
        if learnable is not None:
            self._memory.add(learnable)
        if len(self._memory):
            yield from self._replay(min(self.config.steps, self.config.ramp * len(self._memory)))

    def _may_learn(self, interaction: Interaction) -> bool:
        """Whether the object can teach anything; counted where not."""
        kind = "given_up" if not interaction.accepted else "rough" if interaction.rough else "accepted"
        self._counts[kind] += 1
        embeddings = (interaction.embedding, *(view.embedding for view in interaction.views))
        if not all(bool(np.isfinite(embedding.numpy()).all()) for embedding in embeddings):
            self._counts["bad_embedding"] += 1
            return False
        if not plausible(interaction):
            self._counts["implausible"] += 1
            return False
        return True

    def _replay(self, steps: int) -> Iterator[StepReport]:
        """Steps of a batch each; then the gate judges what they have made."""
        before = self._student.vector.clone()
        for _ in range(steps):
            batch = self._memory.draw(self.config.batch, self.config.newest, self.config.first, self._rng)
            yield from self._step(batch, before)
        yield from self._judge(before)

    def _step(self, batch: list[Lesson], before: Tensor) -> Iterator[StepReport]:
        """One step of AdamW on a batch."""
        vector, gradient = self._student.vector, self._student.gradient
        value = yield from self._gradient.take(batch)
        if value is None:
            yield StepReport("object", float("nan"), False, "the loss is not finite")
            return
        if not self._guard.clip(gradient):
            yield StepReport("object", value, False, "the gradient is not finite")
            return
        self._adam.step()
        if not self._guard.hold(vector):
            vector.copy_(before)
            self._adam.clear()
            yield StepReport("object", value, False, "the weights became infinite")
            return
        self._counts["object_steps"] += 1
        yield StepReport("object", value, True)

    # Guarding

    def _judge(self, before: Tensor) -> Generator[StepReport, None, None]:
        """Serve the new average, or keep what serves; where it is worse than the base, the student is as ``before``."""
        average = torch.lerp(self._student.vector, self._average, self.config.average)
        candidate = torch.lerp(self._base.vector, average, self.config.pull)
        served = yield from self._scores("served", self._served.vector)
        base = yield from self._scores("base", self._base.vector)
        self._forget_scores("candidate")
        now = yield from self._scores("candidate", candidate)
        passed, good = self._gate.passes(now, served, base), self._gate.good_enough(now, base)
        if passed or not good:  # no gain is what a domain comes to that has been learned, and no sign of poison
            self._breaker.record(good)
        mean = sum(now) / len(now) if now else 0.0
        if passed:
            self._average.copy_(average)
            self._served.vector.copy_(candidate)
            for example, score in zip(self._gate.held, now, strict=True):
                example.scores["served"] = score
            yield StepReport("gate", mean, True)
            return
        self._counts["rejected"] += 1
        if not good:
            self._student.vector.copy_(before)
            self._adam.clear()
        if not self._gate.good_enough(served, base):
            self._start_at(self._base.vector)  # what is there already is worse than nothing learned
            self._counts["back_to_base"] += 1
        yield StepReport("gate", mean, False, f"{'no better' if good else 'worse'} on the held-back masks")

    def _scores(self, name: str, vector: Tensor) -> Generator[StepReport, None, list[float]]:
        """IoU of late layers on each held-back object; asked once each."""
        for example in self._gate.held:
            if name in example.scores:
                continue
            before = self._served.vector.clone()
            try:
                self._served.vector.copy_(vector)
                example.scores[name] = self._late.score(self._served, example.exam)
            finally:
                self._served.vector.copy_(before)
            yield PREPARED
        return [example.scores[name] for example in self._gate.held]

    # Weights

    def weights(self) -> dict[str, npt.NDArray[np.float32]]:
        return self._served.weights()

    domain_weights = weights

    def load_domain(self, weights: DecoderWeights) -> None:
        early = [value.clone() for value in self._early()]
        self._served.load(weights)
        if not all(torch.equal(old, new) for old, new in zip(early, self._early(), strict=True)):
            self._memory.clear()  # lessons are what other early layers made of their clicks
            self._gate.clear()
            self._student.load(weights)
        self._start_at(self._served.vector.clone())

    def reset(self) -> None:
        state = self._base.module.state_dict()
        self._served.module.load_state_dict(state)
        self._student.module.load_state_dict(state)
        self._memory.clear()
        self._gate.clear()
        self._start_at(self._base.vector)
        self._breaker.clear()
        self._guard.counts.clear()
        self._counts.clear()
        self._rng = np.random.default_rng(self.config.seed)

    def _start_at(self, served: Tensor) -> None:
        """Serve these late layers, and learn on from the average that they come from."""
        self._served.vector.copy_(served)
        torch.add(self._base.vector, served - self._base.vector, alpha=1 / self.config.pull, out=self._average)
        self._student.vector.copy_(self._average)
        self._adam.clear()
        self._forget_scores("served")

    def _forget_scores(self, name: str) -> None:
        for example in self._gate.held:
            example.scores.pop(name, None)

    def _early(self) -> list[Tensor]:
        """What never learns."""
        state = self._served.module.state_dict()
        return [value for name, value in state.items() if not name.startswith(LATE)]

    def counts(self) -> dict[str, int]:
        return {
            **self._counts,
            **self._gradient.counts,
            **{f"guard_{k}": v for k, v in self._guard.counts.items()},
            **{f"gate_{k}": v for k, v in self._gate.counts.items()},
            **{f"breaker_{k}": v for k, v in self._breaker.counts.items()},
        }
