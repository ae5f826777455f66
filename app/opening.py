"""One way for every command to open a session."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from livesam.app.progress import working
from livesam.engine.view.look import PLAIN, Look
from livesam.export.opening import Missing, Opening
from livesam.opening import usual_look

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


def look_of(model: str, zoom: bool | None, obey: bool | None, edges: bool | None, *, plain: bool = False) -> Look:
    """How answers are looked for: as the options say, and where they say nothing as the front door does it.

    Raises:
        ValueError: ``--plain`` beside one of the others.
    """
    given = {"zoom": zoom, "obey": obey, "edges": edges}
    if plain and any(given.values()):
        said = ", ".join(f"--{name}" for name, value in given.items() if value)
        raise ValueError(f"--plain is none of --zoom, --obey and --edges: leave it or {said} out")
    usual = PLAIN if plain else usual_look(model)
    return replace(usual, **{name: value for name, value in given.items() if value is not None})


def open_session(
    opening: Opening,
    *,
    look: Look = PLAIN,
    adapted: Path | None = None,
    embeddings: Path | None = None,
    missing: Missing = "wait",
) -> Session:
    """`livesam.export.opening.open_session`, with a sign of life on a terminal: the first call of a model exports it.

    Raises:
        ValueError: unknown model, size, runtime or precision; no such folder of embeddings.
        LivesamError: weights that are missing or damaged, or a runtime that this machine cannot run.
    """
    from livesam.export.opening import open_session as open_it

    with working(f"opening {opening.model}") as progress:
        return open_it(opening, look=look, adapted=adapted, embeddings=embeddings, missing=missing, progress=progress)
