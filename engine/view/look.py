"""How a session looks for an answer and draws it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class Look:
    """Four ways to better answers, each off unless asked for; they go with any model and any method.

    Attributes:
        zoom: from an object's second click or box on, encode its surroundings for themselves and look there
            (``engine/view/zoom.py``); one more encoding where the window moves, once or twice an object.
        obey: correct masks where they contradict clicks (``engine/view/obey.py``); 0.3 to 1 ms a click.
        edges: draw masks to the image's own edges (``engine/view/edges.py``); under 1 ms a click.
        size_prior: with zoom, look at first clicks in a window of the objects' size (``engine/view/size_prior.py``).
    """

    zoom: bool = False
    obey: bool = False
    edges: bool = False
    size_prior: bool = False

    def __or__(self, other: Look) -> Look:
        """What either of the two asks for."""
        return Look(*(getattr(self, f.name) or getattr(other, f.name) for f in fields(self)))


PLAIN = Look()


def check_look(look: Any) -> Look:
    """A look that a user gave.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(look, Look):
        raise ValueError(f"a look is Look(zoom=..., obey=..., edges=...), got {look!r}")
    return look
