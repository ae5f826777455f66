"""What a session's user said, on disk beside what was accepted."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from livesam.app.server.store import Store

log = logging.getLogger(__name__)

QUIET_OPS = frozenset({"preview", "press", "candidates", "compare"})  # change nothing, so they are no part of it


class ClickLog:
    """The log of one session. What was done is answered as done, also where the disk refuses the log."""

    def __init__(self, store: Store, session: str) -> None:
        self._store, self._session, self._refused = store, session, False

    def note(self, said: Mapping[str, Any], image: str, version: int) -> None:
        """What was said about an image, when this version of the decoder served."""
        if said["op"] in QUIET_OPS:
            return
        told = {key: value for key, value in said.items() if key not in ("id", "bits")}
        try:
            self._store.note_click(self._session, image, {**told, "version": version})
        except (OSError, sqlite3.Error):
            if not self._refused:  # once, not for every click on a full disk
                log.exception("clicks of session %s cannot be logged", self._session)
            self._refused = True
