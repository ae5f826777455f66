"""From a click in the page to its mask on the screen, with learning on."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import numpy as np
from livesam.benchmarks.page.browser import Visitor, browser
from livesam.benchmarks.serving.served import Served

WARM_UP = 10  # clicks that are not counted
CLICKS_AN_OBJECT = 4
PAUSE_S = 0.6  # between two clicks


def measure(work: Path, count: int, seed: int = 0) -> dict[str, Any]:
    """Click through the sample photos and accept every fourth mask, so that there is something to learn from.

    A sample begins with the browser's time stamp of the released button, and ends in the first task after the frame in
    which the mask was drawn.

    Args:
        work: an empty folder.
        count: clicks that are counted.
    """
    chance = random.Random(seed)
    with Served(None, work / "out") as served, browser() as chrome, chrome.visit(served.url) as visitor:
        visitor.settled()
        samples: list[float] = []
        done = 0
        while done < WARM_UP + count:
            for x, y in places(chance, visitor):
                visitor.click(x, y)
                if done >= WARM_UP:
                    samples.append(newest(visitor))
                done += 1
                time.sleep(PAUSE_S)
            visitor.key("Enter" if visitor.painted() is not None else "Escape")
            if done % (2 * CLICKS_AN_OBJECT) == 0:
                visitor.key("d")
        learned = served.json("/api/learning")
    return {
        "clicks": len(samples),
        "painted_ms": {f"p{q}": float(np.percentile(samples, q)) for q in (50, 95, 99)},
        "server_ms": learned["latency_ms"],
        "published": learned["published"],
        "samples_ms": [round(one, 2) for one in samples],
    }


def places(chance: random.Random, visitor: Visitor) -> list[tuple[int, int]]:
    """Of one object: near each other, in the inner part of the image."""
    width, height = visitor.ask("window.__livesam.size()")
    x, y = chance.uniform(0.2, 0.8) * width, chance.uniform(0.2, 0.8) * height
    apart = 0.08 * min(width, height)
    return [
        (round(x + chance.uniform(-apart, apart)), round(y + chance.uniform(-apart, apart)))
        for _ in range(CLICKS_AN_OBJECT)
    ]


def newest(visitor: Visitor) -> float:
    """The last click's latency; it is there a task after the mask."""
    visitor.until("!window.__livesam.painting()")
    return float(visitor.ask("window.__livesam.latencies().at(-1)"))


def lines(result: dict[str, Any]) -> list[str]:
    """For people."""
    painted, server = result["painted_ms"], result["server_ms"]
    return [
        f"{result['clicks']} clicks, {result['published']} decoders published meanwhile",
        f"click to painted mask: p50 {painted['p50']:.1f} ms, p95 {painted['p95']:.1f} ms, p99 {painted['p99']:.1f} ms",
        f"of that in the server: p50 {server['p50']:.1f} ms, p95 {server['p95']:.1f} ms",
    ]
