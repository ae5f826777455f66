"""A session that learns while it is being used: the loop between its clicks and its decoder slot."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from livesam.adapter.learning.domains import Domains
from livesam.adapter.learning.loop import AdaptationLoop
from livesam.adapter.learning.priority import low_priority
from livesam.adapter.learning.store import DecoderStore
from livesam.adapter.registry import config_of, create, obeys, uses_size_prior
from livesam.engine.files.hashing import weights_hash
from livesam.engine.models.loading import decoder_weights
from livesam.engine.models.origin import known
from livesam.engine.runtimes.selection import select
from livesam.engine.serving.version import BASE
from livesam.engine.values.adapted_info import AdaptedInfo
from livesam.engine.values.errors import AdaptationError, SessionError
from livesam.engine.view.look import Look

if TYPE_CHECKING:
    from livesam.adapter.learning.loop_state import LoopConfig, LoopStats
    from livesam.adapter.method import AdaptationMethod
    from livesam.engine.session.session import Session
    from livesam.engine.values.interaction import Interaction
    from livesam.engine.values.protocols import DecoderWeights

CLOSING_S = 120.0  # a publish that is on its way needs the slot, which the caller may close next
ROUNDING = 0.01  # of what was learned: files keep it as float16


class Learner:
    """Learns from one session. Made by ``learn``; all calls are thread-safe.

    Attributes:
        loop: the background thread.
        over: the block has ended.
    """

    def __init__(self, session: Session, loop: AdaptationLoop, info: AdaptedInfo, store: DecoderStore | None) -> None:
        self._session, self.loop, self._info, self._store = session, loop, info, store
        self.over = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until everything that the session was told is learned and in service.

        Returns:
            False after ``timeout`` seconds, and when what was learned could not be published: then the decoder of
            before serves, and ``stats().last_error`` says why.
        """
        return self.loop.wait(timeout)

    def stats(self) -> LoopStats:
        """Counts and times of this moment."""
        return self.loop.stats()

    def rollback(self, version: int) -> None:
        """Serve a version of the session's slot again, and learn on from it; 0 is the model's own decoder.

        Raises:
            ValueError: the slot does not keep this version; ``session.slot.versions()`` lists those it does.
        """
        self._check()
        self.loop.rollback(self._session.slot.weights(version))

    def pause(self, timeout: float | None = 0.0) -> bool:
        """Learn nothing until ``resume``; what the session is told waits. False if a step did not end in time."""
        self._check()
        return self.loop.pause(timeout)

    def resume(self) -> None:
        """Go on after ``pause``."""
        self._check()
        self.loop.resume()

    def _check(self) -> None:
        if self.over:
            raise SessionError("this learner's block has ended: begin another with livesam.learn")

    # What the session calls

    def submit(self, interaction: Interaction) -> bool:
        """Take what the user said; never blocks on learning."""
        return self.loop.submit(interaction)

    def switch(self, domain: str) -> None:
        """Let this domain's decoder serve, soon.

        Raises:
            CheckpointError: what is kept of it is damaged, or of another base or model; nothing changes.
        """
        if self._store is not None:
            self._store.load(domain)
        self.loop.switch(domain)

    def info(self) -> AdaptedInfo:
        """Where the weights that are published come from."""
        stats = self.loop.stats()
        counts: Mapping[str, int] = stats.methods.get(stats.domain, {})
        before = self._session.provenance
        if not counts and before is not None and before.domain == stats.domain:
            counts = before.counts  # nothing was told of this domain in this block
        return replace(self._info, domain=stats.domain, counts=dict(counts))


def torch_device(runtime: str) -> str:
    """The GPU of a PyTorch decoder's runtime (``torch:cuda:0:fp16``), where learning is at home too; else ``cpu``."""
    name, _, rest = runtime.partition(":")
    device = rest.rpartition(":")[0]
    return device if name == "torch" and device.startswith("cuda") else "cpu"


