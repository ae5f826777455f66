"""One process at a time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path


def _go_on() -> None:
    """Nobody to tell."""


@contextlib.contextmanager
def exclusive(path: Path, waiting: Callable[[], None] = _go_on) -> Iterator[None]:
    """Hold the lock of this file for the length of the block; others, threads of this process too, wait for its end.

    The system lets go of it when a process dies, however it does. Where there are no such locks (Windows, a folder that
    cannot be written to, some network file systems) the block runs without: what it writes has to appear whole anyway.
    The file stays: whoever removed it would let two in.

    Args:
        waiting: called once when another has the lock.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            stack.callback(os.close, handle)  # which lets go of it
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield
