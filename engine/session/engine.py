"""What sessions of one process share: the encoder with its cache, and what makes decoders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from livesam.engine.session.preparing import Preparing
from livesam.engine.session.session import Session
from livesam.engine.view.look import PLAIN, Look

if TYPE_CHECKING:
    from livesam.engine.models.origin import Origin
    from livesam.engine.serving.right_of_way import RightOfWay
    from livesam.engine.serving.slot import DecoderSlot
    from livesam.engine.serving.slots import Slots
    from livesam.engine.session.cached_encoder import CachedEncoder
    from livesam.engine.values.protocols import DecoderWeights


@dataclass(frozen=True, slots=True, eq=False)
class Engine:
    """One encoder, and any number of decoder slots and sessions on it. Made by ``livesam.export.opening.open_engine``.

    Attributes:
        encoder: with the embeddings that all sessions share.
        slots: makes decoder slots, and moves them to another runtime.
        base: the model's own decoder weights.
        right_of_way: of all sessions: whoever learns gives way to every click.
        origin: the model.
        ahead: sessions encode the window that zoom will look at next while the user thinks.
        ahead_after_s: so long after the last answer.
        preparing: whether the engine answers, or PyTorch until it is built, which begins with a session's first image.
    """

    encoder: CachedEncoder
    slots: Slots
    base: DecoderWeights
    right_of_way: RightOfWay
    origin: Origin
    ahead: bool = False
    ahead_after_s: float = 0.0
    preparing: Preparing = field(default_factory=Preparing)

    def slot(
        self, *, first: int = 1, on_publish: Callable[[int, DecoderWeights], object] = lambda version, weights: None
    ) -> DecoderSlot:
        """A decoder slot that serves the base; arguments as in ``DecoderSlot``."""
        return self.slots.make(self.base, first, on_publish)

    def session(self, slot: DecoderSlot, *, domain: str = "default", look: Look = PLAIN) -> Session:
        """A session on a slot. Its ``close`` would free what others use: just drop it, and close the engine."""
        way, origin = self.right_of_way, self.origin
        session = Session(self.encoder, slot, right_of_way=way, domain=domain, look=look, origin=origin)
        session.preparing = self.preparing
        session.foresight.on, session.foresight.quiet_s = self.ahead, self.ahead_after_s
        return session

    def close(self) -> None:
        """Free the encoder, and give up what is being built; slots are closed by whoever asked for them."""
        self.preparing.stop()
        self.encoder.close()
