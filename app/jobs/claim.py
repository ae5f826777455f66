"""One job a target."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from livesam.app.storage import Target
from livesam.engine.values.errors import LivesamError

FILE = "job.lock"


@contextlib.contextmanager
def claimed(target: Target) -> Iterator[None]:
    """Hold a target for the length of the block.

    A local one is let go by the system when the process ends, however it ends. Elsewhere a killed job's claim stays.

    Raises:
        LivesamError: another job holds it.
        OSError: it cannot be written to.
    """
    ours = f"process {os.getpid()} on {socket.gethostname()}\n".encode()
    if target.local and os.name == "posix":
        with _locked(Path(target.where(FILE)), ours):
            yield
        return
    try:
        target.create(FILE, ours)
    except FileExistsError:
        holder = (target.read(FILE) or b"unknown").decode(errors="replace").strip()
        raise LivesamError(
            f"another job writes to {target.url} ({holder}): wait for it, or, if it was killed, remove "
            f"{target.where(FILE)} and run again; what is done is kept"
        ) from None
    try:
        yield
    finally:
        target.remove(FILE)


@contextlib.contextmanager
def _locked(path: Path, ours: bytes) -> Iterator[None]:
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            holder = os.pread(descriptor, 300, 0).decode(errors="replace").strip() or "unknown"
            raise LivesamError(
                f"another job writes to {path.parent} ({holder}): wait for it, end it, or give another --out"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, ours, 0)
        yield
    finally:
        os.close(descriptor)
