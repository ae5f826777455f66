"""What sessions of one process share: the encoder with its cache, and what makes decoders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from livesam.engine.serving.slot import DecoderSlot
from livesam.engine.session.session import Session
from livesam.engine.view.look import PLAIN, Look

if TYPE_CHECKING:
    from livesam.engine.models.origin import Origin
    from livesam.engine.serving.probe import Probe
    from livesam.engine.serving.right_of_way import RightOfWay
    from livesam.engine.session.cached_encoder import CachedEncoder
    from livesam.engine.values.protocols import DecoderCompiler, DecoderWeights


@dataclass(frozen=True, slots=True, eq=False)
class Engine:
    """One encoder, and any number of decoder slots and sessions on it. Made by ``livesam.export.opening.open_engine``.

    Attributes:
        encoder: with the embeddings that all sessions share.
        compile: makes a decoder out of weights.
        base: the model's own decoder weights.
        probe: what each version of a slot is checked with before it serves.
        right_of_way: of all sessions: whoever learns gives way to every click.
        origin: the model.
        ahead: sessions encode the window that zoom will look at next while the user thinks.
        ahead_after_s: so long after the last answer.
    """

    encoder: CachedEncoder
    compile: DecoderCompiler
    base: DecoderWeights
    probe: Probe | None
    right_of_way: RightOfWay
    origin: Origin
    ahead: bool = False
    ahead_after_s: float = 0.0

    def slot(
        self, *, first: int = 1, on_publish: Callable[[int, DecoderWeights], object] = lambda version, weights: None
    ) -> DecoderSlot:
        """A decoder slot that serves the base; arguments as in ``DecoderSlot``."""
        give_way, probe = self.right_of_way.give_way, self.probe
        return DecoderSlot(self.compile, self.base, probe=probe, give_way=give_way, first=first, on_publish=on_publish)

    def session(self, slot: DecoderSlot, *, domain: str = "default", look: Look = PLAIN) -> Session:
        """A session on a slot. Its ``close`` would free what others use: just drop it, and close the engine."""
        way, origin = self.right_of_way, self.origin
        session = Session(self.encoder, slot, right_of_way=way, domain=domain, look=look, origin=origin)
        session.foresight.on, session.foresight.quiet_s = self.ahead, self.ahead_after_s
        return session

    def close(self) -> None:
        """Free the encoder; slots are closed by whoever asked for them."""
        self.encoder.close()
