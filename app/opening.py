"""One way for every command to open a session."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from livesam.app.progress import working
from livesam.engine.view.look import PLAIN, Look
from livesam.export.opening import Opening

if TYPE_CHECKING:
    from livesam.engine.session.session import Session


def opening_of(
    model: str,
    checkpoint: Path | None,
    runtime: str,
    precision: str | None,
    device: str | None,
    size: int | None = None,
) -> Opening:
    """The options that every command with a model has."""
    number = None if precision is None else str(precision)
    return Opening(model, checkpoint, str(runtime), number, device, size=size)


def open_session(opening: Opening, *, look: Look = PLAIN, embeddings: Path | None = None) -> Session:
    """`livesam.export.opening.open_session`, with a sign of life on a terminal: the first call of a model exports it.

    Raises:
        ValueError: unknown model, size, runtime or precision; no such folder of embeddings.
        LivesamError: weights that are missing or damaged, or a runtime that this machine cannot run.
    """
    from livesam.export.opening import open_session as open_it

    with working(f"opening {opening.model}") as progress:
        return open_it(opening, look=look, embeddings=embeddings, progress=progress)
