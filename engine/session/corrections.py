"""What clicks do not reach: another of the decoder's masks, and a mask that the user painted."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from livesam.engine.session.decoding import decode
from livesam.engine.session.previews import Previews
from livesam.engine.session.question import Question, Shown, show
from livesam.engine.values.errors import SessionError
from livesam.engine.values.result import MaskResult
from livesam.engine.values.step import Step

if TYPE_CHECKING:
    from livesam.engine.serving.slot import DecoderSlot


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The masks that the decoder has for one step, the likeliest first."""

    step: Step
    question: Question
    version: int
    tokens: Sequence[int]
    shown: Sequence[Shown]


class Corrections(Previews):
    """What ``Session`` lets the user do to an object beside clicking and drawing boxes."""

    _candidates: Candidates | None = None
    canvas: Callable[..., Any] | None = None  # ``livesam.widget``, where there is a front door: the engine has none

    def candidates(self) -> tuple[MaskResult, ...]:
        """The three masks that the decoder has for an ambiguous prompt, the likeliest first: a part, or the whole.

        They are of the last click or box, and drawn as the session draws its answers; ``choose`` takes one.

        Raises:
            SessionError: there is no click or box, or the mask was painted since.
        """
        started = time.perf_counter()
        with self._lock, self.right_of_way.click():
            question, look = self._dialogue.again(), self._dialogue.looks
            output, decoded = decode(self.slot, question.view, [question.seen])
            tokens = sorted((1, 2, 3), key=lambda token: -output.ious[0, token])
            shown = [show(question.view, question.prompt.clicks, output, 0, token, look) for token in tokens]
            self._candidates = Candidates(self._dialogue.steps[-1], question, decoded.version, tokens, shown)
            said = question.prompt.with_mask(None)
            return tuple(decoded.result(one, said, started) for one in shown)

    def choose(self, index: int) -> MaskResult:
        """Take one of ``candidates`` instead of the last answer; the next click goes on from it.

        Raises:
            SessionError: there are no candidates, or a click came after them.
            ValueError: there is no such candidate.
        """
        with self._lock:
            found, steps = self._candidates, self._dialogue.steps
            if found is None or not steps or steps[-1] is not found.step:
                raise SessionError("there are no candidates to choose from: call candidates after a click")
            if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(found.shown):
                raise ValueError(f"there are candidates 0 to {len(found.shown) - 1}, got {index!r}")
            shown, token = found.shown[index], found.tokens[index]
            self._dialogue.choose(found.question, shown, found.version, token)
            self._candidates = Candidates(steps[-1], found.question, found.version, found.tokens, found.shown)
            return self._shown()

    def paint(self, mask: npt.NDArray[Any]) -> MaskResult:
        """Take a mask as the user has painted it, bool ``(H, W)`` of the image; ``undo`` takes it back.

        Also the way to open an object again: the next click corrects it.

        Raises:
            SessionError: no image is set.
            ValueError: the mask has another shape than the image, or is empty.
        """
        with self._lock:
            hw = self._dialogue.whole.hw
            if not isinstance(mask, np.ndarray) or mask.shape != hw or mask.dtype.kind not in "bui":
                got = f"{mask.dtype} {mask.shape}" if isinstance(mask, np.ndarray) else type(mask).__name__
                raise ValueError(f"a painted mask is of booleans and of the image's size {hw}, got {got}")
            painted = mask.astype(bool)
            if not painted.any():
                raise ValueError("the painted mask is empty: call reset to forget the object")
            painted.setflags(write=False)
            self._dialogue.paint(painted)
            return self._shown()

    def answered_by(self, slot: DecoderSlot) -> MaskResult:
        """The current object's mask if another decoder had answered all its clicks and boxes; changes nothing.

        Raises:
            SessionError: there is no click yet.
        """
        started = time.perf_counter()
        with self._lock, self.right_of_way.click():
            other = self._dialogue.begun_again()
            decoded = None
            for step in self._dialogue.steps:
                if step.painted is not None:
                    other.paint(step.painted.mask())
                    continue
                question = other.ask(step.prompt)
                output, decoded = decode(slot, question.view, [question.seen])
                asked = question if step.token is None else question.redrawn
                shown = other.hear(asked, output, decoded.version, step.token)
                result = decoded.result(shown, question.prompt, started)
            if decoded is None:
                raise SessionError("no decoder has answered yet: click first")
            return replace(result, mask=other.mask()[0].copy())

    def widget(self, image: npt.NDArray[Any] | Path | str, labels: Sequence[str] = ("object",)) -> Any:
        """The page's canvas on an image, below a notebook's cell: ``livesam.widget(session, image, labels)``.

        Raises:
            SessionError: the session was not made by ``livesam.open_session``.
            ValueError, ImageError, LivesamError: as ``livesam.widget``.
        """
        if self.canvas is None:
            raise SessionError("this session has no canvas: open it with livesam.open_session, or call livesam.widget")
        return self.canvas(self, image, labels)

    def _shown(self) -> MaskResult:
        answer = self.answer()
        if answer is None:
            raise SessionError("there is no mask: click first")
        return answer
