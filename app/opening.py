"""One way for every command to open a session."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from livesam.app.progress import working

if TYPE_CHECKING:
    from livesam.engine.session import Session


def open_session(
    model: str,
    *,
    size: int | None = None,
    checkpoint: Path | None = None,
    runtime: str = "auto",
    precision: str | None = None,
    device: str | None = None,
    cache_dir: Path | None = None,
    embeddings: Path | None = None,
    edges: bool = False,
    zoom: bool = False,
    obey: bool = False,
) -> Session:
    """`livesam.export.serving.open_session`, with a sign of life on a terminal: the first call of a model exports it.

    Raises:
        ValueError: unknown model, size, runtime or precision; no such folder of embeddings.
        LivesamError: weights that are missing or damaged, or a runtime that this machine cannot run.
    """
    from livesam.export.serving import open_session as open_it

    with working(f"opening {model}") as progress:
        return open_it(
            model,
            size=size,
            checkpoint=checkpoint,
            runtime=str(runtime),
            precision=None if precision is None else str(precision),
            device=device,
            cache_dir=cache_dir,
            embeddings=embeddings,
            edges=edges,
            zoom=zoom,
            obey=obey,
            progress=progress,
        )
