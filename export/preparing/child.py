"""A process that prepares a model, niced, which ends with its parent."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import TYPE_CHECKING

from livesam.engine.values.errors import ExportError

if TYPE_CHECKING:
    from livesam.export.graphs.graph_cache import Progress

MODULE = "livesam.export.preparing.child_main"
_KEYS = ("stage", "error", "done")
_TAIL = 2000  # bytes of what it wrote to stderr, of which the last line is told


class Child:
    """A process that prepares a model, so that its memory and its cores are not the session's.

    Args:
        opening: the fields of an ``Opening``.

    Raises:
        ExportError: it cannot be started.
    """

    def __init__(self, opening: Mapping[str, object]) -> None:
        told = json.dumps(dict(opening), default=str)
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - for as long as the process lives
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", MODULE, told],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                text=True,
            )
        except OSError as error:
            self._stderr.close()
            raise ExportError(f"no process could be started to build the engine: {error.strerror or error}") from error

    def follow(self, progress: Progress) -> None:
        """Wait for its end, and tell each stage.

        Raises:
            ExportError: it failed, or was killed; the message says why.
        """
        answer: dict[str, str] = {}
        with self._stderr, self._process as process:
            assert process.stdout is not None
            for line in process.stdout:
                answer = _said(line) or answer
                if "stage" in answer:
                    progress(answer.pop("stage"))
            code, last = process.wait(), self._last_words()
        if "error" in answer:
            raise ExportError(answer["error"])
        if code != 0 or "done" not in answer:
            killed = " (killed; is there enough memory?)" if code == -9 else ""
            raise ExportError(f"the process that built the engine ended with code {code}{killed}{last}")

    def kill(self) -> None:
        """End it now; what it has finished stays."""
        self._process.kill()

    def _last_words(self) -> str:
        self._stderr.seek(max(0, self._stderr.seek(0, 2) - _TAIL))
        lines = self._stderr.read().decode(errors="replace").split("\n")
        return next((f": {line.strip()}" for line in reversed(lines) if line.strip()), "")


def _said(line: str) -> dict[str, str] | None:
    """What the child says with this line; None for what a library prints, JSON or not."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    fits = isinstance(found, dict) and len(found) == 1 and found.keys() <= set(_KEYS)
    return found if fits and all(isinstance(value, str) for value in found.values()) else None
