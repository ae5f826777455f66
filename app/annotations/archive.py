"""Many files as one zip."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from typing import IO


def zipped(files: Iterable[tuple[str, bytes]]) -> bytes:
    """A zip of files by their names."""
    buffer = io.BytesIO()
    write_zip(files, buffer)
    return buffer.getvalue()


def write_zip(files: Iterable[tuple[str, bytes]], out: IO[bytes]) -> None:
    """Write a zip; the same files give the same bytes."""
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files:
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)
