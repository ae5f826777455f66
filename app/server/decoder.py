"""One domain's decoder that learns in this process."""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any

from livesam.app.server.kept_decoder import KeptDecoder, last_readable
from livesam.app.server.problems import NotFound
from livesam.engine.serving.version import STABLE
from livesam.engine.values.adapted_info import AdaptedInfo
from livesam.engine.values.errors import AdaptationError, LivesamError

if TYPE_CHECKING:
    from livesam.adapter.learning.learner import Learner
    from livesam.app.server.metrics import Metrics
    from livesam.app.server.settings import Settings
    from livesam.app.server.store import Store
    from livesam.app.server.weights import WeightFiles
    from livesam.engine.session.engine import Engine
    from livesam.engine.values.interaction import Interaction
    from livesam.engine.values.protocols import DecoderWeights

log = logging.getLogger(__name__)

LAST_LESSONS_S = 5.0  # at a shutdown, for what was accepted last; it is on disk and can be learned again


class SharedDecoder(KeptDecoder):
    """Begins with the version that served last, under its number; where its file is lost, with the one before.

    Arguments as ``KeptDecoder``.
    """

    def __init__(self, domain: str, engine: Engine, store: Store, files: WeightFiles, settings: Settings) -> None:
        from livesam.adapter.learning.learner import learn

        kept, lost = last_readable(domain, store, files)
        last = max((number for number, _, _ in store.versions(domain)), default=0)
        super().__init__(domain, engine, store, files, settings, first=max(1, last + (lost is not None)))
        self._failed = lost
        self._host = engine.session(self.slot, domain=domain)
        if kept is not None:
            self.slot.publish(kept, label=STABLE)
            self._failed = lost or self._failed
            self._host.provenance = AdaptedInfo(model=engine.origin.spec.name, method="live", domain=domain)
        self._block = contextlib.ExitStack()
        self.learner: Learner = self._block.enter_context(
            learn(self._host, "live", config=settings.loop, patience_s=LAST_LESSONS_S)
        )
        if not self.learning:
            self.learner.pause()

    def submit(self, interaction: Interaction) -> bool:
        """Take what the user said, while learning is on."""
        return self.learning and self.learner.submit(interaction)

    def info(self) -> AdaptedInfo:
        """Where the weights come from."""
        return self.learner.info()

    def enable(self, enabled: bool) -> None:
        """Learn, or leave everything as it is; what is accepted meanwhile is kept, and not learned."""
        super().enable(enabled)
        if enabled:
            self.learner.resume()
        else:
            self.learner.pause()

    def rollback(self, version: int, timeout: float = 20.0) -> None:
        """Serve an earlier version again, and learn on from it. It gets a new number.

        Raises:
            NotFound: there is no such version.
            LivesamError: it was not taken.
        """
        with self._lock:
            if version == 0:
                weights: DecoderWeights = self._engine.base
            elif version in self._created:
                weights = self._files.read(self._created[version][0])
            else:
                raise NotFound(f"there is no version {version} of this decoder: choose one of its versions")
            before = self.learner.stats().counts
            self.learner.loop.rollback(weights)
            deadline = time.monotonic() + timeout
            while time.monotonic() < deadline:
                now = self.learner.stats().counts
                done = {name: now.get(name, 0) - before.get(name, 0) for name in ("published", "publish_failed")}
                if done["publish_failed"]:
                    break
                if done["published"] and now.get("rolled_back", 0) > before.get("rolled_back", 0):
                    return
                time.sleep(0.01)
        raise LivesamError(f"version {version} was not taken: {self.learner.stats().last_error or 'it took too long'}")

    def state(self) -> dict[str, Any]:
        """Everything that is to be seen of the learning, as clients get it."""
        stats = self.learner.stats()
        found = super().state()
        return {
            **found,
            "waiting": stats.waiting,
            "left_out": stats.counts.get("left_out", 0),
            "published": stats.counts.get("published", 0),
            "refused": [{"when": when, "why": why} for when, why in stats.refused],
            "last_error": found["last_error"] or stats.last_error,
        }

    def report(self, metrics: Metrics) -> None:
        """Put what is counted of the learning where Prometheus finds it."""
        from livesam.app.server.metrics import shown

        stats = self.learner.stats()
        counted = {
            "learned": stats.counts.get("learned", 0),
            "published": stats.counts.get("published", 0),
            "refused": stats.counts.get("gate_rejects", 0),
            "waiting": stats.waiting,
            "version": self.slot.current,
        }
        for name, value in counted.items():
            metrics.learning[name].labels(shown(self.domain)).set(value)

    def close(self) -> None:
        """Learn what was accepted last, for a few seconds, and stop."""
        try:
            self._block.close()
        except AdaptationError as error:
            log.warning("domain %s: %s", self.domain, error)
        self.slot.close()
