"""Results of evaluations on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FORMAT = "livesam-quality/1"


def read_result(path: Path) -> dict[str, Any]:
    """A result that was written with ``--json``.

    Raises:
        ValueError: the file is missing or holds something else.
    """
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} cannot be read as a result: {error}") from error
    if not isinstance(result, dict) or result.get("format") != FORMAT:
        raise ValueError(f"{path} is not a result of this command (format {FORMAT})")
    return result
