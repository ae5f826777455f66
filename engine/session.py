"""One user at one image: clicks in, masks out, with undo, and a log from which all of it can be rebuilt."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from livesam.engine.embedding import ImageEmbedding
from livesam.engine.errors import SessionError
from livesam.engine.gate import InteractiveGate
from livesam.engine.geometry import require_rgb
from livesam.engine.image import image_hash
from livesam.engine.interaction import Interaction
from livesam.engine.points import check_prompt
from livesam.engine.prompt import Box, Click, Prompt
from livesam.engine.result import DecoderOutput, MaskResult
from livesam.engine.selection import Rule, select_token
from livesam.engine.session_log import SessionLog
from livesam.engine.size_prior import SizePrior
from livesam.engine.step import Step
from livesam.engine.view import View, seen_in
from livesam.engine.window import Window
from livesam.engine.zoom import Zoom

if TYPE_CHECKING:
    from livesam.engine.cache import EmbeddingCache
    from livesam.engine.protocols import ImageEncoder
    from livesam.engine.slot import DecoderSlot

log = logging.getLogger(__name__)
_numbers = itertools.count()  # of objects, in all sessions of the process


class Session:
    """Interactive segmentation of one image at a time. Its methods may be called from several threads.

    Args:
        encoder: runs once per image.
        slot: gives the decoder for each click; several sessions may share one.
        cache: where embeddings are looked up and kept; None encodes every image anew.
        gate: clicks announce themselves here, so that learning gives way.
        on_interaction: called after each answer and when an object is over (``accept``, ``reset``, ``set_image``). It
            must not block; what it raises is logged.
        domain: a name for where the images come from, handed on to whoever learns.
        feed_back: give the decoder its last answer's low-res logits with the next click, as SAM was trained.
        edges: draw masks to the image's own edges (``engine/edges.py``).
        zoom: from an object's second click or box on, encode its surroundings for themselves and look there
            (``engine/zoom.py``); costs an encoding where the window moves, once or twice an object, for which all other
            calls wait but previews, which look at the whole image.
        obey: correct masks where they contradict clicks (``engine/obey.py``); an attribute that ``live`` sets.
        size_prior: where it zooms, look at an object's first click in a window as large as the domain's last objects
            suggest (``engine/size_prior.py``); an attribute that ``live`` sets.
    """

    def __init__(
        self,
        encoder: ImageEncoder,
        slot: DecoderSlot,
        cache: EmbeddingCache | None = None,
        gate: InteractiveGate | None = None,
        on_interaction: Callable[[Interaction], object] | None = None,
        *,
        domain: str = "default",
        feed_back: bool = True,
        edges: bool = False,
        zoom: bool = False,
        obey: bool = False,
        size_prior: bool = False,
    ) -> None:
        self.encoder, self.slot, self.cache = encoder, slot, cache
        self.gate = InteractiveGate() if gate is None else gate
        self.on_interaction, self.domain = on_interaction, domain
        self._edges, self.obey, self._feed_back = edges, obey, feed_back
        self._zoom = Zoom(self._encode) if zoom else None
        self.size_prior = size_prior
        self._sizes: dict[str, SizePrior] = {}  # by domain
        self._lock, self._encoding = threading.RLock(), threading.Lock()  # on a GPU an encoder has one set of buffers
        self._whole: View | None = None  # of the image; read without the lock too
        self._digest = ""
        self._steps: list[Step] = []
        self._views: dict[Window, View] = {}  # that answered them, without pixels
        self._shown: npt.NDArray[np.bool_] | None = None  # the last step's mask, while it is at hand; nobody else's
        self._number = next(_numbers)  # of the object

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
        return self._current().embedding

    @property
    def prompt(self) -> Prompt | None:
        """What the user has said about the current object so far, None before the first click.

        Fit for ``predict``: without a fed-back mask that is of a window only.
        """
        with self._lock:
            if not self._steps:
                return None
            last, whole = self._steps[-1], self._current()
            return last.prompt if last.window == whole.window else last.prompt.with_mask(None)

    def set_image(self, image: npt.NDArray[np.uint8]) -> ImageEmbedding:
        """Take an RGB image, uint8 ``(H, W, 3)``, and begin a new object. Encodes it unless the cache has it.

        Raises:
            ValueError: the image is not uint8 ``(H, W, 3)``, empty, or too thin.
        """
        require_rgb(image)
        digest = image_hash(image)
        key = getattr(self.encoder, "key", None)
        found = self.cache.get(key(digest)) if self.cache is not None and key is not None else None
        if found is None:
            # A digest computed once: on a 12 Mpx image the second one would cost as much as a click.
            with self._encoding:
                found = self.encoder.encode(image, digest) if key is not None else self.encoder.encode(image)  # type: ignore[call-arg]
            if self.cache is not None:
                self.cache.put(found)
        keep = self._edges or self._zoom is not None
        whole = View.whole(found, image.copy() if keep else image, keep=keep)
        with self._lock:
            given_up = self._give_up()
            if self._zoom is not None:
                self._zoom.forget()
            self._whole, self._digest = whole, digest
        self._hand_over(given_up)
        return found

    def click(self, x: float, y: float, positive: bool = True) -> MaskResult:
        """Add a click on (or, not ``positive``, off) the object, in pixels of the original image.

        Raises:
            SessionError: no image is set.
            ValueError: the click is outside of the image, or not finite.
        """
        click = Click(float(x), float(y), positive)
        with self._lock:
            last = self.prompt
            return self._advance(Prompt((click,)) if last is None else last.with_click(click))

    def box(self, x0: float, y0: float, x1: float, y1: float) -> MaskResult:
        """Set the object's box (replacing an earlier one); clicks stay.

        Raises:
            SessionError: no image is set.
            ValueError: the box is empty, reversed, not finite, or reaches outside of the image.
        """
        box = Box(float(x0), float(y0), float(x1), float(y1))
        with self._lock:
            last = self.prompt
            return self._advance(Prompt(box=box) if last is None else replace(last, box=box))

    def predict(self, prompt: Prompt, rule: Rule = "official") -> MaskResult:
        """Answer a prompt without making it part of the session (a hover preview, a script).

        Raises:
            SessionError: no image is set.
            ValueError: the prompt does not belong to this image, or there is no such rule.
        """
        return self.predict_many([prompt], rule)[0]

    def predict_many(self, prompts: Sequence[Prompt], rule: Rule = "official") -> list[MaskResult]:
        """Answer several prompts on the image with one decoder version, one mask each; ``decode`` is their common time.

        Raises:
            SessionError: no image is set.
            ValueError: there is no prompt, one does not belong to this image, or there is no such rule.
        """
        started = time.perf_counter()
        with self.gate.click():
            return self._predict(self._current(), prompts, rule, started)

    def predict_all(self, prompt: Prompt) -> tuple[MaskResult, ...]:
        """The decoder's own four masks for a prompt: token 0, then 1 to 3 (SamPredictor's ``multimask_output=True``).

        Raises:
            SessionError: no image is set.
            ValueError: the prompt does not belong to this image.
        """
        view, started = self._current(), time.perf_counter()
        with self.gate.click():
            output, version, stages = self._decode(view, [prompt])
            return tuple(
                self._result(view, (), output, 0, token, version, stages, started, as_is=True) for token in range(4)
            )

    def undo(self) -> MaskResult | None:
        """Take the last click or box back; the answer before it, or None if there is none left.

        Raises:
            SessionError: there is nothing to undo.
        """
        with self._lock:
            if not self._steps:
                raise SessionError("there is nothing to undo: click first")
            self._steps.pop()
            self._shown = None
            return self.answer()

    def answer(self) -> MaskResult | None:
        """The current object's last answer; None before the first click."""
        with self._lock:
            if not self._steps:
                return None
            step, started = self._steps[-1], time.perf_counter()
            mask, stages = self._mask_of(step)
            timings = {"wait": 0.0, "decode": 0.0, **stages, "total": (time.perf_counter() - started) * 1e3}
            return MaskResult(mask.copy(), step.low_res_logits, step.iou, step.decoder_version, step.window, timings)

    def reset(self) -> None:
        """Forget the current object's clicks; the image stays."""
        with self._lock:
            given_up = self._give_up()
        self._hand_over(given_up)

    def accept(self, *, rough: bool = False) -> Interaction:
        """The user takes the mask as it is: hand the object over to whoever learns, and begin the next one.

        Args:
            rough: the mask will do, but is not exact; it teaches less.

        Raises:
            SessionError: there is no answer to accept.
        """
        with self._lock:
            if not self._steps:
                raise SessionError("there is no mask to accept: click first")
            mask = self._mask_of(self._steps[-1])[0]
            interaction = self._finished(mask, rough=rough)
            self._observe_size(mask, accepted=True)
            self._forget()
        self._hand_over(interaction)
        return interaction

    def save(self, path: Path) -> None:
        """Write the session's log: which image, every prompt, its answer and its decoder version. Whole or not at all.

        Raises:
            SessionError: no image is set.
            OSError: the file cannot be written.
        """
        with self._lock:
            embedding = self.embedding
            record = SessionLog(self._digest, embedding.original_hw, embedding.key, self.domain, tuple(self._steps))
        record.write(path)

    def restore(self, path: Path, image: npt.NDArray[np.uint8] | None = None) -> MaskResult | None:
        """Take up a saved session, in any process: its image, its clicks, its last answer (None if it had none).

        The image is ``image``, the one that is set, or one that the cache still has. The answers are the decoder's of
        then, whatever it is now; the next click is answered by the current version. Drawing to edges, zoom and obeying
        need the pixels, which a cache has not: give ``image``.

        Raises:
            SessionError: the file is missing or damaged, or is about another image than the one at hand.
        """
        record = SessionLog.read(path)
        with self._lock:
            if image is not None and image_hash(image) == record.image_hash:
                self.set_image(image)
            elif image is not None:
                raise SessionError(f"{path} is about another image: give the one that the session was saved with")
            elif self._whole is None or self._digest != record.image_hash:
                key = getattr(self.encoder, "key", None)
                wanted = record.embedding_key if key is None else key(record.image_hash)
                found = self.cache.get(wanted) if self.cache is not None else None
                if found is None:
                    raise SessionError(f"the image of {path} is not at hand: give it to restore, or set it first")
                self._whole, self._digest = View.whole(found, None), record.image_hash
            view = self._current()
            try:
                for step in record.steps:
                    view.check(step)
            except ValueError as error:
                raise SessionError(f"{path} does not fit the model or the image: {error}") from error
            self.domain = record.domain
            self._forget()
            self._steps = list(record.steps)
            return self.answer()

    def close(self) -> None:
        """Free the encoder and the decoder slot."""
        self.encoder.close()
        self.slot.close()

    def _advance(self, prompt: Prompt) -> MaskResult:
        started, prompt = time.perf_counter(), prompt.with_mask(None)
        with self.gate.click():
            view, zoomed = self._look(prompt, started)
            if self._feed_back and self._steps and np.isfinite(self._steps[-1].low_res_logits).all():
                prompt = prompt.with_mask(view.fed_back(self._steps[-1]))
            result = self._predict(view, [prompt], "official", started, zoomed)[0]
        self._steps.append(Step(prompt, result.low_res_logits, result.iou, result.decoder_version, view.window))
        self._views[view.window] = replace(view, pixels=None)
        # A plain mask is drawn anew when the object is accepted (1.2 ms); a copy would cost every click 0.2 ms.
        self._shown = result.mask.copy() if self._edges or self._zoom is not None else None
        if self.on_interaction is not None:
            self._hand_over(self._interaction(view, None))
        return result

    def _look(self, prompt: Prompt, started: float) -> tuple[View, dict[str, float]]:
        """Where the next answer of the object comes from, and how long it took to get there."""
        view = self._current()
        if self._zoom is None or not (self._steps or self.size_prior):
            return view, {}
        check_prompt(prompt, view.hw, view.low_res_hw)
        if self._steps:
            view = self._zoom.look(view, self._steps[-1], self._mask_of(self._steps[-1])[0], prompt)
        elif view.pixels is not None:
            view = self._zoom.at(view, self._prior.window(prompt, view.hw))
        return view, {"zoom": (time.perf_counter() - started) * 1e3}

    def _encode(self, pixels: npt.NDArray[np.uint8]) -> ImageEmbedding:
        with self._encoding:
            return self.encoder.encode(pixels)

    def _mask_of(self, last: Step) -> tuple[npt.NDArray[np.bool_], dict[str, float]]:
        """The last step's mask, drawn anew where it is not at hand, and what that took."""
        stages: dict[str, float] = {}
        if self._shown is None:
            view = replace(self._current(), window=last.window)
            self._shown, stages = view.mask(last.low_res_logits, last.prompt.clicks, edges=self._edges)
        return self._shown, stages

    def _current(self) -> View:
        if self._whole is None:
            raise SessionError("no image is set: call set_image first")
        return self._whole

    def _predict(
        self, view: View, prompts: Sequence[Prompt], rule: Rule, started: float, before: Mapping[str, float] = {}
    ) -> list[MaskResult]:
        seen = [view.inside(prompt) for prompt in prompts]
        output, version, stages = self._decode(view, seen)
        stages = {**before, **stages}
        tokens = [select_token(output.ious[i], prompt, rule) for i, prompt in enumerate(seen)]
        return [
            self._result(view, prompt.clicks, output, i, tokens[i], version, stages, started)
            for i, prompt in enumerate(prompts)
        ]

    def _decode(self, view: View, prompts: Sequence[Prompt]) -> tuple[DecoderOutput, int, dict[str, float]]:
        for prompt in prompts:
            check_prompt(prompt, view.embedding.original_hw, view.low_res_hw)
        asked = time.perf_counter()
        with self.slot.lease() as lease:
            leased = time.perf_counter()
            output = lease.decoder.decode(view.embedding, prompts)
            version = lease.version
        decoded = time.perf_counter()
        return output, version, {"wait": (leased - asked) * 1e3, "decode": (decoded - leased) * 1e3}

    def _result(
        self,
        view: View,
        clicks: Sequence[Click],
        output: DecoderOutput,
        index: int,
        token: int,
        version: int,
        stages: Mapping[str, float],
        started: float,
        *,
        as_is: bool = False,
    ) -> MaskResult:
        edges, obey = (self._edges, self.obey) if not as_is else (False, False)
        logits, mask, own = view.shown(output.low_res_logits[index, token], clicks, edges=edges, obey=obey)
        timings = {**stages, **own, "total": (time.perf_counter() - started) * 1e3}
        return MaskResult(mask, logits, float(output.ious[index, token]), version, view.window, timings)

    def _interaction(self, view: View, accepted: npt.NDArray[np.bool_] | None) -> Interaction:
        last = self._steps[-1]
        return Interaction(
            view.embedding,
            view.prompts(self._steps),
            view.fed_back(last),
            accepted,
            last.decoder_version,
            domain=self.domain,
            number=self._number,
        )

    def _finished(
        self, accepted: npt.NDArray[np.bool_] | None, *, rough: bool = False, given_up: bool = False
    ) -> Interaction:
        """The object as it is handed over at its end, with all steps and where they were answered."""
        whole = self._current()
        return replace(
            self._interaction(whole, accepted),
            rough=rough,
            given_up=given_up,
            steps=tuple(self._steps),
            views=seen_in(whole, self._views, self._steps),
        )

    def _observe_size(self, mask: npt.NDArray[np.bool_], *, accepted: bool) -> None:
        self._sizes[self.domain] = self._prior.observe(mask, accepted, len(self._steps))

    @property
    def _prior(self) -> SizePrior:
        return self._sizes.get(self.domain, SizePrior())

    def _forget(self) -> None:
        self._steps, self._views, self._shown, self._number = [], {}, None, next(_numbers)

    def _give_up(self) -> Interaction | None:
        """Forget the object's clicks; what is to be handed over of that, if it had any."""
        told = self._steps and self.on_interaction is not None
        interaction = self._finished(None, given_up=True) if told else None
        if self._steps and self.size_prior:
            self._observe_size(self._mask_of(self._steps[-1])[0], accepted=False)
        self._forget()
        return interaction

    def _hand_over(self, interaction: Interaction | None) -> None:
        if self.on_interaction is None or interaction is None:
            return
        try:
            self.on_interaction(interaction)
        except Exception:  # learning must never cost the user an answer
            log.exception("an interaction could not be handed over")
