"""A command's JSON that is written part by part, and gone on with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def read_unfinished(path: Path | None, settings: Mapping[str, Any]) -> dict[str, Any]:
    """An earlier result, or an empty one where there is none.

    Raises:
        ValueError: it was measured with other settings.
    """
    if path is None or not path.exists():
        return {}
    done: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if any(done.get(key) != value for key, value in settings.items()):
        raise ValueError(f"{path} holds a result with other settings or weights: remove it, or name another")
    return done
