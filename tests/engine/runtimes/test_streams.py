"""Streams are dealt out as PyTorch does it, with numbers for streams: this needs no GPU."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from livesam.engine.runtimes import streams
from livesam.engine.runtimes.streams import POOLED, OwnStream, own_stream


@pytest.fixture(autouse=True)
def dealt(monkeypatch: pytest.MonkeyPatch) -> None:
    turn: Iterator[int] = itertools.cycle(range(POOLED))

    def stream(*, device: Any, priority: int) -> tuple[Any, int, int]:
        return device, priority, next(turn)

    monkeypatch.setattr(torch.cuda, "Stream", stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(streams, "_held", type(streams._held)())


def test_a_stream_is_nobody_elses_until_it_is_given_up() -> None:
    encoder = own_stream("cuda:0")
    for _ in range(3 * POOLED):  # decoders that come and go
        assert own_stream("cuda:0").stream != encoder.stream
    all_of_it = [encoder, *(own_stream("cuda:0") for _ in range(POOLED - 1))]
    assert len({one.stream for one in all_of_it}) == POOLED
    freed = all_of_it.pop().stream
    assert own_stream("cuda:0").stream == freed


def test_who_has_to_share_a_stream_takes_turns() -> None:
    taken = [own_stream("cuda:0") for _ in range(POOLED)]
    late = own_stream("cuda:0")
    (other,) = (one for one in taken if one.stream == late.stream)
    assert late.turn is other.turn
    assert len({id(one.turn) for one in taken}) == POOLED
    begun, done = threading.Event(), threading.Event()

    def use(own: OwnStream) -> None:
        begun.set()
        with own.current():
            done.set()

    with late.current(), late.current():  # a decoder's calls are nested
        thread = threading.Thread(target=use, args=(other,))
        thread.start()
        assert begun.wait(10)
        assert not done.wait(0.05)
    thread.join(10)
    assert done.is_set()


def test_another_gpu_or_priority_has_its_own() -> None:
    taken = [own_stream("cuda:0") for _ in range(POOLED)]
    turns = {id(one.turn) for one in (*taken, own_stream("cuda:1"), own_stream("cuda:0", priority=0))}
    assert len(turns) == POOLED + 2
