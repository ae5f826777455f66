"""The model that a session was opened with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from livesam.engine.models.spec import ModelSpec
    from segment_anything.modeling import Sam


class Origin(Protocol):
    """The model that a session was opened with."""

    @property
    def spec(self) -> ModelSpec:
        """Which one it is."""
        ...

    def sam(self) -> Sam:
        """It in PyTorch with its own weights, float32 on the CPU; loaded when first asked for."""
        ...


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
