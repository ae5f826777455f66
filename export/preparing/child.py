"""A process that prepares a model, niced, which ends with its parent."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from livesam.engine.values.errors import ExportError

if TYPE_CHECKING:
    from livesam.export.graphs.graph_cache import Progress

MODULE = "livesam.export.preparing.child_main"


class Child:
    """A process that prepares a model, so that its memory and its cores are not the session's.

    Args:
        opening: the fields of an ``Opening``.

    Raises:
        ExportError: it cannot be started.
    """

    def __init__(self, opening: Mapping[str, object]) -> None:
        told = json.dumps(dict(opening), default=str)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", MODULE, told],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        except OSError as error:
            raise ExportError(f"no process could be started to build the engine: {error.strerror or error}") from error

    def follow(self, progress: Progress) -> None:
        """Wait for its end, and tell each stage.

        Raises:
            ExportError: it failed, or was killed; the message says why.
        """
        answer: dict[str, str] = {}
        with self._process as process:
            assert process.stdout is not None
            for line in process.stdout:
                with contextlib.suppress(ValueError):  # whatever a library prints
                    answer = json.loads(line)
                    if "stage" in answer:
                        progress(answer["stage"])
            code = process.wait()
        if "error" in answer:
            raise ExportError(answer["error"])
        if code != 0 or "done" not in answer:
            killed = " (killed; is there enough memory?)" if code == -9 else ""
            raise ExportError(f"the process that built the engine ended with code {code}{killed}")

    def kill(self) -> None:
        """End it now; what it has finished stays."""
        self._process.kill()
