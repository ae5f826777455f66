"""Paths as users give them, and where livesam keeps files of its own between runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def as_path(given: Any, what: str) -> Path:
    """A path that a user gave for ``what``.

    Raises:
        ValueError: it is no path.
    """
    if isinstance(given, (str, os.PathLike)):
        return Path(given)
    raise ValueError(f"{what} is a path, got {type(given).__name__}")


def default_cache_dir() -> Path:
    """``LIVESAM_CACHE`` if set, else ``~/.cache/livesam``."""
    return Path(os.environ.get("LIVESAM_CACHE") or Path.home() / ".cache" / "livesam")


def checkpoints_folder() -> Path:
    """Where ``livesam download`` puts official weights, and every model looks for its own."""
    return default_cache_dir() / "checkpoints"
