"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO


@contextlib.contextmanager
def atomic_write(path: Path | str) -> Iterator[IO[bytes]]:
    """A binary file that takes the name ``path`` when the block ends well, and vanishes when it does not.

    The data goes to ``.<name>.<random>.tmp`` in the same folder, reaches the disk (fsync) before the rename, and the
    folder after it: without that a power loss may leave a file of zeros under the final name. ``file.name`` is the
    temporary path, for writers that want one.

    Raises:
        OSError: the folder is missing or read-only, or the disk is full; whatever ``path`` was before, it still is.
    """
    target = Path(path)
    # Not tempfile: its files are private (0600) and the rename would keep that, whatever the umask allows.
    temporary = target.with_name(f".{target.name[:100]}.{secrets.token_hex(6)}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # a folder cannot be opened there
        return
    with contextlib.suppress(OSError):  # some network file systems refuse it; the file itself is safe already
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
