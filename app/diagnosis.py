"""What ``livesam doctor`` finds out; nothing here is heavier than asking for a version."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from livesam.export.preparing.record import Prepared


@dataclass(frozen=True)
class RuntimeRow:
    """One runtime: whether it can be used here, and why or why not."""

    name: str
    available: bool
    reason: str


@dataclass(frozen=True)
class Diagnosis:
    """The whole finding.

    Attributes:
        selected: the runtime that ``auto`` takes, for ``encoder`` and ``decoder``.
        details: the same with device and precision, and why the others were not taken.
        prepared: engines that are built, and start at once.
        warnings: what should be repaired, with the command that does it.
    """

    version: str
    machine: str
    runtimes: tuple[RuntimeRow, ...]
    selected: Mapping[str, str]
    details: Mapping[str, str]
    prepared: tuple[Prepared, ...]
    warnings: tuple[str, ...]
    environment: Mapping[str, object]

    def to_json(self) -> dict[str, object]:
        """As a JSON object."""
        return {
            "runtimes": [{"name": row.name, "available": row.available, "reason": row.reason} for row in self.runtimes],
            "selected": dict(self.selected),
            "details": dict(self.details),
            "prepared": [asdict(one) for one in self.prepared],
            "warnings": list(self.warnings),
            "version": self.version,
            "environment": dict(self.environment),
        }


def diagnose() -> Diagnosis:
    """Look at this machine."""
    from livesam.benchmarks.reports.environment import environment
    from livesam.engine.files.places import default_cache_dir
    from livesam.engine.runtimes import selection as runtimes
    from livesam.export.preparing.record import every

    facts = environment()
    rows = tuple(RuntimeRow(row.name, row.available, row.reason) for row in runtimes.report())
    selected: dict[str, str] = {}
    details: dict[str, str] = {}
    for kind in ("encoder", "decoder"):
        choice = runtimes.select(kind)
        selected[kind] = choice.name
        details[kind] = f"{choice.name} on {choice.device} in {choice.precision}; {choice.reasons[choice.name]}"
    return Diagnosis(
        version=installed("livesam") or "unknown",
        machine=f"{facts.cpu}, {facts.cores} cores, Python {platform.python_version()}",
        runtimes=rows,
        selected=selected,
        details=details,
        prepared=tuple(every(default_cache_dir())),
        warnings=(*runtimes.warnings(), *_unused_gpu(bool(facts.gpus))),
        environment=facts.to_json(),
    )


def installed(package: str) -> str | None:
    """The installed version of a distribution, None where it is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _unused_gpu(gpu: bool) -> tuple[str, ...]:
    if gpu and not (installed("onnxruntime-gpu") or installed("tensorrt")):
        return ("there is an NVIDIA GPU, but neither TensorRT nor onnxruntime-gpu: pip install 'livesam[tensorrt]'",)
    return ()
