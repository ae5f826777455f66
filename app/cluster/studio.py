"""What the sessions of one replica share: encoders and learners elsewhere, and decoders of the registry."""

from __future__ import annotations

import contextlib
import logging
import threading
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

from livesam.app.cluster.encoders import RemoteEncoder
from livesam.app.cluster.learners import pack
from livesam.app.cluster.names import batch_of
from livesam.app.cluster.remote_decoder import RemoteDecoder
from livesam.app.registry.registry import Registry
from livesam.app.server.kept_decoder import KeptDecoder, resting
from livesam.app.server.problems import NotReady
from livesam.app.server.studio import PATIENCE_S, Studio
from livesam.engine.values.interaction import Interaction

if TYPE_CHECKING:
    from livesam.app.server.gallery import Gallery
    from livesam.app.server.settings import Settings
    from livesam.engine.session.engine import Engine

log = logging.getLogger(__name__)

FOLLOW_S = 0.5  # how often the registry is asked for new versions: one file that is not there, for each open decoder


class ClusterStudio(Studio):
    """A studio whose encoder and learners are elsewhere.

    Args:
        encoders: the handle of their deployment.
        learners: their actors.
        registry: its address.
        replicas: encoders.
        multiplexed: a domain's decoder out of Serve's cache, which makes it by ``make`` and drops it by ``retire``.
    """

    def __init__(
        self, settings: Settings, gallery: Gallery, encoders: Any, learners: Sequence[Any], registry: str,
        replicas: int, multiplexed: Callable[[str], RemoteDecoder],
    ) -> None:  # fmt: skip
        super().__init__(settings, gallery)
        self._encoders, self._learners, self._registry = encoders, learners, Registry(registry)
        self._replicas, self._multiplexed = replicas, multiplexed
        self.batch = batch_of(settings.opening)
        self._alive: list[RemoteDecoder] = []
        self._over = threading.Event()
        self._follower = threading.Thread(target=self._follow, name="livesam-follower", daemon=True)
        self._follower.start()

    def _check_log(self) -> None:
        """Done by the command, before other replicas write."""

    def _open_engine(self) -> Engine:
        from livesam.export.opening import open_engine

        encoder, at_once = RemoteEncoder(self._encoders, self.batch), self.batch * self._replicas
        said = partial(log.info, "%s")
        engine = open_engine(self.settings.opening, encoder=encoder, at_once=at_once, progress=said)
        # The first version loads PyTorch for the probe: not while somebody clicks, whom that holds up for seconds.
        with contextlib.closing(engine.slot()) as slot:
            slot.publish(engine.base)
        return engine

    def make(self, domain: str) -> RemoteDecoder:
        """A domain's decoder anew."""
        if self._files is None:
            raise NotReady("the server is closing")
        learners = self._learners[zlib.crc32(domain.encode()) % len(self._learners)]

        def send(what: str, *arguments: Any) -> Future[Any]:
            said = [pack(one) if isinstance(one, Interaction) else one for one in arguments]
            return getattr(learners, what).remote(*said).future()  # type: ignore[no-any-return]

        made = RemoteDecoder(domain, self.engine, self.store, self._files, self.settings, self._registry, send)
        with self._changed:
            self._alive.append(made)
        return made

    def decoder(self, domain: str, *, sits_down: bool = False) -> KeptDecoder:
        """As a studio's; the one that was asked for least lately makes room, and is closed when nobody uses it."""
        if sits_down:
            self._opened.wait(PATIENCE_S)
        _ = self.engine
        while True:
            decoder = self._multiplexed(domain)
            with self._changed:
                if self._closed:
                    raise NotReady("the server is closing")
                if decoder in self._alive and not decoder.retired:  # else it made room meanwhile, and is being closed
                    decoder.users += sits_down
                    return decoder

    def leave(self, decoder: KeptDecoder) -> None:
        """A session uses this decoder no longer."""
        super().leave(decoder)
        if isinstance(decoder, RemoteDecoder):
            self.tidy(decoder)

    def tidy(self, decoder: RemoteDecoder) -> None:
        """Close a decoder that made room, where nobody uses it any more."""
        with self._changed:
            if not decoder.retired or decoder.users or decoder not in self._alive:
                return
            self._alive.remove(decoder)
        self.metrics.forget(decoder.domain)
        # A session leaves on the replica's loop, and the courier may need two seconds.
        threading.Thread(target=decoder.close, name="livesam-closing", daemon=True).start()

    def learning(self, domain: str) -> dict[str, Any]:
        """What is to be seen of a domain's learning; looking makes no decoder."""
        found = [one for one in self.decoders() if one.domain == domain]
        return (
            found[-1].state()
            if found
            else resting(domain, self.store, self.store.learning(domain, self.settings.learning))
        )

    def decoders(self) -> list[KeptDecoder]:
        """Those that are open."""
        with self._changed:
            return list(self._alive)

    def close(self) -> None:
        """Close everything that is this replica's."""
        self._opened.wait()
        self._over.set()
        self._follower.join(10.0)
        with self._changed:
            alive, self._alive = self._alive, []
        for decoder in alive:
            with contextlib.suppress(Exception):  # the rest is to be closed all the same
                decoder.close()
        super().close()

    def _follow(self) -> None:
        """Let every decoder serve what is stable by now."""
        while not self._over.wait(FOLLOW_S):
            for decoder in self.decoders():
                try:
                    if isinstance(decoder, RemoteDecoder) and not decoder.slot.closed:
                        decoder.look()
                except Exception:  # the registry's disk or network: it is asked again
                    log.exception("the registry could not be asked for domain %s", decoder.domain)
