"""The background thread that learns while somebody clicks.

``submit`` hands an interaction over and returns at once: it takes a lock for some appends, never for learning. Learning
happens in micro-steps on the method's own copy of the decoder; before each of them the thread lets clicks pass, so a
click waits for at most the micro-step that is running. What was learned goes out through ``publish``.

What waits is in ``waiting_line``, each domain's method in ``domains``, what serves in ``service``. A domain that does
not serve is learned all the same, and published when ``switch`` makes it the one that does.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from livesam.adapter.learning.domains import Domains
from livesam.adapter.learning.faults import Faults
from livesam.adapter.learning.loop_state import Domain, GivesWay, LoopConfig, LoopStats, lower_priority
from livesam.adapter.learning.service import Service
from livesam.adapter.learning.steps import Steps
from livesam.adapter.learning.waiting_line import WaitingLine, left_out
from livesam.engine.values.errors import AdaptationError
from livesam.engine.values.interaction import Interaction

if TYPE_CHECKING:
    from livesam.engine.values.protocols import DecoderWeights


class AdaptationLoop:
    """Learns from interactions in the background. All public calls are thread-safe."""

    def __init__(
        self,
        domains: Domains,
        publish: Callable[[DecoderWeights], object],
        *,
        right_of_way: GivesWay | None = None,
        config: LoopConfig | None = None,
        on_error: Callable[[Exception], None] | None = None,
        learning: Callable[[], AbstractContextManager[object]] = nullcontext,
        domain: str = "default",
        serving: DecoderWeights | None = None,
    ) -> None:
        """
        Args:
            domains: each domain's method, and where it is saved.
            publish: takes weights and puts them into service; the decoder slot's ``publish``.
            right_of_way: clicks announce themselves here.
            on_error: is told every exception, on the loop's thread.
            learning: a context for the thread's whole life, e.g. a low-priority CUDA stream.
            domain: whose decoder serves first.
            serving: its weights, if they serve already.
        """
        self.config = config or LoopConfig()
        self._domains, self._right_of_way, self._learning = domains, right_of_way, learning
        self._active = domain
        self._back: dict[str, DecoderWeights] = {}  # what domains are to be rolled back to
        self._counts: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._line = WaitingLine(self.config.capacity, self._counts, self.config.waiting_mib << 20)
        known = None if serving is None else domain
        self._service = Service(publish, self._counts, self._changed, known, serving)
        self._faults = Faults(on_error, self._counts, self._changed)
        self._steps = Steps(self._may_step, self._counts, self._changed)
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
            self._line.put(interaction)
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
        """Wait until everything that was submitted, and not left out, is learned and in service.

        Returns:
            False after ``timeout`` seconds, and when what was learned could not be published: then the decoder of
            before serves, and ``stats().last_error`` says why.
        """
        with self._changed:
            return self._changed.wait_for(self._nothing_left, timeout) and not self._service.refused

    def finish(self, timeout: float | None = None) -> bool:
        """Drop what waits but the accepted objects, learn those, and return as ``wait`` does. Ends a pause."""
        with self._changed:
            self._line.clear(keep_accepted=True)
        self.resume()
        return self.wait(timeout)

    def close(self, timeout: float | None = 10.0) -> bool:
        """Stop after the running micro-step, drop what waits, save what is learned. False if that took too long."""
        with self._changed:
            self._closing = True
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
            return LoopStats(
                domain=self._active,
                waiting=len(self._line),
                counts=dict(self._counts),
                methods=self._domains.counts(),
                step_ms=self._steps.durations_ms(),
                last_error=self._faults.last or left_out(self._counts["left_out"]),
                paused=self._paused,
                running=self._thread is not None and self._thread.is_alive(),
                refused=tuple(self._steps.refused),
            )

    # In the caller's thread, under the lock

    def _nothing_left(self) -> bool:
        return not (self._line or self._back or self._busy) and self._in_service()

    def _in_service(self) -> bool:
        return self._service.has(self._active, self._domains.find(self._active))

    # In the loop's thread

    def _run(self) -> None:
        self._faults.guarded(self._work)
        self._save(final=True)
        with self._changed:
            self._resting = True
            self._changed.notify_all()

    def _work(self) -> None:
        with self._learning():
            lower_priority(self.config.nice)
            self._faults.guarded(self._begin)
            self._done()
            while True:
                interaction, closing = self._next()
                if closing:
                    break
                self._faults.guarded(lambda i=interaction: self._turn(i))  # type: ignore[misc]
                self._save()
                self._done()

    def _done(self) -> None:
        with self._changed:
            self._busy = False
            self._changed.notify_all()

    def _begin(self) -> None:
        """What was learned in an earlier life serves from the start."""
        if self._domains.kept(self._active):
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
                        return self._line.take(), False
                    if left <= 0 or self._service.domain not in (None, self._active):
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
            finished = self._steps.learn(learn(interaction), domain)
            if interaction.over:  # the object's fast copy goes out of service, also if nothing was learned
                domain.changed, domain.fast = domain.changed or domain.fast, False
            self._counts["learned"] += finished
            self._domains.offer(interaction.domain)
        self._serve()

    def _roll_back(self) -> None:
        with self._changed:
            back, self._back = self._back, {}
        for name, weights in back.items():
            domain = self._domain(name)
            domain.method.load_domain(weights)
            domain.changed = True
            self._service.forget()
            self._counts["rolled_back"] += 1
            self._domains.offer(name)

    def _domain(self, name: str) -> Domain:
        return self._domains.get(name, self._faults.report)

    def _may_step(self) -> bool:
        """Save what is due, wait for the end of a pause, and last let clicks pass; False if the loop is closing."""
        while True:
            self._save()
            with self._changed:
                if self._closing:
                    return False
                if self._paused:
                    self._rest(self.config.max_wait_s)
                    continue
            way, limits = self._right_of_way, (self.config.max_wait_s, self.config.quiet_s)
            if way is not None and not way.wait_idle(*limits):
                self._counts["steps_under_load"] += 1
            if not self._paused:  # a pause may have begun meanwhile
                return not self._closing

    def _serve(self) -> None:
        """Publish the active domain's weights if they are not what serves."""
        if self._in_service():
            return
        name = self._active
        self._service.take(name, self._domain(name))

    def _save(self, final: bool = False) -> None:
        if self._domains.saved is not None:
            self._faults.guarded(lambda: self._domains.save(final), "save_failed")
            self._counts["saved"] = self._domains.saved  # also what was saved beside a failure
