"""A person's click stream through several targets, which take turns, so that a slow minute falls on all of them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from livesam.benchmarks.latency.samples import LatencyRun, LatencySample, Learning
from livesam.benchmarks.latency.stream import Event

Progress = Callable[[int, int], None]

TURN = 12  # events, at least: three objects, some five seconds of a user; hover sweeps make it 18 in the mean


class ClickTarget(Protocol):
    """Whatever answers clicks: a session of ours, or a peer."""

    @property
    def model(self) -> str: ...

    @property
    def runtime(self) -> str: ...

    def next_object(self) -> None:
        """Accept what is there and start over on the same image."""
        ...

    def click(self, x: float, y: float, positive: bool) -> Mapping[str, float]:
        """One more click of the object, in pixels; returns the stages in milliseconds, as far as they are known."""
        ...

    def hover(self, x: float, y: float) -> Mapping[str, float]:
        """A preview of one positive click; nothing is kept."""
        ...


def _nothing() -> None:
    """Nothing works in the background."""


@dataclass(frozen=True, slots=True)
class Entrant:
    """A target in the run.

    Attributes:
        learning: whether it learns from what it is told.
        peer: the name of another's program; None for ours.
        resume, pause: called before and after each of its turns, so that nothing of it runs in those of others.
    """

    target: ClickTarget
    learning: Learning = "off"
    peer: str | None = None
    resume: Callable[[], object] = _nothing
    pause: Callable[[], object] = _nothing

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        self.resume()
        try:
            yield
        finally:
            self.pause()


def run_turns(
    entrants: Sequence[Entrant],
    events: Sequence[Event],
    image_hw: tuple[int, int],
    *,
    turn: int = TURN,
    warmup: int | None = None,
    progress: Progress | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> list[LatencyRun]:
    """Send the stream to every entrant at the user's pace and measure every answer; one run an entrant, in their order.

    The stream is divided into turns of whole objects. Each entrant gets a turn's events, then the next entrant gets the
    same ones; who begins changes from turn to turn. A turn begins with the pause that the stream has there.

    The first answers of a runtime are slower (allocation, kernel choice), so ``warmup`` clicks and previews go ahead
    unmeasured: 8 of each, or as many as the stream is long.

    Args:
        entrants: answer on an image of ``image_hw`` that they have already encoded.
        turn: the least number of events in one, but for the last.
        progress: called with (answered, all), counted over all entrants.
        sleep: waits for the given seconds; a test may skip the waiting.

    Raises:
        ValueError: the stream is empty.
    """
    if not events:
        raise ValueError("the click stream is empty")
    warmup = min(8, len(events)) if warmup is None else warmup
    for entrant in entrants:
        with entrant.turn():
            _warm_up(entrant.target, image_hw, warmup)

    samples: list[list[LatencySample]] = [[] for _ in entrants]
    answered, due_s = 0, 0.0
    for number, (first, part) in enumerate(_turns(events, turn)):
        for place in range(len(entrants)):
            which = (place + number) % len(entrants)
            with entrants[which].turn():
                for sample in _answers(entrants[which].target, part, first, due_s, image_hw, sleep):
                    samples[which].append(sample)
                    answered += 1
                    if progress is not None:
                        progress(answered, len(events) * len(entrants))
        due_s = part[-1].due_s
    return [
        LatencyRun(one.target.model, one.target.runtime, one.learning, tuple(found), one.peer, warmup)
        for one, found in zip(entrants, samples, strict=True)
    ]


def _warm_up(target: ClickTarget, image_hw: tuple[int, int], count: int) -> None:
    height, width = image_hw
    for i in range(count):
        if i % 4 == 0:
            target.next_object()
        target.click(width * 0.5, height * 0.5, True)
        target.hover(width * 0.4, height * 0.6)
    target.next_object()


def _turns(events: Sequence[Event], least: int) -> Iterator[tuple[int, Sequence[Event]]]:
    """The stream in parts that begin with a new object, and where in the stream each begins."""
    first = 0
    for index, event in enumerate(events):
        if event.new_object and index - first >= least:
            yield first, events[first:index]
            first = index
    yield first, events[first:]


def _answers(
    target: ClickTarget,
    events: Sequence[Event],
    first: int,
    began_s: float,
    image_hw: tuple[int, int],
    sleep: Callable[[float], None],
) -> Iterator[LatencySample]:
    """One turn; ``began_s`` is where in the stream it begins, ``first`` the index of its first event."""
    height, width = image_hw
    start = time.perf_counter() - began_s
    for index, event in enumerate(events, first):
        ahead = start + event.due_s - time.perf_counter()
        if ahead > 0:
            sleep(ahead)
        if event.new_object:
            target.next_object()
        x, y = event.x * width, event.y * height
        called = time.perf_counter()
        stages = target.hover(x, y) if event.kind == "hover" else target.click(x, y, event.positive)
        answered = time.perf_counter()
        late_ms = max(0.0, (called - start - event.due_s) * 1e3)
        yield LatencySample(index, event.kind, (answered - called) * 1e3, late_ms, dict(stages))
