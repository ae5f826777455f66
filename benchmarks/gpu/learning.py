"""Clicks on a device while the learner trains beside them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from livesam.adapter.learning.learner import learn
from livesam.benchmarks.latency.samples import learning_ratios
from livesam.benchmarks.latency.stream import Pace, click_stream
from livesam.benchmarks.latency.targets import SessionTarget
from livesam.benchmarks.latency.turns import Entrant, run_turns

if TYPE_CHECKING:
    from livesam.engine.session.session import Session


def clicks_beside_a_learner(
    session: Session,
    model: str,
    image: npt.NDArray[np.uint8],
    device: str,
    *,
    clicks: int = 80,
    think_ms: float = 250.0,  # beyond the loop's quiet_s, or nothing would be learned
    method: str = "live",
) -> dict[str, Any]:
    """The same click stream without and with the learner, in turns; it learns on a low-priority stream if there is one.

    The learner waits while the turns without it last, and is told of their clicks all the same.
    """
    session.set_image(image)
    events = click_stream(clicks, pace=Pace(think_ms=think_ms))
    target, image_hw = SessionTarget(session, model), session.embedding.original_hw
    with learn(session, method, device=device) as learner:

        def pause() -> bool:
            return learner.pause(None)

        pause()
        off, on = run_turns([Entrant(target), Entrant(target, "on", None, learner.resume, pause)], events, image_hw)
        learner.resume()
        stats = asdict(learner.stats())
    return {
        "off": off.to_json(),
        "on": on.to_json(),
        "ratios": learning_ratios([off, on]),
        "method": method,
        "learner": stats,
    }
