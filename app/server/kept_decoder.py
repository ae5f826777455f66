"""One domain's decoder, as sessions and requests see it, whoever teaches it: what serves, and what of it is on disk."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from livesam.engine.files.hashing import weights_hash
from livesam.engine.serving.version import STABLE
from livesam.engine.values.errors import CheckpointError, LivesamError
from livesam.engine.view.look import Look

if TYPE_CHECKING:
    from livesam.app.server.metrics import Metrics
    from livesam.app.server.settings import Settings
    from livesam.app.server.store import Store
    from livesam.app.server.weights import WeightFiles
    from livesam.engine.session.engine import Engine
    from livesam.engine.session.preparing import Preparing
    from livesam.engine.session.session import Session
    from livesam.engine.values.adapted_info import AdaptedInfo
    from livesam.engine.values.interaction import Interaction
    from livesam.engine.values.protocols import DecoderWeights

log = logging.getLogger(__name__)


class KeptDecoder:
    """A domain's decoder, for any number of sessions. Thread-safe. Subclasses learn.

    Args:
        domain: its name.
        settings: of the server: the sessions' look.
        first: number of the first version that is published; None for that of the last one kept.

    Attributes:
        slot: serves it.
        learning: whether what is accepted is handed on.
        latencies_ms: of the last clicks.
        users: sessions that it answers.
    """

    def __init__(
        self,
        domain: str,
        engine: Engine,
        store: Store,
        files: WeightFiles,
        settings: Settings,
        *,
        first: int | None = None,
    ) -> None:
        self.domain, self._engine, self._store, self._files, self._look = domain, engine, store, files, settings.look
        self._agreed: set[int] = set()  # versions whose weights are known to be those on disk
        self._created: dict[int, tuple[str, str]] = {
            number: (digest, created) for number, digest, created in store.versions(domain)
        }
        first = max(self._created, default=1) if first is None else first
        self.slot = engine.slot(first=first, on_publish=self._published)
        self._lock = threading.Lock()
        self._usual, self.users = settings.learning, 0
        self.learning = store.learning(domain, self._usual)
        self.latencies_ms: deque[float] = deque(maxlen=512)
        self._failed: str | None = None

    def session(self) -> Session:
        """A session that this decoder answers, and from which it learns."""
        from livesam.adapter.registry import config_of, obeys, uses_size_prior

        session, config = self._engine.session(self.slot, domain=self.domain, look=self._look), config_of("live")
        session.attach(self, Look(obey=obeys(config), size_prior=uses_size_prior(config)))
        return session

    # What sessions call, as a ``SessionLearner``

    def submit(self, interaction: Interaction) -> bool:
        """Take what the user said, while learning is on; never blocks on learning."""
        raise NotImplementedError

    def switch(self, domain: str) -> None:
        """Sessions of a server keep their domain."""
        raise LivesamError(f"this session is of domain {self.domain!r}: open another one for {domain!r}")

    def info(self) -> AdaptedInfo:
        """Where the weights come from."""
        raise NotImplementedError

    # What the user asks for

    def enable(self, enabled: bool) -> None:
        """Learn, or leave everything as it is; what is accepted meanwhile is kept, and not learned.

        It holds until the user says otherwise, for whoever opens the domain's decoder next, too.
        """
        self.learning = enabled
        try:
            self._store.set_learning(self.domain, enabled, self._usual)
        except sqlite3.Error:  # a full disk
            log.exception("that domain %s learns, or not, could not be noted", self.domain)

    def rollback(self, version: int) -> None:
        """Serve an earlier version again, and learn on from it.

        Raises:
            NotFound: there is no such version.
            LivesamError: it was not taken.
        """
        raise NotImplementedError

    def sure_of(self, version: int) -> None:
        """Make sure that this version can be taken up again.

        Raises:
            OSError: its weights cannot be written.
            LivesamError: the folder has other weights under this number.
        """
        if version and version not in self._agreed:
            self._keep(version, self.slot.weights(version))

    def state(self) -> dict[str, Any]:
        """Everything that is to be seen of the decoder, as clients get it; nothing of the learning."""
        import numpy as np

        names = {number: label for label, number in self.slot.labels().items()}
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
            "latency_ms": {
                "p50": round(float(np.percentile(times, 50)), 2) if times else None,
                "p95": round(float(np.percentile(times, 95)), 2) if times else None,
            },
            "last_error": self._failed,
            "preparing": standing_in(self._engine.preparing),
        }

    def report(self, metrics: Metrics) -> None:
        """Put what is counted of the learning where Prometheus finds it."""
        from livesam.app.server.metrics import shown

        state = self.state()
        counted = {"version": self.slot.current, "refused": len(state["refused"])}
        counted |= {name: state[name] for name in ("published", "waiting")}
        for name, value in counted.items():
            metrics.learning[name].labels(shown(self.domain)).set(value)

    def close(self) -> None:
        """Free it."""
        self.slot.close()

    def _published(self, version: int, weights: DecoderWeights) -> None:
        """On the publisher's thread: a version serves now."""
        try:
            self._keep(version, weights)
            self._failed = None
        except Exception as error:  # a full disk must not take the decoder out of service
            self._failed = f"version {version} serves but could not be kept: {error}"
            log.exception("version %s of domain %s could not be kept", version, self.domain)

    def _agree(self, version: int, weights: DecoderWeights) -> bool:
        """Whether these weights are kept under this number already.

        Raises:
            LivesamError: others are: a replay would take those.
        """
        if version not in self._created:
            return False
        if version not in self._agreed and weights_hash(weights) != self._created[version][0]:
            raise LivesamError(
                f"version {version} of domain {self.domain!r} is another decoder in the output folder than where it "
                "comes from: give another --out"
            )
        self._agreed.add(version)
        return True

    def _keep(self, version: int, weights: DecoderWeights) -> None:
        if self._agree(version, weights):
            return
        digest = self._files.write(weights)
        self._store.note_version(self.domain, version, digest)
        self._agreed.add(version)
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
        "left_out": 0,
        "published": 0,
        "refused": [],
        "history": [
            {"object": one.id, "clicks": one.clicks, "version": one.version, "label": one.label} for one in history
        ],
        "latency_ms": {"p50": None, "p95": None},
        "last_error": None,
        "preparing": None,
    }


def standing_in(preparing: Preparing) -> str | None:
    """Why PyTorch answers and not the engine, for people; None where the engine does."""
    if preparing.state == "building":
        return f"PyTorch answers until the engine is built: {preparing.stage or 'beginning'}"
    if preparing.state == "failed":
        return f"PyTorch answers, because there is no engine: {preparing.error}"
    return None


def last_readable(domain: str, store: Store, files: WeightFiles) -> tuple[DecoderWeights | None, str | None]:
    """The newest weights whose file can be read, None for the model's own; and what is lost if that is not the last."""
    lost: str | None = None
    for number, digest, _ in sorted(store.versions(domain), reverse=True):
        try:
            return files.read(digest), lost
        except CheckpointError as error:
            lost = lost or f"version {number} is lost, an earlier decoder serves: {error}"
            log.error("domain %s: version %s is lost: %s", domain, number, error)
    return None, lost
