from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from livesam.benchmarks.latency.stream import Event, click_stream
from livesam.benchmarks.latency.turns import Entrant, run_turns


class Recorder:
    """Answers at once and remembers what it was asked."""

    model = "toy"
    runtime = "toy:cpu"

    def __init__(self, name: str = "", log: list[str] | None = None) -> None:
        self.asked: list[tuple[str, float, float]] = []
        self.objects = 0
        self.name, self.log = name, [] if log is None else log

    def next_object(self) -> None:
        self.objects += 1

    def click(self, x: float, y: float, positive: bool) -> Mapping[str, float]:
        self.asked.append(("click", x, y))
        self.log.append(self.name)
        return {"decode": 2.0, "wait": 0.5}

    def hover(self, x: float, y: float) -> Mapping[str, float]:
        self.asked.append(("hover", x, y))
        self.log.append(self.name)
        return {"decode": 1.0}


def test_every_event_is_sent_in_pixels_and_measured() -> None:
    target, events, waits = Recorder(), click_stream(40), []
    seen: list[tuple[int, int]] = []
    (run,) = run_turns(
        [Entrant(target)],
        events,
        (50, 100),
        turn=8,
        warmup=3,
        sleep=waits.append,
        progress=lambda done, all_: seen.append((done, all_)),
    )
    sent = target.asked[6:]  # three warm-up rounds of a click and a hover
    assert sent == [(event.kind, event.x * 100, event.y * 50) for event in events]
    assert [sample.index for sample in run.samples] == list(range(40))
    assert [sample.kind for sample in run.samples] == [event.kind for event in events]
    assert waits  # it waited for the user, or it would be a load test
    assert max(waits) <= events[-1].due_s
    assert target.objects == 2 + sum(event.new_object for event in events)
    assert seen == [(done, 40) for done in range(1, 41)]
    assert (run.learning, run.peer, run.warmup) == ("off", None, 3)


def test_entrants_take_turns_of_whole_objects_and_nothing_runs_between() -> None:
    log: list[str] = []
    targets = [Recorder(name, log) for name in "abc"]
    entrants = [
        Entrant(target, "on" if target.name == "b" else "off", "c" if target.name == "c" else None, *calls)
        for target, calls in (
            (target, (lambda n=target.name: log.append(f"{n}+"), lambda n=target.name: log.append(f"{n}-")))
            for target in targets
        )
    ]
    events = click_stream(60)
    runs = run_turns(entrants, events, (10, 10), turn=20, warmup=0, sleep=lambda s: None)
    assert [(run.learning, run.peer) for run in runs] == [("off", None), ("on", None), ("off", "c")]
    assert targets[0].asked == targets[1].asked == targets[2].asked
    assert len(targets[0].asked) == 60
    assert log[:6] == ["a+", "a-", "b+", "b-", "c+", "c-"]  # to warm up
    turns = "".join(log[6:]).replace("-", "- ").split()
    assert all(set(turn) == {turn[0], "+", "-"} for turn in turns)
    assert [turn[0] for turn in turns] == ["a", "b", "c", "b", "c", "a", "c", "a", "b"][: len(turns)]
    lengths = [turn.count(turn[0]) - 2 for turn in turns]
    begins = [0]
    for length in lengths[::3]:
        assert lengths.count(length) >= 3
        begins.append(begins[-1] + length)
    assert begins[-1] == 60
    assert all(events[begin].new_object for begin in begins[:-1])
    assert all(length >= 20 for length in lengths[:-3])


def test_a_turn_begins_with_the_pause_that_the_stream_has_there() -> None:
    waits: list[float] = []
    events = [Event(due_s, "click", 0.5, 0.5, new_object=True) for due_s in (10, 30, 60)]
    run_turns([Entrant(Recorder()), Entrant(Recorder())], events, (10, 10), turn=1, warmup=0, sleep=waits.append)
    assert np.ceil(waits).tolist() == [10, 10, 20, 20, 30, 30]


def test_a_failing_target_is_paused_and_reported() -> None:
    class Failing(Recorder):
        def click(self, x: float, y: float, positive: bool) -> Mapping[str, float]:
            raise RuntimeError("no answer")

    paused: list[int] = []
    with pytest.raises(RuntimeError, match="no answer"):
        run_turns([Entrant(Failing(), pause=lambda: paused.append(1))], click_stream(3), (10, 10))
    assert paused == [1]


def test_empty_stream() -> None:
    with pytest.raises(ValueError, match="empty"):
        run_turns([Entrant(Recorder())], [], (10, 10))
