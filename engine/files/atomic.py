"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import io
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path


class AtomicFile(io.BufferedWriter):
    """An open binary file that is also a path (``os.PathLike``), for writers that open the file themselves."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path, "xb"))
        self._path = str(path)

    def __fspath__(self) -> str:
        return self._path


@contextlib.contextmanager
def atomic_write(path: Path | str) -> Iterator[AtomicFile]:
    """A binary file that takes the name ``path`` when the block ends well, and vanishes when it does not.

    The data goes to ``.<name>.<random>.tmp`` in the same folder, reaches the disk (fsync) before the rename, and the
    folder after it: without that a power loss may leave a file of zeros under the final name.

    Raises:
        OSError: the folder is missing or read-only, or the disk is full; whatever ``path`` was before, it still is.
    """
    target = Path(path)
    # Not tempfile: its files are private (0600) and the rename would keep that, whatever the umask allows.
    temporary = target.with_name(f".{target.name[:100]}.{secrets.token_hex(6)}.tmp")
    try:
        with AtomicFile(temporary) as file:
            yield file
        _sync(temporary, os.O_RDWR)  # opened anew: a writer that took the path may have put another file there
        os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        # A full disk tells no name, other errors tell ours: the caller's is the one that says something.
        if isinstance(error, OSError) and error.errno and error.filename in (None, str(temporary), temporary):
            error.filename = str(target)
        raise
    with contextlib.suppress(OSError):  # Windows and some network file systems refuse it; the file itself is safe
        _sync(target.parent, os.O_RDONLY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path | str, content: Mapping[str, object]) -> None:
    """Write a JSON file, whole or not at all.

    Raises:
        ValueError: a number is NaN or infinite, which JSON cannot say.
        OSError: as ``atomic_write``.
    """
    with atomic_write(path) as file:
        file.write((json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
