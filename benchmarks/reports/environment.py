"""What a figure was measured on."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path

_PACKAGES = (
    "livesam",
    "torch",
    "torchvision",
    "segment-anything",
    "numpy",
    "opencv-python-headless",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "tensorrt",
    "tensorrt-rtx-cu13",
)


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU as its driver tells it."""

    name: str
    driver: str
    memory_mib: int


@dataclass(frozen=True)
class Environment:
    """Machine and versions; written beside every measured figure."""

    cpu: str
    cores: int
    cpu_flags: tuple[str, ...]
    memory_mib: int
    os: str
    python: str
    versions: Mapping[str, str]
    gpus: tuple[Gpu, ...]
    load_average: float
    commit: str | None = None
    threads: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """As a JSON object."""
        return asdict(self)

    def line(self) -> str:
        """In one line, for a table's caption."""
        gpus = "".join(f", {gpu.name}" for gpu in self.gpus)
        return f"{self.cpu}, {self.cores} cores{gpus}, Python {self.python}, load {self.load_average:.1f}"


def environment() -> Environment:
    """Look at this machine; nothing heavy is imported, a missing tool leaves its field empty."""
    return Environment(
        cpu=_cpu_name(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        cpu_flags=_cpu_flags(),
        memory_mib=_memory_mib(),
        os=platform.platform(),
        python=platform.python_version(),
        versions=versions(),
        gpus=gpus(),
        load_average=os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0,
        commit=_commit(),
        threads={name: value for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if (value := os.environ.get(name))},
    )


def versions() -> dict[str, str]:
    """Installed versions of the packages that matter for speed; missing ones are left out."""
    found: dict[str, str] = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def gpus() -> tuple[Gpu, ...]:
    """NVIDIA GPUs by ``nvidia-smi``; none where the tool is missing or fails."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader,nounits"]
    try:
        lines = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return ()
    rows = [[cell.strip() for cell in line.split(",")] for line in lines if line.count(",") == 2]
    return tuple(Gpu(name, driver, int(memory)) for name, driver, memory in rows if memory.isdigit())


def _cpu_name() -> str:
    for line in _lines("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _cpu_flags() -> tuple[str, ...]:
    wanted = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8")
    for line in _lines("/proc/cpuinfo"):
        if line.startswith("flags"):
            present = set(line.split(":", 1)[1].split())
            return tuple(flag for flag in wanted if flag in present)
    return ()


def _memory_mib() -> int:
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemTotal"):
            return int(line.split()[1]) // 1024
    return 0


def _commit() -> str | None:
    command = ["git", "-C", str(Path(__file__).resolve().parent), "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(errors="replace").splitlines()
    except OSError:
        return []
