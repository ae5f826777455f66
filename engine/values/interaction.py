"""What the session hands to whoever learns from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.prompt import Prompt
from livesam.engine.values.step import Step
from livesam.engine.view.view import View


@dataclass(frozen=True, slots=True, eq=False)
class Interaction:
    """One object as far as the user has come with it: every prompt so far, and the last answer.

    Handed over after each answer, and once more when the object is over: the user accepts the mask, or gives it up.

    Attributes:
        embedding: of what the decoder looked at: the image, or a window of it where the session zooms; always the image
            once the object is over.
        prompts: the prompt after each click or box, oldest first, in pixels of what is embedded, without what lies
            beyond it; with the mask that was fed back, if that is of the same window.
        answer: the low-res logits of the mask that the user was shown last, float32 ``(4h, 4w)`` of what is embedded.
        accepted_mask: bool ``(H, W)`` of the image once the user has said "this is it", else None.
        decoder_version: the decoder slot's version that gave the last answer.
        domain: a name for where the image comes from, so that what is learnt can be kept apart.
        given_up: the user went on to something else without accepting a mask.
        rough: the user takes the mask, and says that it is not exact.
        steps: every prompt and answer of the object once it is over, in pixels of the whole image.
        views: where those were answered, the whole image first; without pixels.
        number: the same for everything about one object; None where image and first prompt tell objects apart.
    """

    embedding: ImageEmbedding
    prompts: tuple[Prompt, ...]
    answer: npt.NDArray[np.float32]
    accepted_mask: npt.NDArray[np.bool_] | None
    decoder_version: int
    domain: str = "default"
    given_up: bool = False
    number: int | None = None
    rough: bool = False
    steps: tuple[Step, ...] = ()
    views: tuple[View, ...] = ()

    def __post_init__(self) -> None:
        if not self.prompts:
            raise ValueError("an interaction needs at least one prompt, got none")

    @property
    def accepted(self) -> bool:
        """Whether the user has accepted a mask."""
        return self.accepted_mask is not None

    @property
    def nbytes(self) -> int:
        """Bytes that it holds; of views of one image several interactions hold the same."""
        # What a view's edge filter computes is four times its colours, which it has once more.
        views = sum(6 * one.colours.nbytes for one in self.views if one.colours is not None)
        embeddings = {id(one): int(one.features.nbytes) for one in (self.embedding, *(v.embedding for v in self.views))}
        logits = [one.low_res_logits for one in self.steps]
        logits += [one.mask_logits for one in self.prompts if one.mask_logits is not None]
        masks = 0 if self.accepted_mask is None else self.accepted_mask.nbytes
        return views + sum(embeddings.values()) + sum(one.nbytes for one in logits) + self.answer.nbytes + masks

    @property
    def over(self) -> bool:
        """Whether no more clicks on this object follow."""
        return self.accepted or self.given_up


def check_domain(domain: Any) -> str:
    """A domain that a user gave.

    Raises:
        ValueError: it is no text, or an empty one.
    """
    if not isinstance(domain, str) or not domain:
        raise ValueError(f"a domain is a name for where the images come from, e.g. 'cells', got {domain!r}")
    return domain
