"""Writing files so that a reader sees all of them or none."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from livesam.engine.values.errors import ExportError

if TYPE_CHECKING:
    import onnx

# Protobuf ends at 2 GiB; graphs beyond this keep their weights in one file beside them.
INLINE_LIMIT = 1_900_000_000


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def staged(path: Path) -> Iterator[Path]:
    """A path of the same name in a temporary folder beside ``path``; everything in that folder moves over on success.

    The manifest (``*.json``) moves last, so a file with a manifest is complete. On any error nothing is left behind.

    Raises:
        ExportError: the disk is full, read-only, or ``path`` is a folder.
    """
    try:
        if path.is_dir():
            raise ExportError(f"{path} is a folder: give the name of a file")
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    except OSError as error:
        raise ExportError(f"cannot write {path}: {error.strerror or error}") from error
    try:
        yield folder / path.name
        files = sorted(folder.iterdir(), key=lambda f: (f.suffix == ".json", f.name))
        for file in files:
            _sync(file)
        for file in files:
            os.replace(file, path.parent / file.name)
    except OSError as error:
        raise ExportError(f"cannot write {path}: {error.strerror or error}") from error
    except Exception as error:  # torch and OpenVINO have words of their own for a full disk
        full = refusal_of(folder)
        if full is None:
            raise
        raise ExportError(f"cannot write {path}: {full} ({error})") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def refusal_of(folder: Path) -> str | None:
    """What the system says to 64 MiB more in a folder; None where it takes them, or cannot be asked."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, 64 << 20)
    except OSError as error:
        return error.strerror if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS) else None
    return None


def save_graph(model: onnx.ModelProto, path: Path) -> list[Path]:
    """Write a graph; beyond 2 GB its weights go to ``NAME.data``. Returns the files. ``model`` is used up.

    Raises:
        OSError: it could not be written.
    """
    import onnx

    if sum(len(t.raw_data) for t in model.graph.initializer) < INLINE_LIMIT:
        onnx.save(model, str(path))
        return [path]
    data = path.with_name(f"{path.name}.data")
    onnx.save(model, str(path), save_as_external_data=True, all_tensors_to_one_file=True, location=data.name)
    return [path, data]
