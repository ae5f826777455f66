"""What every way of learning looks like from outside, and its numbers to turn.

A method owns decoder weights and gradients, and knows nothing of files, threads or datasets. Who drives it (the online
evaluation, or the background loop of the product) does this for every object::

    prompt, interaction = ..., ...
    while ...:                                          # one turn a click
        answer = method.answer(embedding, prompt)       # evaluation only; in the product the serving decoder answers
        for report in method.learn_click(interaction):  # the object so far; between two clicks
            ...                                         # a micro-step is done; stop iterating to yield
    for report in method.learn_object(interaction):     # at the end; `accepted_mask` None: given up
        ...

``prompt`` is what a session sends: all clicks so far, and the shown mask's logits of the previous answer as mask prompt
(none at the first click). Steps are counted by interactions, never by the clock, so a run is deterministic.
A caller may drop a half-used iterator (``close`` it): the method stays usable, the rest of the steps are lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from livesam.adapter.methods.live import LiveConfig
    from livesam.adapter.torch_decoder import GiveWay
    from livesam.engine.embedding import ImageEmbedding
    from livesam.engine.interaction import Interaction
    from livesam.engine.prompt import Prompt
    from livesam.engine.protocols import DecoderWeights
    from livesam.engine.result import DecoderOutput
    from segment_anything.modeling import Sam


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What the user sees after a click.

    Attributes:
        output: all four masks and their predicted IoUs, P = 1.
        token: which of the four is shown: 0 is the single mask, 1 to 3 are the multi-mask ones.
    """

    output: DecoderOutput
    token: int

    @property
    def low_res_logits(self) -> npt.NDArray[np.float32]:
        """The shown mask, float32 ``(4h, 4w)``; goes back as the next prompt's ``mask_logits``."""
        logits: npt.NDArray[np.float32] = self.output.low_res_logits[0, self.token]
        return logits

    @property
    def iou(self) -> float:
        """The decoder's own estimate of the shown mask's IoU."""
        return float(self.output.ious[0, self.token])


@dataclass(frozen=True, slots=True)
class StepReport:
    """One micro-step.

    Attributes:
        kind: what was learned from; ``lesson``: a part of a step, or of what comes before.
        loss: the loss before the step; NaN where it was not finite.
        applied: whether weights changed.
        reason: why not, else empty.
    """

    kind: Literal["click", "object", "replay", "merge", "gate", "lesson"]
    loss: float
    applied: bool
    reason: str = ""


class AdaptationMethod(Protocol):
    """One way of learning from interactions. Not thread-safe."""

    @property
    def name(self) -> str:
        """The name it was made by, e.g. ``live`` or ``paper/ca-reset``."""
        ...

    @property
    def config(self) -> AdaptationConfig:
        """Its numbers, to be echoed in results."""
        ...

    def answer(self, embedding: ImageEmbedding, prompt: Prompt) -> Answer:
        """Answer a prompt with the weights of this moment."""
        ...

    def learn_click(self, interaction: Interaction) -> Iterator[StepReport]:
        """Learn from the object as it stands after its latest click. The first click of an object starts it anew."""
        ...

    def learn_object(self, interaction: Interaction) -> Iterator[StepReport]:
        """Learn from a finished object. ``accepted_mask`` None: the user gave it up, only its clicks are certain."""
        ...

    def weights(self) -> DecoderWeights:
        """What should serve now: within an object its fast copy, where the method has one. A copy."""
        ...

    def domain_weights(self) -> DecoderWeights:
        """What was learned over objects, to be saved. A copy."""
        ...

    def load_domain(self, weights: DecoderWeights) -> None:
        """Go on from saved weights; the base, to which ``reset`` returns, stays.

        Raises:
            ValueError: names, shapes or values are not those of this decoder.
        """
        ...

    def reset(self) -> None:
        """Forget everything: base weights, no moments, no memory, the random stream at its seed."""
        ...

    def counts(self) -> dict[str, int]:
        """How often what happened since the last reset: steps, skipped steps, accepted objects, rejects..."""
        ...


@dataclass(frozen=True, slots=True)
class FrozenConfig:
    """The base decoder, unchanged."""

    seed: int = 0


ResultMask: TypeAlias = Literal["off", "eroded", "confident", "untreated"]


@dataclass(frozen=True, slots=True)
class PaperConfig:
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


@dataclass(frozen=True, slots=True)
class DcttaConfig:
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


