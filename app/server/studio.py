"""Everything that the requests of a server share: images, the engine, decoders, and what is kept."""

from __future__ import annotations

import contextlib
import logging
import re
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from livesam.app.server.ahead import Ahead
from livesam.app.server.database import FILE
from livesam.app.server.decoder import SharedDecoder
from livesam.app.server.gallery import Gallery, Picture
from livesam.app.server.kept_decoder import KeptDecoder, resting
from livesam.app.server.metrics import Metrics
from livesam.app.server.pictures import Pictures
from livesam.app.server.problems import AtCapacity, NotReady
from livesam.app.server.quotas import Quotas
from livesam.app.server.settings import Settings
from livesam.app.server.soundness import check_log
from livesam.app.server.store import Store
from livesam.app.server.weights import FOLDER, WeightFiles
from livesam.engine.values.errors import LivesamError

if TYPE_CHECKING:
    from livesam.engine.serving.slot import DecoderSlot
    from livesam.engine.session.engine import Engine

log = logging.getLogger(__name__)

PRIVATE = re.compile(r"[A-Za-z0-9_-]{1,64}")
LONGEST_DOMAIN = 100
DRAWN_S = 0.06  # in which a browser on this machine has drawn an answer
PATIENCE_S = 600.0  # a session waits so long for the model, whose engines may have to be built first


