"""The page of `livesam serve`: TypeScript in ``src``, and what it is built into, which the wheel has."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

TYPES = {"html": "text/html; charset=utf-8", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}


def built() -> Path:
    """The folder of the built files: ``index.html``, ``page.js``, ``page.css`` and ``icon.svg``."""
    return Path(str(files("livesam.app.page"))) / "built"
