"""One domain's decoder: the slot that serves it, who learns, and what of it is on disk."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from livesam.app.server.problems import NotFound
from livesam.engine.serving.version import STABLE
from livesam.engine.values.adapted_info import AdaptedInfo
from livesam.engine.values.errors import AdaptationError, CheckpointError, LivesamError
from livesam.engine.view.look import Look

if TYPE_CHECKING:
    from livesam.adapter.learning.learner import Learner
    from livesam.app.server.metrics import Metrics
    from livesam.app.server.settings import Settings
    from livesam.app.server.store import Store
    from livesam.app.server.weights import WeightFiles
    from livesam.engine.session.engine import Engine
    from livesam.engine.session.session import Session
    from livesam.engine.values.interaction import Interaction
    from livesam.engine.values.protocols import DecoderWeights

log = logging.getLogger(__name__)

LAST_LESSONS_S = 5.0  # at a shutdown, for what was accepted last; it is on disk and can be learned again


class SharedDecoder:
    """A domain's decoder, for any number of sessions. Thread-safe.

    Begins with the version that served last, under its number; where its file is lost, with the one before.

    Args:
        domain: its name.
        settings: of the server: the sessions' look, and whether and how it learns.

    Attributes:
        slot: serves it.
        latencies_ms: of the last clicks.
        users: sessions that it answers.
    """

    def __init__(self, domain: str, engine: Engine, store: Store, files: WeightFiles, settings: Settings) -> None:
        from livesam.adapter.learning.learner import learn

        self.domain, self._engine, self._store, self._files, self._look = domain, engine, store, files, settings.look
        self._created: dict[int, tuple[str, str]] = {
            number: (digest, created) for number, digest, created in store.versions(domain)
        }
        self._failed: str | None = None
        last = max(self._created, default=0)
        kept = self._last_readable(files)
        self.slot = engine.slot(first=max(1, last + (self._failed is not None)), on_publish=self._published)
        self._host = engine.session(self.slot, domain=domain)
        if kept is not None:
            lost = self._failed
            self.slot.publish(kept, label=STABLE)
            self._failed = lost or self._failed
            self._host.provenance = AdaptedInfo(model=engine.origin.spec.name, method="live", domain=domain)
        self._lock = threading.Lock()
        self._block = contextlib.ExitStack()
        self.learner: Learner = self._block.enter_context(
            learn(self._host, "live", config=settings.loop, patience_s=LAST_LESSONS_S)
        )
        self.learning, self.users = True, 0
        self.latencies_ms: deque[float] = deque(maxlen=512)
        if not settings.learning:
            self.enable(False)

    def _last_readable(self, files: WeightFiles) -> DecoderWeights | None:
        """The newest weights whose file can be read; None for the model's own. Says so where it is not the last one."""
        for number in sorted(self._created, reverse=True):
            try:
                return files.read(self._created[number][0])
            except CheckpointError as error:
                self._failed = self._failed or f"version {number} is lost, an earlier decoder serves: {error}"
                log.error("domain %s: version %s is lost: %s", self.domain, number, error)
        return None

    def session(self) -> Session:
        """A session that this decoder answers, and from which it learns."""
        from livesam.adapter.registry import config_of, obeys, uses_size_prior

        session, config = self._engine.session(self.slot, domain=self.domain, look=self._look), config_of("live")
        session.attach(self, Look(obey=obeys(config), size_prior=uses_size_prior(config)))
        return session

    # What sessions call, as a ``SessionLearner``

    def submit(self, interaction: Interaction) -> bool:
        """Take what the user said, while learning is on."""
        return self.learning and self.learner.submit(interaction)

    def switch(self, domain: str) -> None:
        """Sessions of a server keep their domain."""
        raise LivesamError(f"this session is of domain {self.domain!r}: open another one for {domain!r}")

    def info(self) -> AdaptedInfo:
        """Where the weights come from."""
        return self.learner.info()

    # What the user asks for

    def enable(self, enabled: bool) -> None:
        """Learn, or leave everything as it is; what is accepted meanwhile is kept, and not learned."""
        self.learning = enabled
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

    def sure_of(self, version: int) -> None:
        """Make sure that this version can be taken up again.

        Raises:
            OSError: its weights cannot be written.
        """
        if version and version not in self._created:
            self._keep(version, self.slot.weights(version))

    def state(self) -> dict[str, Any]:
        """Everything that is to be seen of the learning, as clients get it."""
        import numpy as np

        stats, labels = self.learner.stats(), self.slot.labels()
        names = {number: label for label, number in labels.items()}
        times = sorted(self.latencies_ms)
        versions = [{"version": 0, "label": "base", "created": None}]
        versions += [
            {"version": number, "label": names.get(number, ""), "created": created}
            for number, (_, created) in sorted(self._created.items())
        ]
        return {
            **resting(self.domain, self._store, self.learning),
            "version": self.slot.current,
            "versions": versions,
            "waiting": stats.waiting,
            "published": stats.counts.get("published", 0),
            "refused": [{"when": when, "why": why} for when, why in stats.refused],
            "latency_ms": {
                "p50": round(float(np.percentile(times, 50)), 2) if times else None,
                "p95": round(float(np.percentile(times, 95)), 2) if times else None,
            },
            "last_error": self._failed or stats.last_error,
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

    def _published(self, version: int, weights: DecoderWeights) -> None:
        """On the learner's thread: a version serves now."""
        try:
            self._keep(version, weights)
            self._failed = None
        except Exception as error:  # a full disk must not take the decoder out of service
            self._failed = f"version {version} serves but could not be kept: {error}"
            log.exception("version %s of domain %s could not be kept", version, self.domain)

    def _keep(self, version: int, weights: DecoderWeights) -> None:
        if version in self._created:
            return
        digest = self._files.write(weights)
        self._store.note_version(self.domain, version, digest)
        self._created = {number: (d, when) for number, d, when in self._store.versions(self.domain)}


def resting(domain: str, store: Store, enabled: bool) -> dict[str, Any]:
    """What is to be seen of a domain whose decoder is not open: what is kept of it, and nothing that happens."""
    objects, clicks, history = store.history(domain)
    kept = store.versions(domain)
    last = kept[-1][0] if kept else 0
    versions = [{"version": 0, "label": "base", "created": None}]
    versions += [
        {"version": number, "label": STABLE if number == last else "", "created": created}
        for number, _, created in kept
    ]
    return {
        "enabled": enabled,
        "domain": domain,
        "version": last,
        "versions": versions,
        "objects": objects,
        "clicks": clicks,
        "waiting": 0,
        "published": 0,
        "refused": [],
        "history": [
            {"object": one.id, "clicks": one.clicks, "version": one.version, "label": one.label} for one in history
        ],
        "latency_ms": {"p50": None, "p95": None},
        "last_error": None,
    }
