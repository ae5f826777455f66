"""Folders that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from livesam.engine.files.hashing import file_sha256
from livesam.engine.values.errors import ExportError
from livesam.export.files.staging import refusal_of

MANIFEST = "manifest"  # Manifest.write adds ".json"


@contextmanager
def staged_folder(path: Path) -> Iterator[Path]:
    """A temporary folder that becomes ``path`` on success; on any error nothing of it is left.

    A folder that an earlier export wrote is replaced, any other that holds something is left alone.

    Raises:
        ExportError: ``path`` is a file or somebody else's folder, or the disk is full or read-only.
    """
    try:
        _require_ours(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        holder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    except OSError as error:
        raise ExportError(f"cannot write {path}: {error.strerror or error}") from error
    try:
        fresh = holder / "new"
        fresh.mkdir()
        yield fresh
        sync_tree(fresh)
        if path.exists():
            os.rename(path, holder / "old")
        try:
            os.rename(fresh, path)
        except OSError:
            if (holder / "old").exists():
                os.rename(holder / "old", path)
            raise
    except OSError as error:
        raise ExportError(f"cannot write {path}: {error.strerror or error}") from error
    except Exception as error:  # torch and OpenVINO have words of their own for a full disk
        full = refusal_of(holder)
        if full is None:
            raise
        raise ExportError(f"cannot write {path}: {full} ({error})") from error
    finally:
        shutil.rmtree(holder, ignore_errors=True)


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below ``folder`` by its relative path."""
    return {p.relative_to(folder).as_posix(): file_sha256(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def sync_tree(folder: Path) -> None:
    """Bring everything below ``folder`` to the disk."""
    for item in [*folder.rglob("*"), folder]:
        sync_folder(item)


def sync_folder(item: Path) -> None:
    """Bring a folder's list of names, or a file, to the disk."""
    handle = os.open(item, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _require_ours(path: Path) -> None:
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise ExportError(f"{path} is a file or a link: give the name of a new folder")
    if path.is_dir() and any(path.iterdir()) and not (path / f"{MANIFEST}.json").is_file():
        raise ExportError(f"{path} holds files that no export wrote: give the name of a new or empty folder")