@contextlib.contextmanager
def learn(
    session: Session,
    method: str = "live",
    *,
    keep: Path | None = None,
    device: str | None = None,
    config: LoopConfig | None = None,
    patience_s: float = CLOSING_S,
) -> Iterator[Learner]:
    """Learn from everything that the session is told, and publish to its slot, for the length of the block.

    It begins with what the session serves now. When the block ends without an exception, what was accepted is learned
    first, for up to ``patience_s``, and a step that hangs is waited for as long again. ``livesam.learn`` has the other
    arguments and errors.

    Where ``live`` learns, the session meanwhile obeys clicks (``engine/view/obey.py``) and, if it zooms, looks at first
    clicks in windows of the objects' size (``engine/view/size_prior.py``).
    """
    origin, chosen = known(session.origin), config_of(method)
    device = device or torch_device(session.slot.runtime)
    select("decoder", "torch", device=device)  # refuses a device that is not here
    version, sam, spec = session.slot.labels()[BASE], origin.sam(), origin.spec
    if weights_hash(decoder_weights(sam)) != session.slot.digest(version):
        raise ValueError("the session's decoder slot has another base than its model: open the session anew")
    info = AdaptedInfo(model=spec.name, method=method, settings=asdict(chosen), image_size=spec.image_size)
    store = None if keep is None else DecoderStore(keep, session.slot.weights(version), info)
    start, before, began_with = _start(session, store), session.provenance, session.slot.current

    def make(domain: str) -> AdaptationMethod:
        made = create(method, sam, device=device, give_way=session.right_of_way.give_way)
        if domain in start:
            made.load_domain(start[domain])
        return made

    loop = AdaptationLoop(
        Domains(make, store, {} if before is None or not start else {session.domain: before.counts}),
        session.slot.publish,
        right_of_way=session.right_of_way,
        config=config,
        learning=low_priority(device),
        domain=session.domain,
        serving=session.slot.weights(session.slot.current),
    )
    learner = Learner(session, loop, info, store)
    session.attach(learner, Look(obey=obeys(chosen), size_prior=uses_size_prior(chosen)))
    finished = True
    try:
        loop.start()
        yield learner
        finished = loop.finish(patience_s)
    finally:
        session.detach()
        finished &= loop.close(timeout=patience_s)
        learner.over = True
        if session.slot.current != began_with:
            session.provenance = learner.info()
    if not finished or (store is not None and store.pending):
        raise AdaptationError(_left_over(loop, store, patience_s))


def _left_over(loop: AdaptationLoop, store: DecoderStore | None, patience_s: float) -> str:
    """What the end of a block has to say of what is not in service or not saved."""
    stats = loop.stats()
    unsaved = [] if store is None else store.pending
    what = f"{', '.join(unsaved)} could not be saved" if unsaved else "what was learned last is not in service"
    why = stats.last_error or f"it took more than {patience_s:.0f} s"
    return f"{what}: {why}; the decoder of before goes on serving"


def _start(session: Session, store: DecoderStore | None) -> Mapping[str, DecoderWeights]:
    """What the session's domain begins with: what serves now, unless that is the base; the store's files otherwise.

    Raises:
        SessionError: the session and the store have different decoders, and one would be lost.
        CheckpointError: the domain's file is damaged, or of another base.
    """
    base, serving = (session.slot.weights(v) for v in (session.slot.labels()[BASE], session.slot.current))
    saved = None if store is None else store.load(session.domain)
    if session.slot.current == session.slot.labels()[BASE]:
        return {}
    if store is not None and saved is not None and _distance(saved, serving) > ROUNDING * _distance(serving, base):
        raise SessionError(
            f"the session serves version {session.slot.current}, but {store.path(session.domain)} has another decoder "
            f"of domain {session.domain!r}, which would be lost: open the session without adapted=, or learn under "
            "another domain or in another folder"
        )
    return {session.domain: serving}


def _distance(one: DecoderWeights, other: DecoderWeights) -> float:
    return math.sqrt(sum(float(np.square(value - other[name]).sum()) for name, value in one.items()))
