"""From a click in the page to its mask on the screen, with learning on."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from livesam.benchmarks.page.browser import Visitor, browser
from livesam.benchmarks.serving.served import Served

WARM_UP = 10  # clicks that are not counted
CLICKS_AN_OBJECT = 4
PAUSE_S = 0.6  # between two clicks

Sample: TypeAlias = dict[str, float]

STAGES = {
    "send": "released button until the question is sent",
    "wire": "to the server and back, with what both wait for the processor",
    "pressed": "server: the answer while the button was down; no part of the others",
    "queue": "server: until its thread begins, and around the answer",
    "zoom": "server: a window of the image encoded",
    "wait": "server: for the decoder",
    "decode": "server",
    "edges": "server",
    "obey": "server",
    "postprocess": "server: the mask at full size",
    "pack": "server: its bits",
    "server": "all of the server's",
    "unpack": "page: the mask's bits",
    "frame": "page: until the browser's next frame",
    "draw": "page: masks and clicks drawn",
    "paint": "page: until the browser has painted them",
    "total": "from the released button to the painted mask",
}


def measure(work: Path, count: int, held_s: float = 0.0, seed: int = 0) -> dict[str, Any]:
    """Click through the sample photos and accept every fourth mask, so that there is something to learn from.

    A sample begins with the browser's time stamp of the released button, and ends in the first task after the frame in
    which the mask was drawn.

    Args:
        work: an empty folder.
        count: clicks that are counted.
        held_s: the button is down for so long, in which the server may think already.
    """
    chance = random.Random(seed)
    with Served(None, work / "out") as served, browser() as chrome, chrome.visit(served.url) as visitor:
        visitor.settled()
        samples: list[Sample] = []
        done = 0
        while done < WARM_UP + count:
            for x, y in places(chance, visitor):
                visitor.click(x, y, held_s=held_s)
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
        "held_ms": held_s * 1e3,
        "published": learned["published"],
        "stages": by_stage(samples),
        "samples": [{name: round(took, 2) for name, took in sample.items()} for sample in samples],
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


def newest(visitor: Visitor) -> Sample:
    """The last click's milliseconds, stage by stage; they are there when it is settled."""
    sample: Sample = visitor.ask("window.__livesam.latencies().at(-1)")
    return sample


def by_stage(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """Of each stage, in the order of a click: its name, p50, p95, and mean; a click without it counts as 0."""
    found = []
    for name in STAGES:
        times = [sample.get(name, 0.0) for sample in samples]
        p50, p95 = np.percentile(times, [50, 95])
        found.append({"stage": name, "p50": float(p50), "p95": float(p95), "mean": float(np.mean(times))})
    return found


def lines(result: dict[str, Any]) -> list[str]:
    """For people."""
    rows = [
        f"{result['clicks']} clicks, the button down for {result['held_ms']:g} ms, {result['published']} decoders "
        "published meanwhile; milliseconds:"
    ]
    rows.append(f"{'':12} {'p50':>7} {'p95':>7} {'mean':>7}")
    rows += [
        f"{one['stage']:12} {one['p50']:7.1f} {one['p95']:7.1f} {one['mean']:7.1f}  {STAGES[one['stage']]}"
        for one in result["stages"]
    ]
    return rows
