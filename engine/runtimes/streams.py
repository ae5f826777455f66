"""Streams of a GPU, so that no two engines are on one while there are enough.

PyTorch deals out 32 for each priority, in turn: from the 33rd request on one is another's too. What another engine puts
on a stream while a graph is recorded there would become part of the graph.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

import torch

POOLED = 32  # streams of a priority that PyTorch has on each GPU


@dataclass(frozen=True, eq=False)
class OwnStream:
    """A stream that is its holder's while the holder lives.

    Attributes:
        stream: the stream.
        turn: who shares the stream, because all were taken, is on it in turns.
    """

    stream: Any
    turn: Any  # threading.RLock, which is a function before Python 3.13

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        """Work goes on this stream, and nobody else's does."""
        with self.turn, torch.cuda.stream(self.stream):
            yield


_finding = threading.Lock()
_held: WeakSet[OwnStream] = WeakSet()


def own_stream(device: torch.device | str | None = None, *, priority: int = -1) -> OwnStream:
    """A stream that nobody else has from here; with all of them taken, the one that was dealt out last.

    Args:
        device: a GPU; None for the current one.
        priority: clicks and encoders have -1, which comes before learning's 0.
    """
    with _finding:
        turns = {one.stream: one.turn for one in _held}
        for _ in range(POOLED):
            stream: Any = torch.cuda.Stream(device=device, priority=priority)  # type: ignore[no-untyped-call]
            if stream not in turns:
                break
        own = OwnStream(stream, turns.get(stream) or threading.RLock())
        _held.add(own)
        return own
