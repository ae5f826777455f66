"""SAM-shaped models in the evaluator: served by any runtime, or owned by a method that learns.

What is said and shown goes through the same ``Dialogue`` as in a session. The mask that is shown and measured is the
official single-mask rule's; ``token="single"`` shows token 0 throughout, as the papers' own code does.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from livesam.adapter.registry import obeys, uses_size_prior
from livesam.benchmarks.quality.datasets import Image, Mask
from livesam.engine.session.cache import EmbeddingCache
from livesam.engine.session.cached_encoder import CachedEncoder
from livesam.engine.session.dialogue import Dialogue
from livesam.engine.session.question import Question
from livesam.engine.values.prompt import Click, Prompt
from livesam.engine.view.look import PLAIN, Look
from livesam.engine.view.view import View

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from livesam.adapter.method import AdaptationMethod, StepReport
    from livesam.engine.values.protocols import ImageEncoder, MaskDecoder
    from livesam.engine.values.result import DecoderOutput
    from livesam.engine.values.step import Step

TokenRule: TypeAlias = Literal["official", "single"]

EMBEDDING_BYTES = 512 * 2**20  # 512 images of nano, 128 of a 1024-px model


class _Embedded:
    """What both kinds of predictor share: a dialogue, embeddings that are kept, counts.

    Embeddings are kept in memory; with a folder there too, those of zoom's windows included, for the next run.
    """

    def __init__(self, encoder: ImageEncoder, token: TokenRule, look: Look, embeddings: Path | None) -> None:
        self._encoder = CachedEncoder(encoder, EmbeddingCache(EMBEDDING_BYTES, embeddings))
        window = self._encoder.window if embeddings is None else lambda pixels: self._encoder.encode(pixels).embedding
        self._dialogue = Dialogue(window, look, token)
        self._counts: Counter[str] = Counter()

    def begin_set(self, name: str, seed: int) -> None:
        self._counts.clear()
        self._dialogue.domain = name
        self._dialogue.forget_sizes()

    def begin_image(self, image: Image) -> None:
        self._dialogue.begin_image(View.whole(self._encoder.encode(image).embedding, image))

    def begin_object(self) -> None:
        self._dialogue.begin_object(self._dialogue.number + 1)

    @property
    def steps(self) -> Sequence[Step]:
        """The object's prompts and answers so far."""
        return self._dialogue.steps

    def ask(self, clicks: tuple[Click, ...]) -> Question:
        """What to ask the decoder about the object."""
        if self.steps and not np.isfinite(self.steps[-1].low_res_logits).all():
            self._counts["nonfinite_answers"] += 1
        return self._dialogue.ask(Prompt(clicks))

    def hear(self, question: Question, output: DecoderOutput, token: int | None = None) -> Mask:
        """What is shown of the decoder's answer."""
        return self._dialogue.hear(question, output, token=token).mask


class DecoderPredictor(_Embedded):
    """A decoder that never changes, on whatever runtime serves it."""

    def __init__(
        self,
        encoder: ImageEncoder,
        decoder: MaskDecoder,
        token: TokenRule = "official",
        look: Look = PLAIN,
        embeddings: Path | None = None,
    ) -> None:
        super().__init__(encoder, token, look, embeddings)
        self._decoder = decoder

    @property
    def adapts(self) -> bool:
        return self._dialogue.look.size_prior

    def click(self, clicks: tuple[Click, ...]) -> Mask:
        question = self.ask(clicks)
        return self.hear(question, self._decoder.decode(question.view.embedding, [question.seen]))

    def after_click(self, clicks: tuple[Click, ...], last: bool) -> None: ...

    def finish_object(self, clicks: tuple[Click, ...], accepted: Mask | None) -> None:
        if self.adapts and self.steps:
            self._dialogue.finish(accepted)

    def stats(self) -> dict[str, Any]:
        return dict(self._counts)


class MethodPredictor(_Embedded):
    """A method of ``livesam.adapter``, driven by the count of interactions and never by the clock.

    ``learn_click`` runs to its end after every click but an object's last; ``learn_object`` follows that one at once
    and sees its click too. ``method`` must have been created with the seed of the run; ``begin_set`` resets it.
    """

    def __init__(
        self,
        method: AdaptationMethod,
        encoder: ImageEncoder,
        token: TokenRule = "official",
        look: Look = PLAIN,
        embeddings: Path | None = None,
    ) -> None:
        sizes = look.size_prior or uses_size_prior(method.config)
        look = replace(look, obey=look.obey or obeys(method.config), size_prior=sizes)
        super().__init__(encoder, token, look, embeddings)
        self._method, self._token = method, token
        self._view: View | None = None  # of the last answer

    @property
    def adapts(self) -> bool:
        return self._dialogue.look.size_prior or self._method.name not in ("frozen", "paper/none")

    def begin_set(self, name: str, seed: int) -> None:
        super().begin_set(name, seed)
        self._method.reset()

    def click(self, clicks: tuple[Click, ...]) -> Mask:
        question = self.ask(clicks)
        answer = self._method.answer(question.view.embedding, question.seen)
        self._view = question.view
        return self.hear(question, answer.output, None if self._token == "single" else answer.token)

    def after_click(self, clicks: tuple[Click, ...], last: bool) -> None:
        if not last:
            self._count("click", self._method.learn_click(self._dialogue.interaction(self._view)))

    def finish_object(self, clicks: tuple[Click, ...], accepted: Mask | None) -> None:
        if self.steps:
            self._count("object", self._method.learn_object(self._dialogue.finish(accepted)))

    def stats(self) -> dict[str, Any]:
        return {**dict(self._counts), "method": self._method.counts()}

    def _count(self, when: str, reports: Iterable[StepReport]) -> None:
        for report in reports:
            if report.kind != "lesson":
                self._counts[f"{when}_steps"] += 1
                self._counts[f"{when}_steps_skipped"] += not report.applied
