"""DC-TTA (arXiv 2506.23104): divide the clicks over several copies of the decoder, teach each on its own, merge.

Everything is forgotten after an object. The work is done before an answer, so ``answer`` is where it learns; a prompt
that was answered already is not learned twice.

* The first click shows the multi-mask candidate with index 1. From the second on, token 0.
* A unit is a group of clicks with its own weights. A positive click goes to every unit whose mask touches what the base
  decoder makes of the new click and all negative ones; if there is none, it starts a unit. Negative clicks go to all.
* A step: the target is the copy's own mask with the new click; the student sees the prompt without it. Loss: binary
  cross entropy to the target, plus the same at the clicks.
* One more copy sees all clicks. Merge: ``w0 + merge * ((w_units - w0) + (w_all - w0))`` with
  ``w_units = w0 + merge * sum(w_k - w0)``; with a single unit ``w0 + merge * (w_all - w0)``. The merged copy takes a
  step towards the union of the units' masks and gives the answer.

Differences from the public code: the prompt encoder stays frozen, because only the decoder can be swapped while it
serves; the dense loss is taken on the low-res logits without padding instead of the upscaled ones; the number of units
is limited.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from livesam.adapter.flat_decoder import FlatDecoder
from livesam.adapter.labels import cells, click_labels
from livesam.adapter.losses import click_bce
from livesam.adapter.method import AdaptationConfig, Answer, StepReport
from livesam.adapter.optimiser import Adam
from livesam.adapter.torch_decoder import Decoding
from livesam.engine.models.mask_decoder import GiveWay
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.interaction import Interaction
from livesam.engine.values.prompt import Click, Prompt
from livesam.engine.values.result import DecoderOutput
from livesam.engine.view.points import geometry_of
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from livesam.engine.values.protocols import DecoderWeights
    from segment_anything.modeling import Sam

FIRST_TOKEN = 2  # candidate index 1 of tokens 1 to 3
Logits = npt.NDArray[np.float32]


@dataclass(slots=True)
class Unit:
    """A group of clicks with its own weights and its own latest mask, low-res logits."""

    vector: Tensor
    clicks: list[Click] = field(default_factory=list)
    logits: Logits | None = None


@dataclass(frozen=True, slots=True)
class DcttaConfig(AdaptationConfig):
    """DC-TTA, arXiv 2506.23104 (``jihun1998/DCTTA`` @ 62b9334): clicks divided over decoder copies, then merged.

    Attributes:
        lr: AdamW's rate; the public code has 1e-5 in its README and 1e-6 as its default.
        steps: gradient steps a unit and click.
        merge: factor of the task arithmetic.
        max_units: positive clicks beyond so many units join the nearest one; bounds memory and time.
    """

    lr: float = 1e-5
    weight_decay: float = 0.01
    steps: int = 1
    merge: float = 0.7
    max_units: int = 8
    seed: int = 0


class DcttaMethod:
    """Episodic: units, own-prediction targets, merge by task arithmetic."""

    name = "dctta"

    def __init__(self, sam: Sam, config: DcttaConfig, *, device: str = "cpu", give_way: GiveWay | None = None) -> None:
        self.config = config
        self._decoding = Decoding(sam, device, give_way)
        self._decoder = FlatDecoder(sam.mask_decoder, device)
        self._origin = self._decoder.vector.clone()
        self._base = self._origin.clone()
        self._counts: Counter[str] = Counter()
        self._forget()

    def answer(self, embedding: ImageEmbedding, prompt: Prompt) -> Answer:
        for _ in self._advance(embedding, prompt):
            pass
        if self._answer is None:  # no clicks in this prompt: what the merged weights say
            output = self._decoding.decode(self._decoder, embedding, [prompt])
            return Answer(output, 0)
        return self._answer

    def learn_click(self, interaction: Interaction) -> Iterator[StepReport]:
        yield from self._advance(interaction.embedding, interaction.prompts[-1])

    def learn_object(self, interaction: Interaction) -> Iterator[StepReport]:
        self._decoder.vector.copy_(self._base)
        self._forget()
        yield from ()

    def _forget(self) -> None:
        self._units: list[Unit] = []
        self._all = Unit(self._base)
        self._all_adam: Adam | None = None
        self._seen: tuple[str, tuple[Click, ...]] | None = None
        self._answer: Answer | None = None

    def _advance(self, embedding: ImageEmbedding, prompt: Prompt) -> Iterator[StepReport]:
        """Learn up to this prompt and keep its answer."""
        clicks = prompt.clicks
        if not clicks or self._seen == (embedding.key, clicks):
            return
        follows = self._seen is not None and self._seen == (embedding.key, clicks[:-1])
        if not follows:
            self._decoder.vector.copy_(self._base)
            self._forget()
        self._seen = (embedding.key, clicks)
        if (
            not follows and len(clicks) > 1
        ):  # entered in the middle of an object: its earlier clicks form the first unit
            self._all = Unit(self._base.clone(), list(clicks[:-1]), prompt.mask_logits)
            self._units = [Unit(self._base.clone(), list(clicks[:-1]), prompt.mask_logits)]
        if len(clicks) == 1:
            output = self._decoding.decode(self._decoder, embedding, [prompt])
            self._answer = Answer(output, FIRST_TOKEN)
            logits = np.array(output.low_res_logits[0, FIRST_TOKEN])
            self._all = Unit(self._base.clone(), list(clicks), logits)
            self._units = [Unit(self._base.clone(), list(clicks), logits)]
            return
        new, known = clicks[-1], self._known(embedding)
        self._assign(embedding, new, clicks)
        for unit in self._units:
            if unit.clicks and unit.clicks[-1] is new:
                adam = self._optimiser()
                yield from self._teach(embedding, unit, adam, known)
        self._all.clicks.append(new)
        if self._all_adam is None:
            self._all_adam = self._optimiser()
        yield from self._teach(embedding, self._all, self._all_adam, known)
        yield from self._merge(embedding, prompt, known)

    def _assign(self, embedding: ImageEmbedding, new: Click, clicks: Sequence[Click]) -> None:
        if not new.positive:
            for unit in self._units:
                unit.clicks.append(new)
            return
        negatives = [c for c in clicks if not c.positive]
        self._decoder.vector.copy_(self._base)
        probe = self._mask(embedding, [new, *negatives], None)
        touched = [u for u in self._units if u.logits is not None and bool(((u.logits > 0) & (probe > 0)).any())]
        if not touched and len(self._units) >= self.config.max_units:
            touched = [min(self._units, key=lambda u: min((c.x - new.x) ** 2 + (c.y - new.y) ** 2 for c in u.clicks))]
            self._counts["units_refused"] += 1
        if not touched:
            self._units.append(Unit(self._base.clone(), list(negatives), None))
            touched = self._units[-1:]
        for unit in touched:
            unit.clicks.append(new)

    def _teach(self, embedding: ImageEmbedding, unit: Unit, adam: Adam, known: Tensor) -> Iterator[StepReport]:
        """Steps of one unit after a click was added to it; leaves its weights and its mask in the unit."""
        vector = self._decoder.vector
        vector.copy_(unit.vector)
        student = unit.clicks[:-1]
        if student:
            for _ in range(self.config.steps):
                target = self._mask(embedding, unit.clicks, unit.logits) > 0
                yield self._step(embedding, student, unit.logits, target, unit.clicks, adam, known, "click")
        unit.logits = self._mask(embedding, unit.clicks, unit.logits)
        unit.vector = vector.clone()

    def _merge(self, embedding: ImageEmbedding, prompt: Prompt, known: Tensor) -> Iterator[StepReport]:
        vector, base, factor = self._decoder.vector, self._base, self.config.merge
        merged = factor * (self._all.vector - base)
        if len(self._units) > 1:
            for unit in self._units:
                merged = merged + factor * factor * (unit.vector - base)
        vector.copy_(base + merged)
        union = np.zeros_like(self._all.logits, np.bool_)
        for unit in self._units:
            if unit.logits is not None:
                union |= unit.logits > 0
        student, mask = prompt.clicks[:-1], prompt.mask_logits
        yield self._step(embedding, student, mask, union, prompt.clicks, self._optimiser(), known, "merge")
        self._answer = Answer(self._output(embedding, prompt), 0)

    def _step(
        self,
        embedding: ImageEmbedding,
        student: Sequence[Click],
        mask: Logits | None,
        target: npt.NDArray[np.bool_],
        clicks: Sequence[Click],
        adam: Adam,
        known: Tensor,
        kind: str,
    ) -> StepReport:
        device = self._decoding.device
        mask = _finite(mask)
        masks, _ = self._decoding.run(self._decoder, embedding, [Prompt(tuple(student), mask_logits=mask)])
        token = FIRST_TOKEN if len(student) == 1 and mask is None else 0
        logits = masks[:, token : token + 1]
        wanted = torch.from_numpy(target.astype(np.float32)).to(device)[None, None]
        dense = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
        labels = click_labels(clicks, geometry_of(embedding))
        at_clicks = click_bce(
            logits, torch.from_numpy(labels.xy)[None].to(device), torch.from_numpy(labels.target)[None].to(device)
        )
        loss = (dense * known).sum() / known.sum() + at_clicks.mean()
        value = float(loss.detach())
        gradient = self._decoder.gradient
        gradient.zero_()
        if np.isfinite(value):
            loss.backward()  # type: ignore[no-untyped-call]
        good = bool(np.isfinite(value)) and bool(torch.isfinite(gradient).all())
        if good:
            adam.step()
        self._counts[f"{kind}_steps" if good else "bad_steps"] += 1
        reason = "" if good else "loss or gradient is not finite"
        return StepReport("merge" if kind == "merge" else "click", value, good, reason)

    def _optimiser(self) -> Adam:
        return Adam(self._decoder.vector, self.config.lr, weight_decay=self.config.weight_decay)

    def _output(self, embedding: ImageEmbedding, prompt: Prompt) -> DecoderOutput:
        return self._decoding.decode(self._decoder, embedding, [prompt])

    def _mask(self, embedding: ImageEmbedding, clicks: Sequence[Click], mask: Logits | None) -> Logits:
        mask = _finite(mask)
        output = self._output(embedding, Prompt(tuple(clicks), mask_logits=mask))
        token = FIRST_TOKEN if len(clicks) == 1 and mask is None else 0
        return np.array(output.low_res_logits[0, token])

    def _known(self, embedding: ImageEmbedding) -> Tensor:
        geometry = geometry_of(embedding)
        return torch.from_numpy(cells(np.ones(geometry.original_hw, np.bool_), geometry)).to(self._decoding.device)

    def weights(self) -> dict[str, npt.NDArray[np.float32]]:
        return self._decoder.weights()

    def domain_weights(self) -> dict[str, npt.NDArray[np.float32]]:
        now = self._decoder.vector.clone()
        self._decoder.vector.copy_(self._base)
        weights = self._decoder.weights()
        self._decoder.vector.copy_(now)
        return weights

    def load_domain(self, weights: DecoderWeights) -> None:
        """Start every object from these weights; nothing is carried over objects, so there is little use for it."""
        self._decoder.load(weights)
        self._base.copy_(self._decoder.vector)
        self._forget()

    def reset(self) -> None:
        self._base.copy_(self._origin)
        self._decoder.vector.copy_(self._base)
        self._forget()
        self._counts.clear()

    def counts(self) -> dict[str, int]:
        return dict(self._counts)


def _finite(mask: Logits | None) -> Logits | None:
    return mask if mask is not None and bool(np.isfinite(mask).all()) else None
