"""What every way of learning looks like from outside.

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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from livesam.engine.values.embedding import ImageEmbedding
    from livesam.engine.values.interaction import Interaction
    from livesam.engine.values.prompt import Prompt
    from livesam.engine.values.protocols import DecoderWeights
    from livesam.engine.values.result import DecoderOutput


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


class AdaptationConfig(Protocol):
    """A method's numbers: a frozen dataclass in the method's own file, derived from this.

    A method that wants an answer looked at otherwise has a field of that name.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def seed(self) -> int:
        """Of whatever the method draws."""
        ...

    @property
    def obey(self) -> bool:
        """Whether answers are to be corrected where they contradict clicks."""
        return False

    @property
    def size_prior(self) -> bool:
        """Whether first clicks are to be looked at in a window of the objects' size."""
        return False


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


ObjectId: TypeAlias = tuple[object, ...]


def object_id(interaction: Interaction) -> ObjectId:
    """What tells one object of a user from the next."""
    if interaction.number is not None:
        return (interaction.number,)
    first = interaction.prompts[0]
    return (interaction.embedding.key, first.clicks, first.box)


def same_object(one: Interaction, other: Interaction) -> bool:
    """Whether two interactions are about one object of one domain."""
    return one.domain == other.domain and object_id(one) == object_id(other)
