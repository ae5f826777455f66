"""Who learns: actors that hold the methods of many domains, and publish what these have learned."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import threading
import time
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Any

from livesam.app.registry.registry import Registry
from livesam.app.server.weights import FOLDER, WeightFiles
from livesam.engine.serving.version import CANDIDATE, STABLE
from livesam.engine.values.adapted_info import AdaptedInfo
from livesam.engine.values.errors import LivesamError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt
    from livesam.app.server.settings import Settings
    from livesam.engine.session.engine import Engine
    from livesam.engine.values.embedding import ImageEmbedding
    from livesam.engine.values.interaction import Interaction
    from livesam.engine.values.protocols import DecoderWeights

log = logging.getLogger(__name__)

NICE = 10  # below everything that somebody waits for, where they share a machine
LAST_LESSONS_S = 5.0  # for what was accepted last, when a domain has to make room


def pack(interaction: Interaction) -> bytes:
    """An interaction for an actor of ``Learners``.

    As arrays it would lie in Ray's store for as long as it waits to be learned; bytes are copied out of it at once.
    """
    return pickle.dumps(interaction, pickle.HIGHEST_PROTOCOL)


class NoEncoder:
    """In the place of an encoder: who learns gets embeddings."""

    runtime = "none"

    def key(self, digest: str) -> str:
        """Nothing is looked up here."""
        return digest

    def encode(self, image: npt.NDArray[np.uint8], digest: str | None = None) -> ImageEmbedding:
        """Never asked for."""
        raise LivesamError("a learner encodes no images")

    def close(self) -> None:
        """Nothing is open."""


class Pupil:
    """A domain's method on a slot of its own, which checks what it learns before it is published."""

    def __init__(self, domain: str, engine: Engine, files: WeightFiles, registry: Registry, settings: Settings) -> None:
        from livesam.adapter.learning.learner import learn

        self.domain, self._files, self._registry = domain, files, registry
        found = registry.find(domain)
        if found.passing:  # from an earlier version it would learn what was learned already, and publish over it
            raise ConnectionError("; ".join(found.damaged))
        self._slot = engine.slot(on_publish=self._published)
        self._host = engine.session(self._slot, domain=domain)
        self._quiet = True  # what serves already is no news
        if found.blob is not None:
            self._slot.publish(files.unpack(found.blob, registry.url), label=STABLE)
            self._host.provenance = AdaptedInfo(model=engine.origin.spec.name, method="live", domain=domain)
        self._quiet = False
        self._block = contextlib.ExitStack()
        self._learner = self._block.enter_context(learn(self._host, "live", config=settings.loop))
        self._enabled = True
        self.enable(settings.learning)

    def submit(self, interaction: Interaction, enabled: bool) -> bool:
        """Into the line; learning happens in a thread of its own."""
        if enabled != self._enabled:
            self.enable(enabled)
        return enabled and self._learner.submit(interaction)

    def enable(self, enabled: bool) -> None:
        """Learn, or do not."""
        self._enabled = enabled
        (self._learner.resume if enabled else self._learner.pause)()

    def rollback(self, version: int, base: DecoderWeights) -> None:
        """Learn on from a published version."""
        blob = None if version == 0 else self._registry.read(self.domain, version)
        self._learner.loop.rollback(base if blob is None else self._files.unpack(blob, self._registry.url))

    def state(self) -> dict[str, Any]:
        """What is to be seen of the learning."""
        stats = self._learner.stats()
        return {
            "enabled": self._enabled,
            "waiting": stats.waiting,
            "left_out": stats.counts.get("left_out", 0),
            "published": stats.counts.get("published", 0),
            "refused": [{"when": when, "why": why} for when, why in stats.refused],
            "last_error": stats.last_error,
        }

    def close(self, timeout: float = LAST_LESSONS_S) -> None:
        """Learn what was accepted last, for a few seconds, and stop."""
        self._learner.loop.finish(timeout)
        self._learner.loop.close(timeout)
        try:
            self._block.close()
        except LivesamError as error:
            log.warning("domain %s: %s", self.domain, error)
        self._slot.close()

    def _published(self, number: int, weights: DecoderWeights) -> None:
        """On the learner's thread: the probe has let it through, so it may serve everywhere."""
        if self._quiet:
            return
        try:
            self._registry.publish(self.domain, self._files.pack(weights), (CANDIDATE, STABLE))
        except Exception:  # the registry's disk or network: what is learned next is published again
            log.exception("what domain %s has learned could not be published", self.domain)


class Desk:
    """A domain's place at an actor. To make a pupil takes seconds, and where it hangs only its own domain waits.

    Args:
        make: the pupil, when it is first told something.
    """

    def __init__(self, make: Callable[[], Pupil]) -> None:
        self._make, self._lock = make, threading.Lock()
        self.pupil: Pupil | None = None

    def sit(self) -> Pupil:
        """The pupil."""
        with self._lock:
            if self.pupil is None:
                self.pupil = self._make()
            return self.pupil

    def close(self, timeout: float = LAST_LESSONS_S) -> None:
        """As the pupil's."""
        with self._lock:
            if self.pupil is not None:
                self.pupil.close(timeout)


class Learners:
    """An actor: the domains that are its, each made when it is first told something.

    Args:
        settings: of the server.
        registry: its address.
        out: where files may lie; nothing is written there.
    """

    def __init__(self, settings: Settings, registry: str, out: Path) -> None:
        import torch
        from livesam.export.opening import open_engine

        with contextlib.suppress(OSError):
            os.nice(NICE)
        torch.set_num_threads(1)  # domains learn side by side
        self._settings, self._registry = settings, Registry(registry)
        self._engine = open_engine(settings.opening, encoder=NoEncoder())
        self._files = WeightFiles(out / FOLDER, self._engine.base)
        self._desks: OrderedDict[str, Desk] = OrderedDict()
        self._lock = threading.Lock()

    def submit(self, domain: str, packed: bytes, enabled: bool) -> bool:
        """Learn from what ``pack`` has packed, soon, if the domain learns; who asks knows that."""
        return self._pupil(domain).submit(pickle.loads(packed), enabled)

    def enable(self, domain: str, enabled: bool) -> None:
        """Learn from what this domain is told, or do not."""
        self._pupil(domain).enable(enabled)

    def rollback(self, domain: str, version: int) -> None:
        """Learn on from a published version."""
        self._pupil(domain).rollback(version, self._engine.base)

    def state(self, domain: str) -> dict[str, Any] | None:
        """What is to be seen of the learning; None where nothing was told yet."""
        with self._lock:
            desk = self._desks.get(domain)
        pupil = None if desk is None else desk.pupil
        return None if pupil is None else pupil.state()

    def close(self, timeout: float) -> None:
        """Learn what was accepted last, side by side, and stop; returns when all have, or when it took too long."""
        with self._lock:
            desks = list(self._desks.values())
            self._desks.clear()
        threads = [threading.Thread(target=one.close, args=(timeout,), daemon=True) for one in desks]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 2 * timeout
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _pupil(self, domain: str) -> Pupil:
        with self._lock:
            if domain not in self._desks:
                if len(self._desks) >= self._settings.limits.domains:
                    _, oldest = self._desks.popitem(last=False)
                    threading.Thread(target=oldest.close, daemon=True).start()  # one that hangs takes two minutes
                self._desks[domain] = Desk(partial(self._made, domain))
            self._desks.move_to_end(domain)
            desk = self._desks[domain]
        return desk.sit()

    def _made(self, domain: str) -> Pupil:
        return Pupil(domain, self._engine, self._files, self._registry, self._settings)
