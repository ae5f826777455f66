"""Work on an untrusted file in a process of its own: limits on time and memory, one line of JSON as its answer."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from livesam.engine.values.errors import CheckpointError, ExportError, LivesamError

TIMEOUT_S = 120.0
MAX_ANSWER_BYTES = 4 * 2**20
MEMORY_BYTES = 3 * 2**30  # what torch and onnx map by themselves, and room to work
CPU_S = 100


def ask(module: str, path: Path, arguments: Sequence[str] = (), *, timeout_s: float = TIMEOUT_S) -> Mapping[str, Any]:
    """Run ``python -m MODULE PATH ARGUMENTS...``, whose ``main`` is ``answer``, and give what it found.

    Raises:
        CheckpointError: the child refused the file as weights.
        ExportError: it refused it as a graph or folder, took too long, or died.
    """
    try:
        child = subprocess.run(
            [sys.executable, "-P", "-m", module, str(path), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ExportError(f"{path} could not be read within {timeout_s:g} s, so it was given up") from error
    if child.returncode != 0 or len(child.stdout) > MAX_ANSWER_BYTES:
        raise ExportError(f"{path} could not be read: its reader ended with code {child.returncode}")
    try:
        told = json.loads(child.stdout)
        refusal, message, found = str(told["error"]), str(told["message"]), dict(told["found"])
    except (ValueError, KeyError, TypeError) as broken:
        raise ExportError(f"{path} could not be read: its reader gave no answer") from broken
    if refusal:
        raise (CheckpointError if refusal == "CheckpointError" else ExportError)(message)
    return found


def limit(size_bytes: int) -> None:
    """Bound this process's memory and time; where the system has no such limits, the caller's timeout remains."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        wanted = MEMORY_BYTES + 4 * min(size_bytes, 3 * 2**30)
        resource.setrlimit(resource.RLIMIT_DATA, (wanted, wanted))
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def answer(path: Path, work: Callable[[], Mapping[str, Any]]) -> None:
    """The child's side: limits, ``work``, one line of JSON on the standard output."""
    files = [path] if path.is_file() else [p for p in path.iterdir() if p.is_file()]
    limit(sum(file.stat().st_size for file in files))
    found: Mapping[str, Any] = {}
    error, message = "", ""
    try:
        found = work()
    except LivesamError as refused:
        error, message = type(refused).__name__, " ".join(str(refused).split())
    except OSError as failed:
        error, message = "ExportError", f"{path} cannot be read: {failed.strerror or failed}"
    except MemoryError:
        error, message = "ExportError", f"{path} asks for more memory than such a file may take"
    except Exception as failed:  # whatever a hostile file provokes in a parser ends here, in one sentence
        error, message = "ExportError", f"{path} is damaged ({type(failed).__name__}): get it again"
        if "allocate memory" in str(failed):  # torch's way of saying MemoryError
            message = f"{path} asks for more memory than such a file may take"
    os.write(sys.stdout.fileno(), json.dumps({"error": error, "message": message, "found": found}).encode())
