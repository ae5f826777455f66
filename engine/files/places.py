"""Where livesam keeps files of its own between runs."""

from __future__ import annotations

import os
from pathlib import Path


def default_cache_dir() -> Path:
    """``LIVESAM_CACHE`` if set, else ``~/.cache/livesam``."""
    return Path(os.environ.get("LIVESAM_CACHE") or Path.home() / ".cache" / "livesam")


def checkpoints_folder() -> Path:
    """Where ``livesam download`` puts official weights, and every model looks for its own."""
    return default_cache_dir() / "checkpoints"
