"""Questions about the image that is set, which leave the session as it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from livesam.engine.files.hashing import is_hash_of
from livesam.engine.session.asked import Asked, ask
from livesam.engine.session.decoding import answer, decode
from livesam.engine.session.dialogue import Dialogue
from livesam.engine.session.log import SessionLog
from livesam.engine.session.preparing import Preparing
from livesam.engine.session.question import show
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.errors import SessionError
from livesam.engine.values.prompt import Click, Prompt
from livesam.engine.values.result import MaskResult
from livesam.engine.view.look import PLAIN
from livesam.engine.view.points import fitted
from livesam.engine.view.selection import Rule
from livesam.engine.view.view import View

if TYPE_CHECKING:
    from livesam.engine.serving.right_of_way import RightOfWay
    from livesam.engine.serving.slot import DecoderSlot
    from livesam.engine.session.cached_encoder import CachedEncoder


class Previews:
    """What ``Session`` can be asked without changing it. It never waits for an encoding, and for a
    running click only where the decoder serves one thread at a time.

    Attributes:
        preparing: whether the engine answers, or PyTorch until it is built, and how far that is.
    """

    def __init__(self, encoder: CachedEncoder, slot: DecoderSlot, right_of_way: RightOfWay, dialogue: Dialogue) -> None:
        self.encoder, self.slot, self.right_of_way, self._dialogue = encoder, slot, right_of_way, dialogue
        self.preparing = Preparing()
        self._lock = threading.RLock()  # of the dialogue
        self._digest = ""  # of the image
        self._pressed: Asked | None = None

    @property
    def runtime(self) -> str:
        """The runtimes that really run: the encoder's, and the decoder's if it is another."""
        first, second = self.encoder.runtime, self.slot.runtime
        return first if first == second else f"{first}, {second}"

    @property
    def embedding(self) -> ImageEmbedding:
        """The image that is set.

        Raises:
            SessionError: there is none.
        """
        return self._dialogue.whole.embedding

    @property
    def whole_view(self) -> View:
        """The view of the whole image.

        Raises:
            SessionError: no image is set.
        """
        return self._dialogue.whole

    @property
    def image_digest(self) -> str:
        """The ``image_hash`` of the image that is set; empty before the first."""
        return self._digest

    @property
    def clicks(self) -> int:
        """Clicks and boxes of the current object so far."""
        return sum(step.painted is None for step in self._dialogue.steps)

    @property
    def prompt(self) -> Prompt | None:
        """What the user has said about the current object so far, None before the first click.

        Fit for ``predict``: a fed-back mask that covers only a zoom window is left out.
        """
        with self._lock:
            return self._dialogue.prompt

    def answer(self) -> MaskResult | None:
        """The current object's last answer; None before the first click."""
        with self._lock:
            if not self._dialogue.steps:
                return None
            started, step = time.perf_counter(), self._dialogue.steps[-1]
            mask, stages = self._dialogue.mask()
            timings = {"wait": 0.0, "decode": 0.0, **stages, "total": (time.perf_counter() - started) * 1e3}
            mask, logits, image = mask.copy(), step.low_res_logits.copy(), self._dialogue.whole.pixels
            said = step.prompt
            prompt = said.with_mask(None) if said.clicks or said.box else None  # None: it was painted only
            return MaskResult(mask, logits, step.iou, step.decoder_version, step.window, timings, prompt, image)

    def preview(self, x: float, y: float, positive: bool = True) -> MaskResult:
        """The answer to a first click here, without making it part of the session: what a hovering mouse shows.

        Raises:
            SessionError: no image is set.
            ValueError: the click is outside of the image, or not finite.
        """
        return self.predict(Prompt((Click(x, y, positive),)))

    def press(self, x: float, y: float, positive: bool = True) -> None:
        """Answer a click whose button is down already: ``click`` at the same place then has its answer at hand.

        People hold a button for some 80 ms, three times what an answer takes. Waits for a running click.

        Raises:
            SessionError: no image is set.
            ValueError: the click is outside of the image, or not finite.
        """
        with self._lock, self.right_of_way.click():
            self._pressed = ask(self._dialogue, self.slot, self._dialogue.clicked(Click(x, y, positive)))

    def _asked(self, prompt: Prompt) -> Asked:
        """Under the lock: the answer to the object's next prompt, which a pressed button may have brought already."""
        pressed, self._pressed = self._pressed, None
        if pressed is not None and pressed.fits(prompt, self._dialogue, self.slot.current):
            return pressed.at_hand()
        return ask(self._dialogue, self.slot, prompt)

    def predict(self, prompt: Prompt, rule: Rule = "official") -> MaskResult:
        """Answer a prompt without making it part of the session (a hover preview, a script).

        Raises:
            SessionError: no image is set.
            ValueError: the prompt does not belong to this image, or there is no such rule.
        """
        return self.predict_many([prompt], rule)[0]

    def predict_many(self, prompts: Sequence[Prompt], rule: Rule = "official") -> list[MaskResult]:
        """Answer several prompts on the image with one decoder version, one mask each.

        ``timings_ms["decode"]`` is the time of the whole batch, the same in every result.

        Raises:
            SessionError: no image is set.
            ValueError: there is no prompt, one does not belong to this image, or there is no such rule.
        """
        if isinstance(prompts, Prompt) or not isinstance(prompts, Iterable):
            raise ValueError(f"predict_many takes a list of prompts, got {type(prompts).__name__}: predict takes one")
        started, view, look = time.perf_counter(), self._dialogue.whole, self._dialogue.looks
        prompts = [fitted(prompt, view.hw) for prompt in prompts]
        with self.right_of_way.click():
            shown, decoded = answer(self.slot, view, [(prompt, prompt) for prompt in prompts], look, rule)
            return [decoded.result(one, prompt, started) for one, prompt in zip(shown, prompts, strict=True)]

    def predict_all(self, prompt: Prompt) -> tuple[MaskResult, ...]:
        """The decoder's own four masks for a prompt: token 0, then 1 to 3 (SamPredictor's ``multimask_output=True``).

        Raises:
            SessionError: no image is set.
            ValueError: the prompt does not belong to this image.
        """
        started, view = time.perf_counter(), self._dialogue.whole
        prompt = fitted(prompt, view.hw)
        with self.right_of_way.click():
            output, decoded = decode(self.slot, view, [prompt])
            shown = [show(view, (), output, 0, token, PLAIN) for token in range(4)]
            return tuple(decoded.result(one, prompt, started) for one in shown)

    def _view(self, embedding: ImageEmbedding, image: npt.NDArray[np.uint8]) -> View:
        """Of a whole image, with its pixels where they are looked at again: the caller's array may change."""
        keep = self._dialogue.looks.zoom
        if keep:
            image = image.copy()
            image.setflags(write=False)  # results hand it out
        return View.whole(embedding, image, keep=keep)

    def _at_hand(self, record: SessionLog, image: npt.NDArray[np.uint8] | None, path: Path) -> View:
        """The view of a log's image: the one that is given, that is set, or that the cache has."""
        if image is not None:
            if not is_hash_of(record.image_hash, image):
                raise SessionError(f"{path} is about another image: give the one that the session was saved with")
            return self._view(self.encoder.encode(image).embedding, image)
        if self._digest == record.image_hash:
            return self._dialogue.whole
        found = self.encoder.find(record.image_hash)
        if found is None:
            raise SessionError(f"the image of {path} is not at hand: give it to restore, or set it first")
        return View.whole(found, None)
