"""An answer that is not yet a step of its object: of a click that is made, or whose button is still down."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from livesam.engine.session.decoding import Decoded, next_step
from livesam.engine.session.question import Question, Shown

if TYPE_CHECKING:
    from livesam.engine.serving.slot import DecoderSlot
    from livesam.engine.session.dialogue import Dialogue
    from livesam.engine.values.prompt import Prompt
    from livesam.engine.values.result import MaskResult
    from livesam.engine.values.step import Step
    from livesam.engine.view.look import Look
    from livesam.engine.view.view import View


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A prompt, its answer, and what that rests on.

    Attributes:
        prompt: all that is said about the object.
        number, after: the object, and its last step then.
        whole, look, domain: the dialogue's then.
        zoomed: milliseconds until the view was there, where that was looked for.
    """

    prompt: Prompt
    number: int
    after: Step | None
    whole: View
    look: Look
    domain: str
    question: Question
    shown: Shown
    decoded: Decoded
    zoomed: Mapping[str, float]

    def fits(self, prompt: Prompt, dialogue: Dialogue, version: int) -> bool:
        """Whether asking this now, of this version of the decoder, would give the same."""
        return (
            (self.prompt.clicks, self.prompt.box) == (prompt.clicks, prompt.box)
            and self.after is _last(dialogue)
            and self.whole is dialogue.whole
            and (self.number, self.domain, self.look) == (dialogue.number, dialogue.domain, dialogue.looks)
            and (self.decoded.version == version or self.question.corrects)
        )

    def at_hand(self) -> Asked:
        """The same, with nothing left to wait for."""
        decoded = replace(self.decoded, stages={"wait": 0.0, "decode": 0.0})
        return replace(self, shown=replace(self.shown, stages={}), decoded=decoded, zoomed={})

    def result(self, started: float) -> MaskResult:
        """As the user gets it, who asked at ``started``, by ``time.perf_counter``."""
        return self.decoded.result(self.shown, self.prompt, started, self.zoomed)


def ask(dialogue: Dialogue, slot: DecoderSlot, prompt: Prompt) -> Asked:
    """Ask the decoder that serves, where it has to be asked; the dialogue stays as it is.

    Errors as ``Dialogue.ask`` and ``decode``.
    """
    started, look = time.perf_counter(), dialogue.looks
    looked = look.zoom and (look.size_prior or bool(dialogue.steps))
    question = dialogue.ask(prompt)
    zoomed = {"zoom": (time.perf_counter() - started) * 1e3} if looked else {}
    shown, decoded = next_step(slot, question, dialogue.steps, look, dialogue.rule)
    said = (dialogue.number, _last(dialogue), dialogue.whole, look, dialogue.domain)
    return Asked(prompt, *said, question, shown, decoded, zoomed)


def _last(dialogue: Dialogue) -> Step | None:
    return dialogue.steps[-1] if dialogue.steps else None
