"""The background thread that learns while somebody clicks.

``submit`` hands an interaction over and returns at once: it takes a lock for some appends, never for learning. Learning
happens in micro-steps on the method's own copy of the decoder; before each of them the thread waits for the interactive
gate, so a click waits for at most the micro-step that is running. What was learned goes out through ``publish``.

The waiting line is bounded. Its rule: a newer state of an object replaces an older one that still waits; when the line
is full, the oldest object that is not finished goes first, then the oldest that was given up. Drops are counted. An
accepted object is never dropped: a person's minutes bought it, so of these the line holds as many as there are.

There is one method, and so one decoder copy, for each domain name. A domain whose saved file cannot be loaded starts at
the base, is reported, and is not saved over that file. ``switch`` makes a domain's decoder the one that is
published; interactions of other domains are learned all the same, and published when their domain is switched to.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import numpy as np
from livesam.adapter.learning.loop_state import Domain, Gate, LoopConfig, LoopStats, lower_priority, same_weights
from livesam.adapter.learning.store import DecoderStore, Learned
from livesam.adapter.method import AdaptationMethod, StepReport, same_object
from livesam.engine.values.errors import AdaptationError, CheckpointError
from livesam.engine.values.interaction import Interaction

if TYPE_CHECKING:
    from livesam.engine.values.protocols import DecoderWeights

log = logging.getLogger(__name__)


class AdaptationLoop:
    """Learns from interactions in the background. All public calls are thread-safe."""

    def __init__(
        self,
        make_method: Callable[[str], AdaptationMethod],
        publish: Callable[[DecoderWeights], object],
        *,
        gate: Gate | None = None,
        config: LoopConfig | None = None,
        store: DecoderStore | None = None,
        on_error: Callable[[Exception], None] | None = None,
        learning: Callable[[], AbstractContextManager[object]] = nullcontext,
        domain: str = "default",
        start: Mapping[str, DecoderWeights] | None = None,
    ) -> None:
        """
        Args:
            make_method: a fresh method for a domain's name.
            publish: takes weights and puts them into service; the decoder slot's ``publish``.
            gate: clicks announce themselves here.
            store: where each domain is saved and, if it was, begun from.
            on_error: is told every exception, on the loop's thread.
            learning: a context for the thread's whole life, e.g. a low-priority CUDA stream.
            domain: the domain that is published first.
            start: what domains begin with that the store has not, where that is not the base.
        """
        self.config = config or LoopConfig()
        self._make_method, self._publish, self._gate, self._store = make_method, publish, gate, store
        self._on_error, self._learning = on_error, learning
        self._domains: dict[str, Domain] = {}
        self._start = dict(start or {})
        self._active = domain
        self._published_domain: str | None = None
        self._served: DecoderWeights = {}  # what was published last
        self._refused = False  # what was to be published last is not in service
        self._unsaved: set[str] = set()
        self._line: deque[Interaction] = deque()
        self._back: dict[str, DecoderWeights] = {}  # what domains are to be rolled back to
        self._counts: Counter[str] = Counter()
        self._step_ms: deque[float] = deque(maxlen=256)
        self._last_error: str | None = None
        self._changed = threading.Condition()
        self._busy = self._paused = self._closing = False
        self._resting = True  # the thread waits for something to do, or there is none
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread; a second call does nothing.

        Raises:
            AdaptationError: the loop was closed.
        """
        with self._changed:
            if self._closing:
                raise AdaptationError("this loop was closed: make a new one")
            if self._thread is None:
                self._resting, self._busy = False, True  # until what was kept is in service
                self._thread = threading.Thread(target=self._run, name="livesam-adaptation", daemon=True)
                self._thread.start()

    def submit(self, interaction: Interaction) -> bool:
        """Hand an interaction over; never blocks on learning, never raises. False if the loop is closed."""
        with self._changed:
            if self._closing:
                return False
            self._counts["received"] += 1
            self._make_room(interaction)
            self._line.append(interaction)
            self._changed.notify_all()
        return True

    def switch(self, domain: str) -> None:
        """Make this domain's decoder the published one, soon."""
        with self._changed:
            self._active = domain
            self._changed.notify_all()

    def rollback(self, weights: DecoderWeights, domain: str | None = None) -> None:
        """Serve these weights, and learn on from them: ``slot.weights(version)``. What was learned since is dropped.

        Rolling back the slot alone lasts until the next publish, which comes from what was learned.

        Args:
            domain: the published one when not given.
        """
        with self._changed:
            self._back[self._active if domain is None else domain] = weights
            self._changed.notify_all()

    def pause(self, timeout: float | None = 0.0) -> bool:
        """Learn nothing until ``resume``; interactions wait in line, but not ``switch`` and ``rollback``.

        Returns:
            False if the running micro-step or publish did not end within ``timeout`` seconds (None waits for ever).
        """
        with self._changed:
            self._paused = True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._resting, timeout)

    def resume(self) -> None:
        """Go on after ``pause``."""
        with self._changed:
            self._paused = False
            self._changed.notify_all()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until everything that was submitted is learned and in service.

        Returns:
            False after ``timeout`` seconds, and when what was learned could not be published: then the decoder of
            before serves, and ``stats().last_error`` says why.
        """
        with self._changed:
            return self._changed.wait_for(self._nothing_left, timeout) and not self._refused

    def close(self, timeout: float | None = 10.0) -> bool:
        """Stop after the running micro-step, drop what waits, save what is learned. False if that took too long."""
        with self._changed:
            self._closing = True
            self._counts["dropped"] += len(self._line)
            self._line.clear()
            self._changed.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)
            return not thread.is_alive()
        return True

    def stats(self) -> LoopStats:
        """Counts and times of this moment."""
        with self._changed:
            steps = list(self._step_ms)
            return LoopStats(
                domain=self._active,
                waiting=len(self._line),
                counts=dict(self._counts),
                methods={name: dict(domain.counts) for name, domain in self._domains.items()},
                step_ms=(float(np.median(steps)), max(steps)) if steps else None,
                last_error=self._last_error,
                paused=self._paused,
                running=self._thread is not None and self._thread.is_alive(),
            )

    # In the caller's thread, under the lock

    def _make_room(self, newest: Interaction) -> None:
        same = [i for i in self._line if not i.over and same_object(i, newest)]
        for older in same:
            self._line.remove(older)
            self._counts["replaced"] += 1
        if len(self._line) >= self.config.capacity:
            droppable = (i for kind in (_unfinished, _given_up) for i in self._line if kind(i))
            victim = next(droppable, None)
            if victim is not None:
                self._line.remove(victim)
                self._counts["dropped"] += 1

    def _nothing_left(self) -> bool:
        return not (self._line or self._back or self._busy) and self._in_service()

    def _in_service(self) -> bool:
        domain = self._domains.get(self._active)  # the base serves where nothing was learned anywhere
        return self._published_domain in (None, self._active) and not (domain is not None and domain.changed)

    # In the loop's thread

    def _run(self) -> None:
        self._guarded(self._work)
        self._save(final=True)
        with self._changed:
            self._resting = True
            self._changed.notify_all()

    def _work(self) -> None:
        with self._learning():
            lower_priority(self.config.nice)
            self._guarded(self._begin)
            self._done()
            while True:
                interaction, closing = self._next()
                if closing:
                    break
                self._guarded(lambda i=interaction: self._turn(i))  # type: ignore[misc]
                self._save()
                self._done()

    def _done(self) -> None:
        with self._changed:
            self._busy = False
            self._changed.notify_all()

    def _begin(self) -> None:
        """What was learned in an earlier life serves from the start."""
        if self._store is not None and self._store.path(self._active).exists():
            self._domain(self._active).changed = True
            self._serve()

    def _next(self) -> tuple[Interaction | None, bool]:
        """The next interaction, or None when it is time for something else."""
        deadline = time.monotonic() + self.config.idle_after_s
        with self._changed:
            while True:
                if self._closing:
                    return None, True
                left = deadline - time.monotonic()
                if self._back:
                    self._busy = True
                    return None, False
                if not self._paused:
                    if self._line:
                        self._busy = True
                        return self._line.popleft(), False
                    if left <= 0 or (self._published_domain is not None and self._published_domain != self._active):
                        self._busy = True
                        return None, False
                elif left <= 0:  # files are saved in a pause too
                    return None, False
                self._rest(max(left, 0.01))

    def _rest(self, timeout: float) -> None:
        """Under the lock: wait for something to do."""
        self._resting = True
        self._changed.notify_all()
        self._changed.wait(timeout)
        self._resting = False

    def _turn(self, interaction: Interaction | None) -> None:
        self._roll_back()
        if interaction is not None:
            domain = self._domain(interaction.domain)
            learn = domain.method.learn_object if interaction.over else domain.method.learn_click
            finished = self._learn(learn(interaction), domain)
            if interaction.over:  # the object's fast copy goes out of service, also if nothing was learned
                domain.changed, domain.fast = domain.changed or domain.fast, False
            self._counts["learned"] += finished
            self._offer(interaction.domain, domain)
        self._serve()

    def _roll_back(self) -> None:
        with self._changed:
            back, self._back = self._back, {}
        for name, weights in back.items():
            domain = self._domain(name)
            domain.method.load_domain(weights)
            domain.changed, self._served = True, {}
            self._counts["rolled_back"] += 1
            self._offer(name, domain)

    def _domain(self, name: str) -> Domain:
        if name not in self._domains:
            method = self._make_method(name)
            try:
                saved = self._store.load(name) if self._store is not None else None
                begin = self._start.get(name) if saved is None else saved
                if begin is not None:
                    method.load_domain(begin)
            except (CheckpointError, ValueError) as error:
                self._unsaved.add(name)
                self._report(error)
            with self._changed:
                self._domains[name] = Domain(method)
        return self._domains[name]

    def _learn(self, reports: Iterator[StepReport], domain: Domain) -> bool:
        """Take all steps. False if the loop is closing; then, and after an exception, half-learned weights go."""
        domain.before = before = domain.method.domain_weights()
        finished = False
        try:
            finished = self._steps(reports, domain)
        finally:
            domain.before = None
            if not finished:
                if isinstance(reports, Generator):
                    reports.close()
                domain.method.load_domain(before)
                domain.changed = True
        return finished

    def _steps(self, reports: Iterator[StepReport], domain: Domain) -> bool:
        """Run micro-steps, one after each time the gate is idle; False if the loop is closing and the rest is left."""
        while self._may_step():
            started = time.perf_counter()
            report = next(reports, None)
            if report is None:
                return True
            with self._changed:
                if report.kind == "gate":
                    self._counts["gate_rejects"] += not report.applied
                    if report.applied:
                        domain.metrics["gate_iou"] = report.loss
                else:
                    self._step_ms.append((time.perf_counter() - started) * 1e3)
                    if report.kind != "lesson":
                        self._counts["steps" if report.applied else "steps_skipped"] += 1
            domain.changed = domain.fast = True  # also a rejected candidate takes the fast copy out of service
        return False

    def _may_step(self) -> bool:
        """Save what is due, wait for the end of a pause and last for the gate; False if the loop is closing."""
        while True:
            self._save()
            with self._changed:
                if self._closing:
                    return False
                if self._paused:
                    self._rest(self.config.max_wait_s)
                    continue
            if self._gate is not None and not self._gate.wait_idle(self.config.max_wait_s, self.config.quiet_s):
                self._counts["steps_under_load"] += 1
            if not self._paused:  # a pause may have begun at the gate
                return not self._closing

    def _serve(self) -> None:
        """Publish the active domain's weights if they are not what serves."""
        if self._in_service():
            return
        name = self._active
        domain = self._domain(name)
        try:
            weights = domain.method.weights()
            if same_weights(weights, self._served):  # a rejected candidate took nothing out of service
                return
            version, self._served = self._publish(weights), weights
            if isinstance(version, int):
                domain.versions["published"] = version
            self._refused = False
        except Exception:
            self._counts["publish_failed"] += 1
            self._refused = True
            raise
        finally:
            with self._changed:  # a decoder that was refused is not offered again until something is learned
                domain.changed = False
                self._published_domain = name
        self._counts["published"] += 1

    def _offer(self, name: str, domain: Domain) -> None:
        counts = domain.method.counts()
        with self._changed:
            domain.counts = counts
        if self._store is not None and name not in self._unsaved:
            self._store.put(name, Learned(domain.to_save, counts, dict(domain.metrics), dict(domain.versions)))

    def _save(self, final: bool = False) -> None:
        if self._store is not None:
            self._guarded(self._store.flush if final else self._store.tick, "save_failed")
            self._counts["saved"] = self._store.saved  # also what was saved beside a failure

    def _guarded(self, action: Callable[[], object], count: str | None = None) -> None:
        """Run something whose failure must neither end the thread nor pass unseen."""
        try:
            action()
        except Exception as error:
            self._report(error, count)

    def _report(self, error: Exception, count: str | None = None) -> None:
        with self._changed:
            self._counts["errors"] += 1
            if count is not None:
                self._counts[count] += 1
            self._last_error = f"{type(error).__name__}: {error}"
        log.error("adaptation failed; the decoder in service is not affected", exc_info=error)
        if self._on_error is not None:
            try:
                self._on_error(error)
            except Exception:
                log.exception("the error callback failed too")


def _unfinished(interaction: Interaction) -> bool:
    return not interaction.over


def _given_up(interaction: Interaction) -> bool:
    return interaction.given_up
