"""The model that a session was opened with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from livesam.engine.models.spec import ModelSpec
    from livesam.engine.values.protocols import Origin
    from segment_anything.modeling import Sam


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """An ``Origin`` that is in memory already."""

    spec: ModelSpec
    model: Sam

    def sam(self) -> Sam:
        """The model itself."""
        return self.model


def known(origin: Origin | None) -> Origin:
    """The origin of a session that has one.

    Raises:
        ValueError: it has none.
    """
    if origin is None:
        raise ValueError("the session does not know its model: open it with livesam.open_session")
    return origin
