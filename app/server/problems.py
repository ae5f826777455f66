"""What goes wrong for a client, as a code, a status and a sentence."""

from __future__ import annotations

import logging
import sqlite3
from dataclasses import dataclass

from livesam.engine.values.errors import ImageError, LivesamError, RuntimeUnavailable, SessionError

log = logging.getLogger(__name__)

FREE = "free some space, or see who may write to its output folder, and try again: what was accepted before is safe"


class NotFound(LivesamError):
    """There is no image, object, version or proposal of this name."""


class NotReady(LivesamError):
    """The model is still being opened, or could not be."""


class AtCapacity(LivesamError):
    """As many sessions or decoders as are allowed are open."""


class OverQuota(LivesamError):
    """A user has as much as one user may."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What a client is told."""

    code: str
    message: str
    status: int


_KINDS: tuple[tuple[type[Exception], str, int], ...] = (
    (NotFound, "not_found", 404),
    (NotReady, "not_ready", 503),
    (AtCapacity, "at_capacity", 503),
    (OverQuota, "over_quota", 429),
    (ImageError, "image", 422),
    (SessionError, "state", 409),
    (RuntimeUnavailable, "unavailable", 501),
    (LivesamError, "failed", 503),
    (ValueError, "bad_request", 422),
)


def problem_of(error: Exception) -> Problem:
    """An exception as what a client is told; one that nobody foresaw is logged and keeps its words to itself."""
    for kind, code, status in _KINDS:
        if isinstance(error, kind):
            if kind is ValueError:  # a client's message as a rule, and a mistake of ours where it is none
                log.warning("a request was refused: %s", error, exc_info=error)
            return Problem(code, str(error), status)
    if isinstance(error, OSError):
        return Problem("disk", f"the server's disk refused: {error.strerror or 'unknown'}; {FREE}", 507)
    if isinstance(error, sqlite3.Error):
        return Problem("disk", f"the server's database refused: {error}; {FREE}", 507)
    log.exception("a request failed", exc_info=error)
    return Problem("internal", f"the server made a mistake ({type(error).__name__}); its log says more", 500)
