"""Embeddings of the next images, made while nobody clicks."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from livesam.app.server.pictures import Pictures

if TYPE_CHECKING:
    from livesam.engine.session.engine import Engine

log = logging.getLogger(__name__)

QUIET_S = 0.3  # so long after the last click an image may be encoded
PATIENCE_S = 5.0  # under clicks that never pause, the next one is encoded after this time all the same


class Ahead:
    """Encodes images in a thread of its own, one at a time, when no click was answered for a moment."""

    def __init__(self, engine: Engine, pictures: Pictures) -> None:
        self._engine, self._pictures = engine, pictures
        self._changed = threading.Condition()
        self._wanted: list[Path] = []
        self._closing = False
        self.done = 0  # images that were encoded
        self._thread = threading.Thread(target=self._run, name="livesam-ahead", daemon=True)
        self._thread.start()

    def ask(self, paths: Sequence[Path]) -> None:
        """Encode these next; what was asked for before and is not begun is dropped."""
        with self._changed:
            self._wanted = list(paths)
            self._changed.notify_all()

    def close(self) -> None:
        """Stop after the image that is being encoded."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(30.0)

    def _next(self) -> Path | None:
        with self._changed:
            while not self._wanted and not self._closing:
                self._changed.wait()
            return None if self._closing else self._wanted.pop(0)

    def _run(self) -> None:
        while (path := self._next()) is not None:
            self._engine.right_of_way.wait_idle(PATIENCE_S, QUIET_S)
            try:
                rgb = self._pictures.load(path).rgb
                with self._engine.encoder.turns.ahead():
                    self._engine.encoder.encode(rgb)
                self.done += 1
            except Exception as error:  # whoever opens it is told
                log.info("%s was not encoded ahead: %s", path.name, error)
