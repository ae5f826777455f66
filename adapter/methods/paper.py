"""arXiv 2404.08421: the mask decoder learns from every click, and from every accepted mask.

* CA, click adaptation: after every click one Adam step on all clicks of the object. With ``reset`` weights and Adam's
  moments return to where they were before the object, bit for bit.
* RM, result mask: one step on the accepted mask, object and background eroded, the band between them unknown.
* CM, click mask: the same step also sees the object's clicks; where there is a click, it is the label.

What the public follow-up code gets wrong (an aliased "copy" that makes the reset a no-op, clicks lost in a nearest
resize, padding taught as background, means over unknown pixels) is done as described here instead. The loss goes to the
mask that the user was shown: token 0 from the second click on, as in that code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from livesam.adapter.flat_decoder import FlatDecoder
from livesam.adapter.labels import MaskLabel, click_labels, confident_label, result_label
from livesam.adapter.losses import balanced, click_bce, sample
from livesam.adapter.method import AdaptationConfig, Answer, ObjectId, StepReport, object_id
from livesam.adapter.optimiser import Adam, AdamState
from livesam.adapter.torch_decoder import Decoding
from livesam.engine.models.mask_decoder import GiveWay
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.interaction import Interaction
from livesam.engine.values.prompt import Prompt
from livesam.engine.view.geometry import postprocess
from livesam.engine.view.points import geometry_of
from livesam.engine.view.selection import select_token
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from livesam.engine.values.protocols import DecoderWeights
    from segment_anything.modeling import Sam


ResultMask: TypeAlias = Literal["off", "eroded", "confident", "untreated"]


@dataclass(frozen=True, slots=True)
class PaperConfig(AdaptationConfig):
    """arXiv 2404.08421: click adaptation (CA), result mask (RM), click mask (CM). One Adam step each.

    The published rates (5e-8 to 1e-6) were found for SAM ViT-B with defective labels; the default is the one that did
    best with nano.

    Attributes:
        click_adaptation: one step on all clicks so far after every click.
        reset: put weights and Adam's moments back to the state before the object, before the object is learned.
        result_mask: the accepted mask as label: border band ignored, only confident pixels, or as it is.
        click_mask: the object's clicks as labels when it is finished; a click overrules the result mask.
        erosion: applications of the 3x3 cross to the foreground and to the background, at the original resolution.
        confidence: ``confident`` keeps pixels with ``abs(sigmoid - 0.5)`` above this.
        lr: Adam's rate.
    """

    click_adaptation: bool = True
    reset: bool = True
    result_mask: ResultMask = "eroded"
    click_mask: bool = True
    erosion: int = 5
    confidence: float = 0.4
    lr: float = 1e-4
    seed: int = 0


# The ten rows of the ablation script of `Schorob/wseseg`.
PAPER_PRESETS: dict[str, PaperConfig] = {
    "none": PaperConfig(click_adaptation=False, result_mask="off", click_mask=False),
    "full-erosion": PaperConfig(),
    "full-confidence": PaperConfig(result_mask="confident"),
    "ca-reset": PaperConfig(result_mask="off", click_mask=False),
    "ca-no-reset": PaperConfig(result_mask="off", click_mask=False, reset=False),
    "rm-erosion": PaperConfig(click_adaptation=False, click_mask=False),
    "rm-confidence": PaperConfig(click_adaptation=False, click_mask=False, result_mask="confident"),
    "cm": PaperConfig(click_adaptation=False, result_mask="off"),
    "full-cm": PaperConfig(result_mask="off"),
    "full-untreated": PaperConfig(result_mask="untreated"),
}


class PaperMethod:
    """Click adaptation, result mask and click mask, each switchable."""

    def __init__(
        self,
        sam: Sam,
        config: PaperConfig,
        *,
        name: str = "paper",
        device: str = "cpu",
        give_way: GiveWay | None = None,
    ) -> None:
        self.name, self.config = name, config
        self._decoding = Decoding(sam, device, give_way)
        self._decoder = FlatDecoder(sam.mask_decoder, device)
        self._adam = Adam(self._decoder.vector, config.lr)
        self._base = self._decoder.vector.clone()
        self._start: tuple[Tensor, AdamState] | None = None  # as it was before the object
        self._object: ObjectId | None = None
        self._learned_clicks = 0
        self._counts: Counter[str] = Counter()

    def answer(self, embedding: ImageEmbedding, prompt: Prompt) -> Answer:
        output = self._decoding.decode(self._decoder, embedding, [prompt])
        return Answer(output, select_token(output.ious[0], prompt))

    def learn_click(self, interaction: Interaction) -> Iterator[StepReport]:
        if not self.config.click_adaptation:
            return
        if self._object != object_id(interaction):
            self._end_object()
            self._object = object_id(interaction)
            self._start = (self._decoder.vector.clone(), self._adam.state())
        if interaction.prompts[-1].clicks:
            yield self._step("click", self._click_loss(interaction))
        self._learned_clicks = len(interaction.prompts)

    def learn_object(self, interaction: Interaction) -> Iterator[StepReport]:
        if self._object != object_id(interaction):
            self._end_object()  # an object whose clicks were not handed over
        pending = self._learned_clicks < len(interaction.prompts) and bool(interaction.prompts[-1].clicks)
        continual = self.config.click_adaptation and not self.config.reset
        self._end_object()
        loss = self._object_loss(interaction) if interaction.accepted_mask is not None else None
        if continual and pending:  # the last click had no step of its own
            click_loss = self._click_loss(interaction)
            loss = click_loss if loss is None else loss + click_loss
        if loss is not None:
            yield self._step("object", loss)

    def _end_object(self) -> None:
        if self._start is not None and self.config.reset:
            vector, state = self._start
            self._decoder.vector.copy_(vector)
            self._adam.restore(state)
        self._start, self._object, self._learned_clicks = None, None, 0

    def _step(self, kind: str, loss: Tensor) -> StepReport:
        value = float(loss.detach())
        self._decoder.gradient.zero_()
        if np.isfinite(value):
            loss.backward()  # type: ignore[no-untyped-call]
        good = np.isfinite(value) and bool(torch.isfinite(self._decoder.gradient).all())
        if good:
            self._adam.step()
        self._counts[f"{kind}_steps" if good else "bad_steps"] += 1
        reason = "" if good else "loss or gradient is not finite"
        return StepReport("click" if kind == "click" else "object", value, good, reason)

    def _logits(self, interaction: Interaction) -> Tensor:
        """The shown mask under the latest prompt, ``(1, 1, 4h, 4w)``, with gradients."""
        prompt = interaction.prompts[-1]
        masks, ious = self._decoding.run(self._decoder, interaction.embedding, [prompt])
        token = select_token(ious[0].detach().cpu().numpy(), prompt)
        return masks[:, token : token + 1]

    def _clicks(self, interaction: Interaction) -> tuple[Tensor, Tensor]:
        labels = click_labels(interaction.prompts[-1].clicks, geometry_of(interaction.embedding))
        device = self._decoding.device
        return torch.from_numpy(labels.xy)[None].to(device), torch.from_numpy(labels.target)[None].to(device)

    def _click_loss(self, interaction: Interaction) -> Tensor:
        return click_bce(self._logits(interaction), *self._clicks(interaction)).mean()

    def _object_loss(self, interaction: Interaction) -> Tensor | None:
        label = self._mask_label(interaction)
        has_clicks = self.config.click_mask and bool(interaction.prompts[-1].clicks)
        if label is None and not has_clicks:
            return None
        logits = self._logits(interaction)
        if label is None:
            return click_bce(logits, *self._clicks(interaction)).mean()
        device = self._decoding.device
        values = logits.flatten()
        target = torch.from_numpy(label.target).to(device).flatten()
        weight = torch.from_numpy(label.weight).to(device).flatten()
        if has_clicks:
            xy, wanted = self._clicks(interaction)
            values = torch.cat([values, sample(logits, xy).flatten()])
            target, weight = torch.cat([target, wanted.flatten()]), torch.cat([weight, torch.ones_like(wanted[0])])
        return balanced(F.binary_cross_entropy_with_logits(values, target, reduction="none"), target, weight)

    def _mask_label(self, interaction: Interaction) -> MaskLabel | None:
        """None where there is no result mask to learn, or erosion left nothing of a class."""
        mask, kind = interaction.accepted_mask, self.config.result_mask
        if mask is None or kind == "off":
            return None
        geometry = geometry_of(interaction.embedding)
        if kind == "confident":
            logits = postprocess(interaction.answer, geometry)
            label = confident_label(mask, logits, geometry, self.config.confidence)
        else:
            label = result_label(mask, geometry, self.config.erosion if kind == "eroded" else 0)
        if label.has_object and label.has_background:
            return label
        self._counts["nothing_left_of_mask"] += 1
        return None

    def weights(self) -> dict[str, npt.NDArray[np.float32]]:
        return self._decoder.weights()

    def domain_weights(self) -> dict[str, npt.NDArray[np.float32]]:
        if self._start is None or not self.config.reset:
            return self._decoder.weights()
        now = self._decoder.vector.clone()
        self._decoder.vector.copy_(self._start[0])
        weights = self._decoder.weights()
        self._decoder.vector.copy_(now)
        return weights

    def load_domain(self, weights: DecoderWeights) -> None:
        self._decoder.load(weights)
        self._adam.clear()
        self._start, self._object, self._learned_clicks = None, None, 0

    def reset(self) -> None:
        self._decoder.vector.copy_(self._base)
        self._adam.clear()
        self._start, self._object, self._learned_clicks = None, None, 0
        self._counts.clear()

    def counts(self) -> dict[str, int]:
        return dict(self._counts)
