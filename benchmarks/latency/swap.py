"""What it costs to put new decoder weights into service, and what clicks feel of it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from livesam.engine.values.protocols import DecoderWeights

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class TimedClick:
    """One click: when it was made, how long it took and how long of that it waited for a decoder; seconds and ms."""

    start_s: float
    latency_ms: float
    wait_ms: float

    @property
    def end_s(self) -> float:
        return self.start_s + self.latency_ms / 1e3


@dataclass(frozen=True)
class SwapRun:
    """Publishing ``swap_ms.size`` times from a niced thread, under clicks without a pause.

    Attributes:
        swap_ms: from new weights at hand to the version that serves them, checks and warm-up included.
        first_ms: the very first swap, which also makes the second decoder and whatever the checks need.
        during: clicks that a swap overlapped.
        apart: clicks that none did, and the clicks before the first.
    """

    model: str
    runtime: str
    swap_ms: npt.NDArray[np.float64]
    first_ms: float
    during: tuple[TimedClick, ...]
    apart: tuple[TimedClick, ...]

    def to_json(self) -> dict[str, object]:
        """The summary; ``stall_ms`` is the longest wait for a decoder of any click that a swap overlapped.

        It holds what the system does to the clicking thread too. Under swaps without a pause (ONNX Runtime, two vCPUs,
        Linux with 250 ticks a second) 7 of 518,781 leases took more than 0.5 ms, at most 4.1; in 6 of the 7 the kernel
        had given the processor to another thread, and a tick is 4 ms. ``waits_over_2_ms`` counts them.
        """
        return {
            "model": self.model,
            "runtime": self.runtime,
            "swaps": int(self.swap_ms.size),
            "swap_ms": spread(self.swap_ms),
            "first_ms": round(self.first_ms, 4),
            "clicks": {"apart": len(self.apart), "during": len(self.during)},
            "click_apart_ms": spread([click.latency_ms for click in self.apart]),
            "click_during_ms": spread([click.latency_ms for click in self.during]),
            "wait_ms": spread([click.wait_ms for click in self.during]),
            "waits_over_2_ms": sum(click.wait_ms > 2 for click in self.during),
            "stall_ms": round(max((click.wait_ms for click in self.during), default=0.0), 4),
        }


def spread(values: Sequence[float] | npt.NDArray[np.float64]) -> dict[str, float]:
    """p50, p95, p99 and max, in the values' unit; empty when there are none."""
    if len(values) == 0:
        return {}
    points = np.percentile(np.asarray(values), [50, 95, 99, 100])
    return {name: round(float(point), 4) for name, point in zip(("p50", "p95", "p99", "max"), points, strict=True)}


def run_swaps(
    click: Callable[[], Mapping[str, float]],
    publish: Callable[[DecoderWeights], int],
    variants: Sequence[DecoderWeights],
    *,
    model: str,
    runtime: str,
    swaps: int = 50,
    gap_s: float = 0.05,
    progress: Progress | None = None,
) -> SwapRun:
    """Publish the variants in turn, ``gap_s`` apart, from a niced thread, under clicks without a pause; all are timed.

    The first swap comes before the clicks and is told apart: it makes the second decoder.

    Args:
        click: one click; returns its stages in milliseconds, of which ``wait`` is looked at.
        publish: puts weights into service and returns the version.
        variants: at least two sets of weights, so that each swap changes something.

    Raises:
        ValueError: fewer than two variants, or no swap.
        Exception: whatever a click or a swap raised; none is dropped.
    """
    if len(variants) < 2 or swaps < 1:
        raise ValueError(f"a swap run needs two sets of weights and a swap, got {len(variants)} and {swaps}")
    for _ in range(5):
        click()
    started = time.perf_counter()
    publish(variants[-1])
    first_ms = (time.perf_counter() - started) * 1e3
    clicks: list[TimedClick] = []
    publishing = _Publishing(publish, variants, swaps, gap_s, progress)
    publishing.start()
    try:
        while not publishing.done.is_set():
            start = time.perf_counter()
            stages = click()
            latency_ms = (time.perf_counter() - start) * 1e3
            clicks.append(TimedClick(start, latency_ms, float(stages.get("wait", 0.0))))
    finally:
        publishing.done.set()
        publishing.join()
    if publishing.failure is not None:
        raise publishing.failure
    spans = publishing.spans
    during, apart = _divide(clicks, spans)
    swap_ms = np.array([(end - start) * 1e3 for start, end in spans])
    return SwapRun(model, runtime, swap_ms, first_ms, during, apart)


class _Publishing(threading.Thread):
    """Publishes the variants in turn until all swaps are made, ``done`` is set, or one fails."""

    def __init__(
        self,
        publish: Callable[[DecoderWeights], int],
        variants: Sequence[DecoderWeights],
        swaps: int,
        gap_s: float,
        progress: Progress | None,
    ) -> None:
        super().__init__(name="livesam-bench-swaps")
        self._publish, self._variants, self._swaps = publish, variants, swaps
        self._gap_s, self._progress = gap_s, progress
        self.spans: list[tuple[float, float]] = []  # seconds, from and to
        self.failure: BaseException | None = None
        self.done = threading.Event()

    def run(self) -> None:
        with suppress(OSError, AttributeError):  # as the learner's thread is; Linux niceness is a thread's own
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        try:
            for i in range(self._swaps):
                # At first clicks without any swap, to compare with.
                if self.done.wait(self._gap_s if i else 10 * self._gap_s):
                    return
                start = time.perf_counter()
                self._publish(self._variants[i % len(self._variants)])
                self.spans.append((start, time.perf_counter()))
                if self._progress is not None:
                    self._progress(i + 1, self._swaps)
        except BaseException as error:
            self.failure = error
        finally:
            self.done.set()


def perturbed(
    weights: DecoderWeights, share: float = 1e-3, seed: int = 0, *, parts: tuple[str, ...] = ("",)
) -> dict[str, npt.NDArray[np.float32]]:
    """A copy with noise of ``share`` of each tensor's spread: as far away as a few learning steps.

    Args:
        parts: how the names of the tensors begin that are changed; all when not given.
    """
    rng = np.random.default_rng(seed)
    changed = {name: value.copy() for name, value in weights.items()}
    for name, value in changed.items():
        if name.startswith(parts):
            value += share * (float(value.std()) or 1e-3) * rng.standard_normal(value.shape, dtype=np.float32)
    return changed


def _divide(
    clicks: Sequence[TimedClick], spans: Sequence[tuple[float, float]]
) -> tuple[tuple[TimedClick, ...], tuple[TimedClick, ...]]:
    during: list[TimedClick] = []
    apart: list[TimedClick] = []
    for click in clicks:
        overlaps = any(click.start_s < end and start < click.end_s for start, end in spans)
        (during if overlaps else apart).append(click)
    return tuple(during), tuple(apart)
