"""What the session hands to whoever learns from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from livesam.engine.embedding import ImageEmbedding
from livesam.engine.prompt import Prompt


@dataclass(frozen=True, slots=True, eq=False)
class Interaction:
    """One object as far as the user has come with it: every prompt so far with its answer.

    Handed over after each answer, and once more when the object is over: the user accepts the mask, or gives it up.

    Attributes:
        embedding: the image.
        prompts: the prompt after each click or box, oldest first; as the decoder saw it, fed-back mask included.
        answers: for each prompt the low-res logits of the mask that the user was shown, float32 ``(4h, 4w)``.
        accepted_mask: bool ``(H, W)`` at the original size once the user has said "this is it", else None.
        decoder_version: the decoder slot's version that gave the last answer.
        domain: a name for where the image comes from, so that what is learnt can be kept apart.
        given_up: the user went on to something else without accepting a mask.
    """

    embedding: ImageEmbedding
    prompts: tuple[Prompt, ...]
    answers: tuple[npt.NDArray[np.float32], ...]
    accepted_mask: npt.NDArray[np.bool_] | None
    decoder_version: int
    domain: str = "default"
    given_up: bool = False

    def __post_init__(self) -> None:
        if not self.prompts or len(self.prompts) != len(self.answers):
            raise ValueError(
                f"an interaction needs one answer for each prompt and at least one, got {len(self.prompts)} prompts "
                f"and {len(self.answers)} answers"
            )

    @property
    def accepted(self) -> bool:
        """Whether the user has accepted a mask."""
        return self.accepted_mask is not None

    @property
    def over(self) -> bool:
        """Whether no more clicks on this object follow."""
        return self.accepted or self.given_up
