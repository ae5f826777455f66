"""Click latency under a person's click stream, with learning off and on, and the same stream through peers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
from livesam.benchmarks.stream import Event

Learning = Literal["on", "off"]
Progress = Callable[[int, int], None]


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


@dataclass(frozen=True, slots=True)
class LatencySample:
    """One answered event.

    Attributes:
        latency_ms: from the call to the answer, on the caller's clock.
        late_ms: how much later than due the call was made, because the answer before it was still being worked on.
        stages_ms: what the answer says about where its time went.
    """

    index: int
    kind: str
    latency_ms: float
    late_ms: float
    stages_ms: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class LatencyRun:
    """All samples of one stream through one target."""

    model: str
    runtime: str
    learning: Learning
    samples: tuple[LatencySample, ...]
    peer: str | None = None
    warmup: int = 0
    notes: Mapping[str, object] = field(default_factory=dict)

    @property
    def latencies_ms(self) -> npt.NDArray[np.float64]:
        """Latency of every sample, in the stream's order."""
        return np.array([sample.latency_ms for sample in self.samples])

    def percentile_ms(self, percent: float) -> float:
        """Latency that ``percent`` per cent of the samples do not exceed."""
        return float(np.percentile(self.latencies_ms, percent))

    def stages_ms(self, percent: float = 50.0) -> dict[str, float]:
        """The given percentile of every stage that the answers name."""
        names = dict.fromkeys(name for sample in self.samples for name in sample.stages_ms)
        return {
            name: float(np.percentile([s.stages_ms[name] for s in self.samples if name in s.stages_ms], percent))
            for name in names
        }

    def to_json(self) -> dict[str, object]:
        """The run's summary; ``late_p95_ms`` tells how far the stream ran behind the user."""
        return {
            "model": self.model,
            "runtime": self.runtime,
            "learning": self.learning,
            "clicks": len(self.samples),
            "p50_ms": round(self.percentile_ms(50), 3),
            "p95_ms": round(self.percentile_ms(95), 3),
            "p99_ms": round(self.percentile_ms(99), 3),
            "max_ms": round(self.percentile_ms(100), 3),
            "stages_ms": {name: round(value, 3) for name, value in self.stages_ms().items()},
            "stages_p95_ms": {name: round(value, 3) for name, value in self.stages_ms(95).items()},
            "late_p95_ms": round(float(np.percentile([s.late_ms for s in self.samples], 95)), 3),
            "peer": self.peer,
            "warmup": self.warmup,
            **self.notes,
        }

    def raw(self) -> Iterable[dict[str, object]]:
        """Every sample as a JSON object, for a file of JSON lines."""
        for sample in self.samples:
            yield {
                "model": self.model,
                "runtime": self.runtime,
                "learning": self.learning,
                "peer": self.peer,
                "index": sample.index,
                "kind": sample.kind,
                "latency_ms": round(sample.latency_ms, 4),
                "late_ms": round(sample.late_ms, 4),
                "stages_ms": {name: round(value, 4) for name, value in sample.stages_ms.items()},
            }


def run_stream(
    target: ClickTarget,
    events: Sequence[Event],
    image_hw: tuple[int, int],
    *,
    learning: Learning = "off",
    peer: str | None = None,
    warmup: int | None = None,
    progress: Progress | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> LatencyRun:
    """Send the stream to the target at the user's pace and measure every answer.

    The first answers of a runtime are slower (allocation, kernel choice), so ``warmup`` clicks and previews go ahead
    unmeasured: 8 of each, or as many as the stream is long.

    Args:
        target: answers on an image of ``image_hw`` that it has already encoded.
        progress: called with (answered, all).
        sleep: waits for the given seconds; a test may skip the waiting.

    Raises:
        ValueError: the stream is empty.
    """
    if not events:
        raise ValueError("the click stream is empty")
    height, width = image_hw
    warmup = min(8, len(events)) if warmup is None else warmup
    for i in range(warmup):
        if i % 4 == 0:
            target.next_object()
        target.click(width * 0.5, height * 0.5, True)
        target.hover(width * 0.4, height * 0.6)
    target.next_object()

    samples: list[LatencySample] = []
    start = time.perf_counter()
    for index, event in enumerate(events):
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
        samples.append(LatencySample(index, event.kind, (answered - called) * 1e3, late_ms, dict(stages)))
        if progress is not None:
            progress(index + 1, len(events))
    return LatencyRun(target.model, target.runtime, learning, tuple(samples), peer, warmup)


def learning_ratios(runs: Sequence[LatencyRun]) -> dict[str, float] | None:
    """p50 and p99 with learning over those without, of our own runs; ``None`` unless both were run."""
    ours = {run.learning: run for run in runs if run.peer is None}
    if len(ours) < 2:
        return None
    return {
        f"p{percent}": round(ours["on"].percentile_ms(percent) / ours["off"].percentile_ms(percent), 4)
        for percent in (50, 95, 99)
    }


def peer_ratios(runs: Sequence[LatencyRun]) -> dict[str, float]:
    """How many times longer each peer's median click takes than ours with learning off."""
    ours = next((run for run in runs if run.peer is None and run.learning == "off"), None)
    if ours is None:
        return {}
    base = ours.percentile_ms(50)
    return {run.peer: round(run.percentile_ms(50) / base, 3) for run in runs if run.peer is not None}


def report(
    runs: Sequence[LatencyRun], environment: Mapping[str, object], stream: Mapping[str, object]
) -> dict[str, object]:
    """Everything but the raw samples, as one JSON object."""
    return {
        "environment": dict(environment),
        "stream": dict(stream),
        "runs": [run.to_json() for run in runs if run.peer is None],
        "peers": [run.to_json() for run in runs if run.peer is not None],
        "learning_ratios": learning_ratios(runs),
        "peer_ratios": peer_ratios(runs),
    }
