"""One object of one image: what the user says about it, what the decoder is asked, and what the user sees.

No thread, lock, slot or clock is in here. ``Session`` adds those; the evaluator adds a method that learns between two
clicks. Both go through this, so what is measured is what is used::

    dialogue.begin_image(View.whole(embedding, pixels))
    question = dialogue.ask(prompt)                       # which view, which mask is fed back
    output = decoder.decode(question.view.embedding, [question.seen])
    shown = dialogue.hear(question, output, version)      # which token, corrected, drawn; the dialogue is a step longer
    dialogue.interaction(question.view)                   # for whoever learns, after each answer, ...
    dialogue.finish(mask)                                 # ... and when the object is over
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from livesam.engine.session.question import Question, Shown, corrects, moved, show
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.errors import SessionError
from livesam.engine.values.interaction import Interaction
from livesam.engine.values.painted import Painted
from livesam.engine.values.prompt import Box, Click, Prompt
from livesam.engine.values.result import DecoderOutput
from livesam.engine.values.step import Step
from livesam.engine.values.window import Window
from livesam.engine.view.look import PLAIN, Look
from livesam.engine.view.points import check_prompt, fitted
from livesam.engine.view.selection import Rule, select_token
from livesam.engine.view.size_prior import SizePrior
from livesam.engine.view.view import Mask, Pixels, View, logits_of, seen_in
from livesam.engine.view.zoom import Zoom, expected_window


class Dialogue:
    """What is said about one object after another. For one thread at a time.

    Args:
        encode: encodes a window of the image, where ``look``, which may change, zooms.
        rule: which of the decoder's four masks is shown.
        feed_back: give the decoder its last answer's low-res logits with the next prompt, as SAM was trained.
        make: gives the view of a window of the image, for who has it ahead of time; None encodes it.

    Attributes:
        domain: where the image comes from; each domain's objects have sizes of their own.
    """

    def __init__(
        self,
        encode: Callable[[Pixels], ImageEmbedding],
        look: Look = PLAIN,
        rule: Rule = "official",
        *,
        feed_back: bool = True,
        make: Callable[[View, Window], View] | None = None,
    ) -> None:
        self.look, self.learners_look, self.rule = look, PLAIN, rule
        self._encode, self._feed_back = encode, feed_back
        self._zoom = Zoom(make or (lambda whole, window: whole.part(window, encode)))
        self._whole: View | None = None  # read from other threads too
        self.domain = self._object_domain = "default"
        self._sizes: dict[str, SizePrior] = {}  # by domain
        self._steps: list[Step] = []
        self._views: dict[Window, View] = {}  # that answered them, without pixels
        self._undone: list[Step] = []  # the last one first to be redone
        self._mask: npt.NDArray[np.bool_] | None = None  # of the last step, while it is at hand; nobody else's
        self.number = 0

    @property
    def looks(self) -> Look:
        """The look in effect: what was asked for, and what a learner adds while it learns."""
        return self.look | self.learners_look

    @property
    def whole(self) -> View:
        """The view of the whole image.

        Raises:
            SessionError: no image is set.
        """
        if self._whole is None:
            raise SessionError("no image is set: call set_image first")
        return self._whole

    @property
    def steps(self) -> Sequence[Step]:
        """Every prompt of the object and its answer, oldest first."""
        return self._steps

    @property
    def prompt(self) -> Prompt | None:
        """What was said about the object so far, None at first. Leaves out a fed-back mask of a window only."""
        if not self._steps:
            return None
        last = self._steps[-1]
        return last.prompt if last.window == self.whole.window else last.prompt.with_mask(None)

    def begin_image(self, whole: View) -> None:
        """Take another image. End the current object first (``finish`` or ``begin_object``)."""
        self._zoom.forget()
        self._whole = whole

    def begin_object(self, number: int, steps: Iterable[Step] = ()) -> None:
        """Forget what was said, and go on from these steps, which fit the image (``View.check``).

        Args:
            number: tells this object from the others.
        """
        self._steps, self._views, self._undone, self._mask, self.number = list(steps), {}, [], None, number
        self._object_domain = self.domain

    def begun_again(self) -> Dialogue:
        """Another dialogue on the same image and with the same look, in which nothing was said yet."""
        make, encode = self._zoom.make, self._encode
        other = Dialogue(encode, self.looks, self.rule, feed_back=self._feed_back, make=make)
        other.domain, other._sizes = self.domain, dict(self._sizes)
        other.begin_image(self.whole)
        return other

    def forget_sizes(self) -> None:
        """Forget how large the objects of every domain were."""
        self._sizes.clear()

    def clicked(self, click: Click) -> Prompt:
        """All that was said so far, and a click."""
        last = self.prompt
        return Prompt((click,)) if last is None else last.with_click(click)

    def boxed(self, box: Box) -> Prompt:
        """All that was said so far, with this box in place of an earlier one."""
        last = self.prompt
        return Prompt(box=box) if last is None else replace(last, box=box)

    def ask(self, prompt: Prompt) -> Question:
        """What to ask the decoder; encodes a window of the image where the view has moved.

        Args:
            prompt: all that is said about the object, in pixels of the whole image; a mask in it is not used. A box is
                clipped where it reaches outside of the image by at most one pixel.

        Raises:
            SessionError: no image is set.
            ValueError: the prompt does not belong to this image.
        """
        view = self.whole
        prompt = fitted(prompt.with_mask(None), view.hw)
        check_prompt(prompt, view.hw, view.low_res_hw)
        if not self._steps:
            if self.looks.zoom and self.looks.size_prior and view.pixels is not None:
                view = self._zoom.at(view, self._prior(self.domain).window(prompt, view.hw))
            return Question(view, prompt)
        last = self._steps[-1]
        if self.looks.zoom:
            view = self._zoom.look(view, last, self.mask()[0], prompt)
        if self._feed_back and np.isfinite(last.low_res_logits).all():
            prompt = prompt.with_mask(view.fed_back(last))
        return Question(view, prompt, corrects(view, prompt, last, self.looks))

    def hear(self, question: Question, output: DecoderOutput, version: int = 0, token: int | None = None) -> Shown:
        """Take the decoder's answer to a question as the object's next step.

        Args:
            version: the decoder slot's version that answered.
            token: which of the four masks to show; None leaves that to the rule.
        """
        if question.corrects:
            return self.take(question, moved(question, self._steps[-1], self.looks), version, token)
        chosen = select_token(output.ious[0], question.seen, self.rule) if token is None else token
        shown = show(question.view, question.prompt.clicks, output, 0, chosen, self.looks)
        return self.take(question, shown, version, token)

    def take(self, question: Question, shown: Shown, version: int = 0, token: int | None = None) -> Shown:
        """Take what is shown for a question as the object's next step; ``token`` is the mask that the user chose."""
        # A copy: what the caller does to its arrays does not reach the next question.
        logits, window = shown.low_res_logits.copy(), question.view.window
        # A plain mask is drawn anew when the object is accepted (1.2 ms); a copy would cost every click 0.2 ms.
        mask = shown.mask.copy() if self.looks.zoom else None
        self._append(Step(question.prompt, logits, shown.iou, version, window, token), question.view, mask)
        return shown

    def again(self) -> Question:
        """The last step's question.

        Raises:
            SessionError: there is no step, or the last one was painted.
        """
        if not self._steps or self._steps[-1].painted is not None:
            raise SessionError("there are no candidates: they are of the last click or box, so click first")
        last = self._steps[-1]
        return Question(self._zoom.at(self.whole, last.window), last.prompt)

    def choose(self, question: Question, shown: Shown, version: int, token: int) -> None:
        """Take another of the decoder's masks, ``token``, as the answer of the last step, whose question it was."""
        domain, _ = self._object_domain, self._steps.pop()
        self.take(question, shown, version, token)
        self._object_domain = domain

    def paint(self, mask: Mask) -> None:
        """Take a mask that the user painted, bool ``(H, W)``, as the object's next step; later prompts go on from it.

        Raises:
            SessionError: no image is set.
        """
        whole, last = self.whole, self._steps[-1] if self._steps else None
        logits = logits_of(mask, whole.image_size, whole.low_res_hw)
        said = Prompt(mask_logits=logits) if self.prompt is None else self.prompt.with_mask(logits)
        version = 0 if last is None else last.decoder_version
        self._append(Step(said, logits, 1.0, version, whole.window, painted=Painted.of(mask)), whole, mask)

    def _append(self, step: Step, view: View, mask: Mask | None) -> None:
        if not self._steps:
            self._object_domain = self.domain  # it stays the object's, whatever domain comes next
        self._steps.append(step)
        self._views[view.window] = replace(view, pixels=None)
        self._undone.clear()
        self._mask = mask

    def expected(self) -> tuple[View, Window] | None:
        """The whole image, and the window that the next answer likely needs, if that is to be encoded."""
        if not (self.looks.zoom and self._steps) or self.whole.pixels is None:
            return None
        window = expected_window(self.mask()[0], self._steps[-1].prompt, self._steps[-1].window)
        return None if window in (self.whole.window, self._steps[-1].window) else (self.whole, window)

    def undo(self) -> None:
        """Take the last step back.

        Raises:
            SessionError: there is none.
        """
        if not self._steps:
            raise SessionError("there is nothing to undo: click first")
        self._undone.append(self._steps.pop())
        self._mask = None

    def redo(self) -> None:
        """Take the last undone step up again, with its answer of then.

        Raises:
            SessionError: there is none; a new prompt after ``undo`` leaves none.
        """
        if not self._undone:
            raise SessionError("there is nothing to redo: undo first")
        self._steps.append(self._undone.pop())
        self._mask = None

    def mask(self) -> tuple[Mask, Mapping[str, float]]:
        """The last step's mask, drawn anew where it is not at hand, and the milliseconds that took; not to be changed.

        Raises:
            SessionError: there is no step.
        """
        if not self._steps:
            raise SessionError("there is no mask: click first")
        stages: Mapping[str, float] = {}
        painted = self._steps[-1].painted
        if self._mask is None and painted is not None:
            self._mask = painted.mask()
        if self._mask is None:
            last = self._steps[-1]
            view = replace(self.whole, window=last.window)
            self._mask, stages = view.mask(last.low_res_logits)
        return self._mask, stages

    def interaction(self, view: View | None = None) -> Interaction:
        """The object as far as it has come, for whoever learns.

        Args:
            view: what the last answer looked at; None for the whole image.
        """
        view, last = self.whole if view is None else view, self._steps[-1]
        prompts, answer, version = view.prompts(self._steps), view.fed_back(last), last.decoder_version
        domain, number = self._object_domain, self.number
        return Interaction(view.embedding, prompts, answer, None, version, domain=domain, number=number)

    def finish(self, accepted: Mask | None = None, *, rough: bool = False) -> Interaction:
        """The object at its end, for whoever learns: with every step and the views that answered; notes its size.

        Args:
            accepted: the mask that the user took; None where the object was given up.
            rough: the user says that the mask is not exact.
        """
        if accepted is not None or self.looks.size_prior:
            shown = self.mask()[0] if accepted is None else accepted
            prior = self._prior(self._object_domain)
            self._sizes[self._object_domain] = prior.observe(shown, accepted is not None, len(self._steps))
        return replace(
            self.interaction(),
            accepted_mask=accepted,
            given_up=accepted is None,
            rough=rough,
            steps=tuple(self._steps),
            views=seen_in(self.whole, self._views, self._steps),
        )

    def _prior(self, domain: str) -> SizePrior:
        return self._sizes.get(domain, SizePrior())
