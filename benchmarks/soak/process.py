"""What a process holds, as the system tells it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Held:
    """A moment of a process.

    Attributes:
        memory_mib: resident.
        descriptors: open files and sockets.
        threads: of the process.
    """

    memory_mib: float
    descriptors: int
    threads: int

    def to_json(self) -> dict[str, float]:
        return asdict(self)


def held_by(process: int) -> Held:
    """What a process of this machine (Linux) holds now.

    Raises:
        OSError: it has ended.
    """
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines() if ":" in line
    )
    memory = int(status["VmRSS"].split()[0]) / 1024
    return Held(round(memory, 1), len(list(Path(f"/proc/{process}/fd").iterdir())), int(status["Threads"]))
