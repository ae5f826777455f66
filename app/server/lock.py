"""One server an output folder."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from livesam.engine.values.errors import LivesamError

FILE = "serve.lock"


@contextlib.contextmanager
def only_here(out: Path) -> Iterator[None]:
    """Hold a folder for the length of the block; the system lets it go when the process ends, however it ends.

    Raises:
        LivesamError: another process holds it.
        OSError: the folder cannot be written to.
    """
    descriptor = os.open(out / FILE, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            raise LivesamError(
                f"{out} is in use by another livesam serve (process {holder or 'unknown'}): open its page, stop it, or "
                "give another folder with --out"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
