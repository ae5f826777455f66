"""Where learning runs so that clicks overtake it."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator

SWITCH_S = 0.0005  # Python's own is 5 ms, six times what a whole click takes on a GPU

_counting = threading.Lock()  # of PyTorch's threads, and of learners
_intervals: list[float] = []  # one for each learner on a GPU; the first is that from before them all


def low_priority(device: str) -> Callable[[], contextlib.AbstractContextManager[object]]:
    """A context for the learning thread's whole life: on a GPU a low-priority stream, on the CPU one core."""
    if not device.startswith("cuda"):
        return _one_core

    @contextlib.contextmanager
    def stream() -> Iterator[None]:
        import torch
        from livesam.engine.runtimes.streams import own_stream

        lowest = own_stream(device, priority=0)
        # Not in turns with who shares the stream: that would be the thread's whole life.
        with _quick_switches(), torch.cuda.stream(lowest.stream):
            yield

    return stream


@contextlib.contextmanager
def _quick_switches() -> Iterator[None]:
    """While anybody learns on a GPU, a click that comes back from it waits ``SWITCH_S`` for Python, not longer."""
    with _counting:
        _intervals.append(sys.getswitchinterval())
        sys.setswitchinterval(min(_intervals[0], SWITCH_S))
    try:
        yield
    finally:
        with _counting:
            last = _intervals.pop()
            if not _intervals:
                sys.setswitchinterval(last)


@contextlib.contextmanager
def _one_core() -> Iterator[None]:
    """Let the calling thread's PyTorch work on one core; what other threads have, and those to come, stays.

    A core that now and then has nothing to do takes over who waits at another: with learning on all of them the threads
    of a click's decoder stay crowded on one for seconds.
    """
    import torch

    with _counting:
        before = torch.get_num_threads()  # asked first: PyTorch gives a thread its count when it is first used there
        torch.set_num_threads(1)  # this thread's own, and what threads to come begin with; the latter is put back
        other = threading.Thread(target=torch.set_num_threads, args=(before,))
        other.start()
        other.join()
    try:
        yield
    finally:
        torch.set_num_threads(before)
