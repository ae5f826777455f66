"""What was measured of a click stream: every answer, percentiles, and how learning and peers compare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

Learning = Literal["on", "off"]


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
