"""Whether an engine can be built in the memory there is, asked before: later the system kills it without a word."""

from __future__ import annotations

from pathlib import Path

from livesam.engine.values.errors import ExportError

# Peak of a process that exports and checks the model's graphs, MiB: `livesam prepare` tells it (nano and vit_t, vit_b),
# vit_l and vit_h as measured on the export alone.
NEEDED_MIB = {"nano": 1200, "vit_t": 2000, "vit_b": 5200, "vit_l": 10240, "vit_h": 10240}


def require_memory(model: str) -> None:
    """Refuse an export or a build for which there is not enough memory; one of an unknown model is let through.

    Raises:
        ExportError: the message says how much it takes, and how much is free.
    """
    needed, free = NEEDED_MIB.get(model, 0), free_mib()
    if free is not None and free < needed:
        raise ExportError(
            f"to build {model} takes {needed / 1024:.1f} GiB of memory, {free / 1024:.1f} GiB are free: close other "
            "programs, build it on a larger machine and copy its cache folder, or use the runtime torch"
        )


def free_mib(root: Path = Path("/")) -> int | None:
    """Memory that a new process may take, MiB: the machine's, or what a container has left; None where nobody tells."""
    found = [value for value in (_machine(root), _container(root)) if value is not None]
    return min(found) if found else None


def _machine(root: Path) -> int | None:
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) >> 10 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, IndexError, StopIteration):
        return None


def _container(root: Path) -> int | None:
    """What is left below the limit of this control group (version 2); pages of files can be given back."""
    folder = root / "sys/fs/cgroup"
    try:
        limit, used = (folder / "memory.max").read_text().strip(), int((folder / "memory.current").read_text())
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return None if limit == "max" else max(0, int(limit) - used + int(stat.get("inactive_file", 0))) >> 20
    except (OSError, ValueError):
        return None
