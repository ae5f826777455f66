"""One domain's decoder on a replica: serves what the registry calls stable, and sends what is said to the learner."""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING, Any

from livesam.app.cluster.courier import Courier, Send
from livesam.app.cluster.names import REGISTRY
from livesam.app.registry.registry import Registry
from livesam.app.server.kept_decoder import KeptDecoder, last_readable
from livesam.app.server.problems import NotFound
from livesam.engine.serving.version import STABLE
from livesam.engine.values.adapted_info import AdaptedInfo
from livesam.engine.values.errors import LivesamError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from livesam.app.server.settings import Settings
    from livesam.app.server.store import Store
    from livesam.app.server.weights import WeightFiles
    from livesam.engine.session.engine import Engine
    from livesam.engine.values.interaction import Interaction

log = logging.getLogger(__name__)


class RemoteDecoder(KeptDecoder):
    """Arguments as ``KeptDecoder``, and:

    Args:
        registry: where versions come from; their numbers are its.
        send: as in ``Courier``.

    Attributes:
        retired: it had to make room: nobody new gets it.
    """

    def __init__(
        self, domain: str, engine: Engine, store: Store, files: WeightFiles, settings: Settings, registry: Registry,
        send: Send,
    ) -> None:  # fmt: skip
        super().__init__(domain, engine, store, files, settings)
        self._registry, self._seen = registry, 0  # entries of the registry that were acted upon
        self._brought, self._own = False, registry.url == str(settings.out / REGISTRY)
        self.retired = False
        self._wrong: str | None = None  # of the last look at the registry
        try:
            self.follow()
        except Exception as error:  # the registry's disk or network: the follower asks again
            self._tell([f"the registry {registry.url} cannot be read now: {error}"])
        self._courier = Courier(domain, send)
        self._courier.enabled = self.learning

    def follow(self) -> None:
        """Serve what is stable by now. On one thread at a time.

        What is damaged is said, and not tried again; what cannot be read now is.
        """
        with self._lock:
            if not self._brought:
                self._bring()
                self._brought = True
            history = self._registry.history(self.domain)
            if len(history) == self._seen:
                return
            found = self._registry.find(self.domain)
            wrong = list(found.damaged)
            try:
                if found.version in {one.number for one in self.slot.versions()}:
                    self.slot.rollback(found.version)
                elif found.blob is not None:
                    weights = self._files.unpack(found.blob, f"{found.digest} in {self._registry.url}")
                    self._agree(found.version, weights)
                    self.slot.publish(weights, STABLE, found.version)
                if found.version:
                    self.slot.promote(found.version)
            except LivesamError as error:
                wrong.append(str(error))
            self._tell(wrong)
            if not found.passing:
                self._seen = len(history)

    def _tell(self, wrong: Sequence[str]) -> None:
        """What could not be served, once; nothing more of it when that has passed."""
        said, before = "; ".join(wrong) or None, self._wrong
        self._wrong = said
        if said is not None:
            self._failed = said
            if said != before:
                log.error("domain %s serves version %s: %s", self.domain, self.slot.current, said)
        elif before is not None and self._failed == before:
            self._failed = None

    def _bring(self) -> None:
        """Let what this folder served last without the registry serve on: it goes there, before what will be learned.

        Into the history of a registry that other folders may share, only where there is none.
        """
        last, there = max(self._created, default=0), self._registry.last(self.domain)
        if not last or (there and not self._own):
            return
        kept, lost = last_readable(self.domain, self._store, self._files)
        blob = self._files.pack(self._engine.base if kept is None else kept)
        same = {one.version: one.digest for one in self._registry.history(self.domain) if one.published}
        if last > there:
            self._registry.adopt(self.domain, blob, last + (lost is not None))
        elif lost is None and same.get(last) != hashlib.sha256(blob).hexdigest():
            self._registry.adopt(self.domain, blob, there + 1)  # both went on from one number

    def submit(self, interaction: Interaction) -> bool:
        """Take what the user said, while learning is on."""
        return self.learning and self._courier.put(interaction)

    def look(self) -> None:
        """Take what other replicas of this server were told: as ``follow``, and whether to learn."""
        self.learning = self._courier.enabled = self._store.learning(self.domain, self._usual)
        self.follow()

    def info(self) -> AdaptedInfo:
        """Where the weights come from."""
        return AdaptedInfo(model=self._engine.origin.spec.name, method="live", domain=self.domain)

    def enable(self, enabled: bool) -> None:
        """Learn, or leave everything as it is."""
        super().enable(enabled)
        self._courier.order("enable", enabled)

    def rollback(self, version: int) -> None:
        """Serve an earlier version again, here at once and elsewhere soon, and let the learner go on from it."""
        try:
            self._registry.promote(self.domain, version)
        except ValueError as error:
            raise NotFound(f"there is no version {version} of this decoder: choose one of its versions") from error
        self.follow()
        if self.slot.current != version:
            raise LivesamError(f"version {version} was not taken: {self._failed or 'another one came in between'}")
        self._courier.order("rollback", version)

    def state(self) -> dict[str, Any]:
        """Everything that is to be seen, as clients get it."""
        found, told = super().state(), self._courier.state()
        told["last_error"] = found["last_error"] or told.get("last_error")
        return {**found, **told, "enabled": self.learning}

    def close(self) -> None:
        """Free it; what it was told is at the learner, and what was learned in the registry."""
        self._courier.close()
        super().close()
