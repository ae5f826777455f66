"""How the adaptation loop behaves, and what it says of itself."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
from livesam.adapter.method import AdaptationMethod

if TYPE_CHECKING:
    from livesam.engine.values.protocols import DecoderWeights


class GivesWay(Protocol):
    """What the loop needs of ``livesam.engine.serving.right_of_way.RightOfWay``."""

    def wait_idle(self, timeout: float | None = None, quiet_s: float = 0.0) -> bool:
        """Wait until no click was being answered for ``quiet_s``; False if that took longer than ``timeout``."""
        ...


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """How the loop behaves.

    Attributes:
        capacity: interactions that may wait; accepted objects wait beyond it.
        waiting_mib: that all of them may hold; then the accepted ones that have waited longest are left out, too.
        max_wait_s: under clicks that never pause for ``quiet_s``, one micro-step is taken after this time all the same.
        quiet_s: so long after the last answer no micro-step begins: the clicks of a burst or a hovering mouse come one
            upon the other, and find the decoder still in the processor's caches.
        idle_after_s: so long after the last interaction files that are due are saved.
        nice: what is added to the thread's niceness, where the system has it.
    """

    capacity: int = 16
    waiting_mib: int = 256
    max_wait_s: float = 2.0
    quiet_s: float = 0.1
    idle_after_s: float = 1.0
    nice: int = 19

    def __post_init__(self) -> None:
        if min(self.capacity, self.waiting_mib) < 1 or self.max_wait_s <= 0 or self.quiet_s < 0:
            raise ValueError(
                f"capacity and waiting_mib must be at least 1, max_wait_s above 0 and quiet_s not below, got {self}"
            )


@dataclass(slots=True)
class Domain:
    """What the loop knows of one domain."""

    method: AdaptationMethod
    before: DecoderWeights | None = None  # while it learns: the domain weights that it began with
    counts: dict[str, int] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)  # of the last candidate that passed the gate
    versions: dict[str, int] = field(default_factory=dict)  # of the slot, where ``publish`` tells them
    changed: bool = False  # not yet published
    fast: bool = False  # has learned from the object at hand

    def to_save(self) -> DecoderWeights:
        """The domain weights; while they are being changed, those before."""
        return self.method.domain_weights() if self.before is None else self.before


@dataclass(frozen=True, slots=True)
class LoopStats:
    """A moment of the loop.

    Attributes:
        domain: whose decoder is published.
        waiting: interactions in line.
        counts: ``received``, ``learned``, ``replaced``, ``dropped``, ``left_out``, ``steps``, ``steps_skipped``,
            ``steps_under_load``, ``gate_rejects``, ``published``, ``publish_failed``, ``saved``, ``save_failed``,
            ``errors``, ``rolled_back``.
        methods: each domain's own counts.
        step_ms: median and largest duration of the last 256 micro-steps; None before the first.
        last_error: the latest exception, as text; else how many accepted objects were left out, if any.
        refused: when (Unix time) and why the guard refused a step or a candidate; the last 32.
        paused, running: what the thread does.
    """

    domain: str
    waiting: int
    counts: dict[str, int]
    methods: dict[str, dict[str, int]]
    step_ms: tuple[float, float] | None
    last_error: str | None
    paused: bool
    running: bool
    refused: tuple[tuple[float, str], ...] = ()


def same_weights(one: DecoderWeights, other: DecoderWeights) -> bool:
    """Whether two decoders are equal, number by number."""
    return one.keys() == other.keys() and all(np.array_equal(value, other[name]) for name, value in one.items())


def lower_priority(nice: int) -> None:
    """Make the calling thread nicer, where the system lets threads have a niceness of their own (Linux).

    The lowest, 19, also gets the kernel's class for what may run when nothing else wants to: who is only nice goes on
    to the end of its time slice, some 4 ms of a click's.
    """
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)
        if nice == 19:
            os.sched_setscheduler(threading.get_native_id(), os.SCHED_IDLE, os.sched_param(0))