class Studio:
    """What the requests of a server share. Thread-safe; the engine is opened by ``open``, in the background.

    Args:
        settings: of the server; its folders exist, and nobody else serves the output folder.
        gallery: the images.

    Attributes:
        store: what is kept.
        pictures: reads images.
        metrics: counts what happens.
        quotas: what one user may have.
        batch: images that one run of the encoder may take.
    """

    batch = 1

    def __init__(self, settings: Settings, gallery: Gallery) -> None:
        self.settings, self.gallery = settings, gallery
        self._check_log()
        self.store = Store(settings.out)
        self._note("folder", str(gallery.folder))
        self.pictures, self.metrics, self.quotas = Pictures(), Metrics(), Quotas(settings.quota)
        self.id = secrets.token_hex(8)  # of this run of the server
        self._engine: Engine | None = None
        self._files: WeightFiles | None = None
        self._original: DecoderSlot | None = None
        self._ahead: Ahead | None = None
        self._failed: str | None = None
        self._decoders: dict[str, KeptDecoder] = {}
        self._changed = threading.Condition()  # of what follows
        self._busy: set[str] = set()  # domains whose decoder is being opened or closed
        self._opening = 0
        self._opened = threading.Event()
        self._closed = False

    def open(self) -> None:
        """Open the model and warm it up; ``why_not`` says what came of it."""
        try:
            engine = self._open_engine()
            if not engine.ahead:  # who annotates looks for a second between two clicks
                engine = replace(engine, ahead=True, ahead_after_s=DRAWN_S)
            self._check_model(engine)
            self._engine, self._files = engine, WeightFiles(self.settings.out / FOLDER, engine.base)
            self._original = engine.slot()
            self._ahead = Ahead(engine, self.pictures)
            _warm_up(engine, self._original)
        except Exception as error:
            log.exception("the model could not be opened")
            self._failed = f"the model could not be opened: {error}"
        finally:
            self._opened.set()

    def _check_log(self) -> None:
        lost = check_log(self.settings.out / FILE)
        if lost is not None:
            log.error("%s", lost)

    def _open_engine(self) -> Engine:
        from livesam.export.opening import open_engine
        from livesam.opening import missing_for

        opening = self.settings.opening
        missing = missing_for(opening.model, opening.runtime, "beside")
        return open_engine(opening, missing=missing, progress=lambda said: log.info("%s", said))

    def why_not(self) -> str | None:
        """Why no image can be opened yet; None where it can."""
        return self._failed or (None if self._opened.is_set() else "the model is being opened")

    @property
    def has_failed(self) -> bool:
        """Whether the model could not be opened."""
        return self._failed is not None

    @property
    def engine(self) -> Engine:
        """The engine, once it is open; waits for that.

        Raises:
            NotReady: it is not open after a minute, or could not be opened.
        """
        self._opened.wait(60.0)
        why = self.why_not()
        if why is not None or self._engine is None:
            raise NotReady(why or "the server is closing")
        return self._engine

    @property
    def original(self) -> DecoderSlot:
        """A slot that serves the model's own decoder and never another. Errors as ``engine``."""
        _ = self.engine
        if self._original is None:
            raise NotReady("the server is closing")
        return self._original

    def decoder(self, domain: str, *, sits_down: bool = False) -> KeptDecoder:
        """The decoder of a domain, made when it is first asked for; one that nobody uses makes room where it is needed.

        Args:
            sits_down: a session uses it from now on, until ``leave``.

        Raises:
            ValueError: it is no name for a domain.
            AtCapacity: there are as many as are allowed.
            NotReady: as ``engine``.
        """
        if sits_down:
            self._opened.wait(PATIENCE_S)
        engine = self.engine
        with self._changed:
            self._changed.wait_for(lambda: domain not in self._busy)
            if self._closed or self._files is None:
                raise NotReady("the server is closing")
            found, files = self._decoders.get(domain), self._files
            if found is not None:
                self._decoders[domain] = self._decoders.pop(domain)  # the last in line to make room
                found.users += sits_down
                return found
            idle = self._make_room()
            self._opening += 1
            busy = {domain} if idle is None else {domain, idle.domain}
            self._busy |= busy
        try:  # not under the lock: to compile one takes seconds, in which others click
            if idle is not None:
                idle.close()
            found = SharedDecoder(domain, engine, self.store, files, self.settings)
            found.users += sits_down
        finally:
            with self._changed:
                self._opening -= 1
                self._busy -= busy
                if found is not None:
                    self._decoders[domain] = found
                self._changed.notify_all()
        return found

    @contextlib.contextmanager
    def using(self, domain: str) -> Iterator[KeptDecoder]:
        """A domain's decoder for a block, in which it is not closed to make room. Errors as ``decoder``."""
        _ = self.engine  # a request waits a minute for it, and no session's ten
        decoder = self.decoder(domain, sits_down=True)
        try:
            yield decoder
        finally:
            self.leave(decoder)

    def learning(self, domain: str) -> dict[str, Any]:
        """What is to be seen of a domain's learning; looking makes no decoder."""
        with self._changed:
            decoder = self._decoders.get(domain)
        return (
            resting(domain, self.store, self.store.learning(domain, self.settings.learning))
            if decoder is None
            else decoder.state()
        )

    def leave(self, decoder: KeptDecoder) -> None:
        """A session uses this decoder no longer."""
        with self._changed:
            decoder.users -= 1

    def _make_room(self) -> KeptDecoder | None:
        """Under the lock: the decoder that nobody has asked for longest and no session uses, if one has to go.

        What it has learned is on disk.
        """
        count = len(self._decoders) + self._opening
        if count < self.settings.limits.domains:
            return None
        idle = next((name for name, decoder in self._decoders.items() if decoder.users == 0), None)
        if idle is None:
            raise AtCapacity(f"{count} decoders are in use, as many as are allowed: use one of their domains, or wait")
        self.metrics.forget(idle)
        return self._decoders.pop(idle)

    def decoders(self) -> list[KeptDecoder]:
        """Those that are in use."""
        with self._changed:
            return list(self._decoders.values())

    def encode_ahead(self, image: str) -> None:
        """Make the embeddings of the images after this one, when nobody clicks."""
        if self._ahead is not None:
            self._ahead.ask([picture.path for picture in self.gallery.after(image, 3)])

    def current(self) -> Picture | None:
        """The image that was opened last, where the folder still has it."""
        found = self.store.get("image")
        return next((one for one in self.gallery.pictures() if one.id == found), None)

    def place(self) -> int | None:
        """Where in the list to go on: at ``current``, else at the first image that is not done; None without images."""
        pictures, current, states = self.gallery.pictures(), self.current(), self.store.states()
        if current in pictures:
            return pictures.index(current)
        undone = (at for at, one in enumerate(pictures) if not states.get(one.id, (False, 0))[0])
        return next(undone, 0 if pictures else None)

    def close(self) -> None:
        """Stop learning, and close everything."""
        self._opened.wait()
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: not self._busy)
            decoders = list(self._decoders.values())
        closing: list[Callable[[], object]] = [decoder.close for decoder in decoders]
        closing += [one.close for one in (self._ahead, self._original, self._engine) if one is not None]
        for close in (*closing, self.store.close):
            try:
                close()
            except Exception:  # the rest is to be closed all the same
                log.exception("could not be closed")

    def _note(self, key: str, value: str) -> None:
        """On a full disk a server shows and exports all the same."""
        try:
            self.store.set(key, value)
        except sqlite3.Error:
            log.exception("the %s could not be noted in the database", key)

    def _check_model(self, engine: Engine) -> None:
        """Refuse an output folder whose decoders were learned on another model."""
        from livesam.engine.files.hashing import weights_hash

        known, found = self.store.get("base"), weights_hash(engine.base)
        if known is None:
            self._note("base", found)
            self._note("model", engine.origin.spec.name)
        elif known != found:
            raise LivesamError(
                f"{self.settings.out} was begun with the model {self.store.get('model')} and other weights: serve it "
                "with those, or give another folder with --out"
            )


def _warm_up(engine: Engine, slot: DecoderSlot) -> None:
    """The first image and click of a runtime pay for its start."""
    import numpy as np

    session = engine.session(slot)
    session.set_image(np.zeros((64, 64, 3), np.uint8))
    session.click(32, 32)


def domain_of(domain: str, private: str | None = None) -> str:
    """The name of a decoder: of a domain's, which all share, or of one that only those have who know ``private``.

    Raises:
        ValueError: one of them is no name.
    """
    if not domain.strip() or len(domain) > LONGEST_DOMAIN or not domain.isprintable() or "@" in domain:
        raise ValueError(f"a domain is a name of 1 to {LONGEST_DOMAIN} letters without '@', got {domain[:120]!r}")
    if private is None:
        return domain
    if not PRIVATE.fullmatch(private):
        raise ValueError("private is 1 to 64 letters, digits, '-' and '_'")
    return f"{domain}@{private}"
