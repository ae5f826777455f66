"""Where a serving decoder stands: what it holds, and who is using it."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from livesam.engine.serving.occupancy import Occupancy
from livesam.engine.values.errors import SessionError

if TYPE_CHECKING:
    from livesam.engine.values.protocols import MaskDecoder


@dataclass(frozen=True, slots=True)
class Lease:
    """A decoder for the length of one click, and the version of its weights."""

    version: int
    decoder: MaskDecoder


class Place:
    """One decoder with what it holds. ``version`` is None while it holds nothing that may serve."""

    def __init__(self, decoder: MaskDecoder, version: int | None) -> None:
        self.decoder = decoder
        self.version = version
        self.clicks = Occupancy()
        # A decoder for one thread at a time gets one click at a time, by a lock that none but clicks take.
        turn = contextlib.nullcontext() if decoder.concurrent else threading.Lock()
        self.turn: contextlib.AbstractContextManager[object] = turn

    @property
    def served(self) -> int:
        """The version that it holds.

        Raises:
            SessionError: none.
        """
        if self.version is None:
            raise SessionError("a decoder without weights is in service: this is a mistake in livesam, report it")
        return self.version