@dataclass(frozen=True, slots=True)
class GuardConfig:
    """Limits of the guard; see guard.py.

    Attributes:
        max_gradient_norm: longer gradients are scaled to this L2 length.
        trust_region: the weights' largest L2 distance from the base, relative to the base's L2 norm.
        held_back: how many accepted masks the gate keeps.
        hold_every: of so many accepted masks one goes to the gate; it is learned from when it leaves the gate.
        worse_than_before: how much IoU a candidate may lose against the weights before, as a mean over the held-back
            masks on which nothing but losses count.
        worse_than_base: how much it may lose against the base, counted alike.
        gain: how much it must gain against the weights before on the mean; without that, masks of noise that were shown
            and accepted spoil the decoder bit by bit.
        rejects: after so many candidates in a row that were worse than the base the breaker opens.
        pause: interactions without learning while the breaker is open.
    """

    max_gradient_norm: float = 1.0
    trust_region: float = 0.1
    held_back: int = 4
    hold_every: int = 5
    worse_than_before: float = 0.06
    worse_than_base: float = 0.02
    gain: float = 0.002
    rejects: int = 4
    pause: int = 10

    def __post_init__(self) -> None:
        if min(self.max_gradient_norm, self.trust_region) <= 0 or min(self.held_back, self.hold_every) < 1:
            raise ValueError(f"norms must be above 0 and held_back and hold_every at least 1, got {self}")


AdaptationConfig: TypeAlias = "FrozenConfig | PaperConfig | DcttaConfig | LiveConfig"

ObjectId: TypeAlias = tuple[object, ...]


def obeys(config: AdaptationConfig) -> bool:
    """Whether a method's answers are to be corrected where they contradict clicks (``engine/obey.py``)."""
    from livesam.adapter.methods.live import LiveConfig

    return isinstance(config, LiveConfig) and config.obey


def uses_size_prior(config: AdaptationConfig) -> bool:
    """Whether first clicks are to be looked at in a window of the objects' size (``engine/size_prior.py``)."""
    from livesam.adapter.methods.live import LiveConfig

    return isinstance(config, LiveConfig) and config.size_prior


def object_id(interaction: Interaction) -> ObjectId:
    """What tells one object of a user from the next."""
    if interaction.number is not None:
        return (interaction.number,)
    first = interaction.prompts[0]
    return (interaction.embedding.key, first.clicks, first.box)


def same_object(one: Interaction, other: Interaction) -> bool:
    """Whether two interactions are about one object of one domain."""
    return one.domain == other.domain and object_id(one) == object_id(other)


METHODS = ("frozen", "paper", "dctta", "live")


def create(
    name: str, sam: Sam, *, device: str = "cpu", give_way: GiveWay | None = None, **overrides: Any
) -> AdaptationMethod:
    """A method by name: ``frozen``, ``paper``, ``paper/PRESET``, ``dctta`` or ``live``. The model is copied.

    Args:
        sam: the model whose prompt encoder and mask decoder are adapted; its image encoder is not touched.
        give_way: called several times in each pass through the decoder; it waits while clicks are being answered.
        overrides: fields of the method's config to change, e.g. ``seed=1``.

    Raises:
        ValueError: there is no such method, preset or field; the message names those there are.
    """
    config = config_of(name, **overrides)
    if isinstance(config, FrozenConfig):
        from livesam.adapter.methods.frozen import FrozenMethod

        return FrozenMethod(sam, config, device=device, give_way=give_way)
    if isinstance(config, PaperConfig):
        from livesam.adapter.methods.paper import PaperMethod

        return PaperMethod(sam, config, name=name, device=device, give_way=give_way)
    if isinstance(config, DcttaConfig):
        from livesam.adapter.methods.dctta import DcttaMethod

        return DcttaMethod(sam, config, device=device, give_way=give_way)
    from livesam.adapter.methods.live import LiveMethod

    return LiveMethod(sam, config, device=device, give_way=give_way)


def config_of(name: str, **overrides: Any) -> AdaptationConfig:
    """The configuration that ``create`` would use.

    Raises:
        ValueError: there is no such method, preset or field.
    """
    family, _, preset = name.partition("/")
    if family not in METHODS or (preset and (family != "paper" or preset not in PAPER_PRESETS)):
        presets = ", ".join(f"paper/{p}" for p in PAPER_PRESETS)
        raise ValueError(f"unknown method {name!r}: choose one of {', '.join(METHODS)}, {presets}")
    base: AdaptationConfig
    if family == "frozen":
        base = FrozenConfig()
    elif family == "paper":
        base = PAPER_PRESETS[preset or "full-erosion"]
    elif family == "dctta":
        base = DcttaConfig()
    else:
        from livesam.adapter.methods.live import LiveConfig

        base = LiveConfig()
    unknown = sorted(set(overrides) - set(base.__dataclass_fields__))
    if unknown:
        raise ValueError(f"{name} has no setting {', '.join(unknown)}: it has {', '.join(base.__dataclass_fields__)}")
    return replace(base, **overrides)
