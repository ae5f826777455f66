"""Who is told what happens in a session: the application, and whoever learns from it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from livesam.engine.values.errors import SessionError
from livesam.engine.values.interaction import Interaction

if TYPE_CHECKING:
    from livesam.engine.values.adapted_info import AdaptedInfo

log = logging.getLogger(__name__)


class SessionLearner(Protocol):
    """Who learns from a session."""

    def submit(self, interaction: Interaction) -> object:
        """Take what the user said; never blocks on learning."""
        ...

    def switch(self, domain: str) -> None:
        """From now on images come from this domain: let its decoder serve."""
        ...

    def info(self) -> AdaptedInfo:
        """Where the weights that it publishes come from."""
        ...


class Listeners:
    """One callback of the application's own, and at most one learner; neither takes the other's place.

    Attributes:
        on_interaction: the application's. It must not block; what it raises is logged.
    """

    def __init__(self, on_interaction: Callable[[Interaction], object] | None = None) -> None:
        self.on_interaction = on_interaction
        self._learner: SessionLearner | None = None

    @property
    def learner(self) -> SessionLearner | None:
        """Who learns from this session, if anybody does."""
        return self._learner

    @property
    def any(self) -> bool:
        """Whether anybody listens."""
        return self.on_interaction is not None or self._learner is not None

    def attach(self, learner: SessionLearner) -> None:
        """Let somebody learn.

        Raises:
            SessionError: somebody learns already.
        """
        if self._learner is not None:
            raise SessionError("this session learns already: leave the block of the first learner, then begin another")
        self._learner = learner

    def detach(self) -> None:
        """Let nobody learn."""
        self._learner = None

    def tell(self, interaction: Interaction | None) -> None:
        """Hand an interaction over; learning must never cost the user an answer, so what is raised is logged."""
        if interaction is None:
            return
        learner = self._learner
        for told in (self.on_interaction, None if learner is None else learner.submit):
            if told is None:
                continue
            try:
                told(interaction)
            except Exception:
                log.exception("an interaction could not be handed over")

    def switch(self, domain: str) -> None:
        """Tell the learner that images come from another domain now."""
        if self._learner is not None:
            self._learner.switch(domain)
