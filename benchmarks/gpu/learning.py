"""Clicks on a device while the learner trains beside them."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from typing import Any

from livesam.adapter.learning.learner import learn
from livesam.adapter.learning.loop_state import LoopConfig
from livesam.benchmarks.gpu.model_bench import ModelBench
from livesam.benchmarks.latency.samples import learning_ratios
from livesam.benchmarks.latency.stream import Pace, click_stream
from livesam.benchmarks.latency.targets import SessionTarget
from livesam.benchmarks.latency.turns import Entrant, run_turns
from livesam.engine.view.look import PLAIN

# A person pauses far longer; so close together there are enough clicks for a p99 within seconds. The learner begins
# sooner in each gap than it does for a person (0.1 s), else it would learn nothing.
PACE = Pace(think_ms=45, think_spread=0.2, burst_share=0.0, hover_share=0.0)
LOOP = LoopConfig(quiet_s=0.01)


class _Enough(Exception):
    """Leaves the learner's block without learning first what still waits."""


def clicks_beside_a_learner(bench: ModelBench, method: str = "live") -> dict[str, Any]:
    """The same clicks without and with the learner, in turns; it learns on a low-priority stream if there is one.

    The learner waits while the turns without it last, and is told of their clicks all the same.
    """
    session = bench.session
    session.look = PLAIN
    session.set_image(bench.small)
    events = click_stream(bench.effort.events, pace=PACE)
    target, image_hw = SessionTarget(session, bench.model), session.embedding.original_hw
    base = session.slot.weights(session.slot.current)
    found: dict[str, Any] = {"method": method, "think_ms": PACE.think_ms, "quiet_ms": LOOP.quiet_s * 1e3}
    with contextlib.suppress(_Enough), learn(session, method, device=bench.device, config=LOOP) as learner:

        def pause() -> bool:
            return learner.pause(None)

        pause()
        off, on = run_turns([Entrant(target), Entrant(target, "on", None, learner.resume, pause)], events, image_hw)
        found |= {"off": off.to_json(), "on": on.to_json(), "ratios": learning_ratios([off, on])}
        found["learner"] = asdict(learner.stats())
        raise _Enough
    session.slot.publish(base)  # for the sections to come
    return found
