"""One user at one image: clicks in, masks out, with undo, and a log from which all of it can be rebuilt."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt
from livesam.engine.files.image import as_image
from livesam.engine.files.places import as_path
from livesam.engine.serving.right_of_way import RightOfWay
from livesam.engine.session.cached_encoder import CachedEncoder
from livesam.engine.session.corrections import Corrections
from livesam.engine.session.dialogue import Dialogue
from livesam.engine.session.foresight import Foresight
from livesam.engine.session.listeners import Listeners, SessionLearner
from livesam.engine.session.log import SessionLog
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.errors import SessionError
from livesam.engine.values.interaction import Interaction, check_domain
from livesam.engine.values.prompt import Box, Click, Prompt
from livesam.engine.values.result import MaskResult
from livesam.engine.view.look import PLAIN, Look, check_look

if TYPE_CHECKING:
    from livesam.engine.models.origin import Origin
    from livesam.engine.serving.slot import DecoderSlot
    from livesam.engine.session.cache import EmbeddingCache
    from livesam.engine.values.adapted_info import AdaptedInfo
    from livesam.engine.values.protocols import ImageEncoder

_numbers = itertools.count()  # of objects, in all sessions of the process


class Session(Corrections):
    """Interactive segmentation of one image at a time. Its methods may be called from several threads.

    The logic of prompts and answers is in ``Dialogue``; the session adds the decoder slot, priority over learning,
    timing and locking. When zoom encodes a window, other calls wait; previews do not, as they use the whole image.

    Args:
        encoder: runs once per image; a ``CachedEncoder`` is one that several sessions share, with its own cache.
        slot: gives the decoder for each click; several sessions may share one.
        cache: where embeddings are looked up and kept; None encodes every image anew.
        right_of_way: clicks announce themselves here, so that learning gives way.
        domain: a name for where the images come from, handed on to whoever learns.
        look: zoom, obey and edges.
        feed_back: give the decoder its last answer's low-res logits with the next click, as SAM was trained.
        origin: the model that encoder and slot came from, for learning and export.

    Attributes:
        foresight: while the user thinks, encodes the window that zoom will likely look at next; off until it is ``on``.
        listeners: who is told each answer and each object that is over (``accept``, ``reset``, ``set_image``).
        provenance: where the decoder's weights come from, if not from the model itself.
    """

    def __init__(
        self,
        encoder: ImageEncoder | CachedEncoder,
        slot: DecoderSlot,
        cache: EmbeddingCache | None = None,
        *,
        right_of_way: RightOfWay | None = None,
        domain: str = "default",
        look: Look = PLAIN,
        feed_back: bool = True,
        origin: Origin | None = None,
    ) -> None:
        cached = encoder if isinstance(encoder, CachedEncoder) else CachedEncoder(encoder, cache)
        self.foresight = Foresight(cached.window, right_of_way := right_of_way or RightOfWay(), cached.turns)
        dialogue = Dialogue(cached.window, check_look(look), feed_back=feed_back, make=self.foresight.view)
        super().__init__(cached, slot, right_of_way, dialogue)
        self.listeners, self.origin = Listeners(), origin
        self.provenance: AdaptedInfo | None = None
        self._dialogue.domain = check_domain(domain)
        self._dialogue.begin_object(next(_numbers))

    @property
    def look(self) -> Look:
        """Zoom, obey and edges in effect, with what a learner adds while it learns. Zoom begins with the next image."""
        return self._dialogue.looks

    @look.setter
    def look(self, look: Look) -> None:
        with self._lock:
            self._dialogue.look = check_look(look)

    @property
    def on_interaction(self) -> Callable[[Interaction], object] | None:
        """The application's own listener; must not block. Learning leaves it alone."""
        return self.listeners.on_interaction

    @on_interaction.setter
    def on_interaction(self, told: Callable[[Interaction], object] | None) -> None:
        self.listeners.on_interaction = told

    @property
    def domain(self) -> str:
        """Where the images come from. A learner keeps a decoder for each domain, and that of this one serves.

        An object that is begun stays of the domain that it was begun in.
        """
        return self._dialogue.domain

    @domain.setter
    def domain(self, domain: str) -> None:
        if check_domain(domain) != self._dialogue.domain:
            self.listeners.switch(domain)  # refuses a domain whose file is damaged, before anything changes
            self._dialogue.domain = domain

    def set_image(self, image: npt.NDArray[Any] | Path | str, *, bands: Sequence[int] | None = None) -> ImageEmbedding:
        """Take an image, RGB uint8 ``(H, W, 3)`` or a path, and begin a new object. Encodes it unless the cache has it.

        Grey, RGBA and other number formats become RGB by the rule of ``engine/files/number_format.py``.

        Args:
            bands: of a file that does not say which are colours: red, green and blue, or one as grey, from 1 on.

        Raises:
            ValueError: the array has no such format or shape, is empty or too thin, or ``bands`` are given with it.
            ImageError: the file cannot be read.
        """
        image = as_image(image, bands=bands)
        encoded = self.encoder.encode(image)
        whole = self._view(encoded.embedding, image)
        with self._lock:
            given_up = self._give_up()
            self._dialogue.begin_image(whole)
            self.foresight.forget()
            self.foresight.expect((whole, whole.window) if self.foresight.on and self.look.edges else None)
            self._digest = encoded.digest
        self.preparing.image_is_there()
        self.listeners.tell(given_up)
        return encoded.embedding

    def click(self, x: float, y: float, positive: bool = True) -> MaskResult:
        """Add a click on (or, not ``positive``, off) the object, in pixels of the original image.

        Raises:
            SessionError: no image is set.
            ValueError: the click is outside of the image, or not finite.
        """
        with self._lock:
            return self._advance(self._dialogue.clicked(Click(x, y, positive)))

    def box(self, x0: float, y0: float, x1: float, y1: float) -> MaskResult:
        """Set the object's box (replacing an earlier one); clicks stay.

        A box that reaches outside of the image by at most one pixel is clipped to it.

        Raises:
            SessionError: no image is set.
            ValueError: the box is empty, reversed, not finite, or reaches farther outside.
        """
        with self._lock:
            return self._advance(self._dialogue.boxed(Box(x0, y0, x1, y1)))

    def undo(self) -> MaskResult | None:
        """Take the last click or box back; the answer before it, or None if there is none left.

        Raises:
            SessionError: there is nothing to undo.
        """
        with self._lock:
            self._dialogue.undo()
            return self.answer()

    def redo(self) -> MaskResult | None:
        """Take the last undone click or box up again; its answer of then.

        Raises:
            SessionError: there is nothing to redo.
        """
        with self._lock:
            self._dialogue.redo()
            return self.answer()

    def reset(self) -> None:
        """Forget the current object's clicks; the image stays."""
        with self._lock:
            given_up = self._give_up()
        self.listeners.tell(given_up)

    def accept(self, *, rough: bool = False, keep: Callable[[Interaction], object] = lambda _: None) -> Interaction:
        """The user takes the mask as it is: hand the object over to whoever learns, and begin the next one.

        Args:
            rough: the mask will do, but is not exact; it teaches less.
            keep: called first, to save the object; what it raises leaves the object as it was.

        Raises:
            SessionError: there is no answer to accept.
        """
        with self._lock:
            if not self._dialogue.steps:
                raise SessionError("there is no mask to accept: click first")
            interaction = self._dialogue.finish(self._dialogue.mask()[0], rough=rough)
            keep(interaction)
            self._dialogue.begin_object(next(_numbers))
        self.listeners.tell(interaction)
        return interaction

    def save(self, path: Path | str) -> None:
        """Write the session's log: which image, every prompt, its answer and its decoder version. Whole or not at all.

        Raises:
            SessionError: no image is set.
            ValueError: ``path`` is no path.
            OSError: the file cannot be written.
        """
        path = as_path(path, "a session's file")
        with self._lock:
            found, steps = self.embedding, tuple(self._dialogue.steps)
            record = SessionLog(self._digest, found.original_hw, found.key, self.domain, steps)
        record.write(path)

    def restore(
        self, path: Path | str, image: npt.NDArray[Any] | Path | str | None = None, *,
        bands: Sequence[int] | None = None,
    ) -> MaskResult | None:  # fmt: skip
        """Take up a saved session, in any process: its image, its clicks, its last answer (None if it had none).

        The image is ``image`` (with ``bands``, as ``set_image`` takes them), the one that is set, or one that the cache
        still has. Saved answers stay as they were, even if the decoder has changed since; the next click is answered by
        the current version. Edges, zoom and obey need the pixels, which the cache does not hold: pass ``image``.

        Raises:
            SessionError: the file is missing or damaged, or is about another image than the one at hand.
            ValueError, ImageError: as for ``set_image``, or ``path`` is no path.
        """
        if image is None and bands is not None:
            raise ValueError("bands are of an image file: give it, too")
        record = SessionLog.read(path := as_path(path, "a session's file"))
        image = None if image is None else as_image(image, bands=bands)
        with self._lock:
            whole = self._at_hand(record, image, path)
            try:
                record.check(whole)
            except ValueError as error:
                raise SessionError(f"{path} does not fit the model or the image: {error}") from error
            given_up = self._give_up()
            self._dialogue.begin_image(whole)
            self._digest, self.domain = record.image_hash, record.domain
            self._dialogue.begin_object(next(_numbers), record.steps)
            answer = self.answer()
        self.preparing.image_is_there()
        self.listeners.tell(given_up)
        return answer

    def attach(self, learner: SessionLearner, look: Look = PLAIN) -> None:
        """Let somebody learn, and add a look to the session's own meanwhile; for ``livesam.learn``.

        Raises:
            SessionError: the session is closed, or somebody learns already.
        """
        if self.slot.closed:
            raise SessionError("the session is closed: open another one")
        self.listeners.attach(learner)
        self._dialogue.learners_look = look

    def detach(self) -> None:
        """Let nobody learn."""
        self.listeners.detach()
        self._dialogue.learners_look = PLAIN

    def close(self) -> None:
        """Free the encoder and the decoder slot; an engine that is being built is given up."""
        self.preparing.stop()
        self.foresight.close()  # its thread uses the encoder
        self.encoder.close()
        self.slot.close()

    def _advance(self, prompt: Prompt) -> MaskResult:
        """The object's next answer."""
        started = time.perf_counter()
        with self.right_of_way.click():
            asked = self._asked(prompt)
            self._dialogue.take(asked.question, asked.shown, asked.decoded.version)
            result = asked.result(started)
        if self.listeners.any:
            self.listeners.tell(self._dialogue.interaction(asked.question.view))
        if self.foresight.on:
            self.foresight.expect(self._dialogue.expected())
        return result

    def _give_up(self) -> Interaction | None:
        """Forget the object's clicks; what is to be handed over of that, if it had any."""
        self._pressed = None
        wanted = self.listeners.any or self.look.size_prior
        interaction = self._dialogue.finish() if self._dialogue.steps and wanted else None
        self._dialogue.begin_object(next(_numbers))
        return interaction
