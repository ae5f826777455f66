"""Which runtime runs here, and why the others do not.

Only the runtime that is about to be taken is imported, because an installed package may still fail to load; the others
are looked up without importing them.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from typing import Any

from livesam.engine.values.errors import RuntimeUnavailable

KINDS = ("encoder", "decoder")
RUNTIMES = ("tensorrt", "openvino", "onnxruntime", "torch")
# Only on request, never taken by ``auto``: ONNX Runtime's own TensorRT provider, and TensorRT for RTX where TensorRT is
# installed too (``tensorrt`` takes either).
ORT_TENSORRT = "onnxruntime:tensorrt"
TENSORRT_RTX = "tensorrt_rtx"
REQUESTS = ("auto", *RUNTIMES, ORT_TENSORRT, TENSORRT_RTX)
PRECISIONS = ("fp32", "fp16", "bf16", "int8")

# Fastest first: measured on CPUs, expected on GPUs. The decoder with exchangeable weights is 15 % faster on ONNX
# Runtime (nano, one click, Zen without AVX-512: 31.3 against 36.7 ms of CPU time), encoders are faster on OpenVINO.
_ORDER: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("encoder", "cpu"): ("openvino", "onnxruntime", "torch"),
    ("decoder", "cpu"): ("onnxruntime", "openvino", "torch"),
    ("encoder", "cuda"): ("tensorrt", "torch", "onnxruntime"),
    ("decoder", "cuda"): ("tensorrt", "torch", "onnxruntime"),
}
_PACKAGES = {
    "tensorrt": ("tensorrt", "tensorrt_rtx"),
    TENSORRT_RTX: ("tensorrt_rtx",),
    "openvino": ("openvino",),
    "onnxruntime": ("onnxruntime",),
    ORT_TENSORRT: ("onnxruntime",),
    "torch": ("torch",),
}
_EXTRA = {
    "tensorrt": "livesam[tensorrt]",
    TENSORRT_RTX: "livesam[rtx]",
    "openvino": "livesam[cpu]",
    "onnxruntime": "livesam[cpu]",
    ORT_TENSORRT: "livesam[gpu]",
    "torch": "livesam",
}


@dataclass(frozen=True, slots=True)
class Choice:
    """The runtime to use.

    Attributes:
        name: ``tensorrt``, ``openvino``, ``onnxruntime``, ``torch``, ``onnxruntime:tensorrt`` or ``tensorrt_rtx``.
        precision: ``fp32``, ``fp16``, ``bf16`` or, of encoders on OpenVINO, ``int8``.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        reasons: a sentence for every runtime: why it was taken, or why not.
    """

    name: str
    precision: str
    device: str
    reasons: Mapping[str, str] = field(default_factory=dict)

    @property
    def gpu(self) -> int:
        """The number N of ``cuda:N``; 0 for ``cuda``, and without meaning on the CPU."""
        return int(self.device.partition(":")[2] or 0)


@dataclass(frozen=True, slots=True)
class RuntimeStatus:
    """Whether a runtime can be used on this machine at all, and why or why not."""

    name: str
    available: bool
    reason: str


def select(
    kind: str = "encoder", requested: str = "auto", *, device: str | None = None, precision: str | None = None
) -> Choice:
    """The runtime that runs ``kind``: the requested one, or with ``auto`` the fastest that can really be used here.

    Args:
        requested: ``auto``, one of ``RUNTIMES``, ``onnxruntime:tensorrt`` for ONNX Runtime with its own TensorRT
            provider, or ``tensorrt_rtx`` for TensorRT for RTX alone. ``auto`` passes over a package that is installed
            but cannot be imported.
        device: ``cpu``, ``cuda`` or ``cuda:N`` with N below the number of GPUs; None takes a GPU only where a runtime
            for it is installed.
        precision: None is ``fp32`` on the CPU; on a GPU ``bf16`` for the encoder and ``fp16`` for PyTorch's decoder.

    Raises:
        ValueError: there is no such kind, runtime, device or precision.
        RuntimeUnavailable: what was asked for cannot be had here; the message says why. Nothing is replaced in silence.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}: choose encoder or decoder")
    if requested not in REQUESTS:
        raise ValueError(f"unknown runtime {requested!r}: choose {', '.join(REQUESTS)}")
    if precision is not None and precision not in PRECISIONS:
        raise ValueError(f"unknown precision {precision!r}: choose one of {', '.join(PRECISIONS)}")
    place = None if device is None else _place(device)
    if precision == "int8":
        place, precision = place or "cpu", "int8" if kind == "encoder" else None
    places = _places(requested, place)
    reasons: dict[str, str] = {}
    for where in places:
        names = _ORDER[kind, where] if requested == "auto" else (requested,)
        for name in names:
            refusal = _refusal(name, where, precision) or _load_refusal(name, where, precision)
            if refusal is None:
                _explain_rest(reasons, name, where, kind)
                full_device = device if device is not None else where
                return Choice(name, precision or _default_precision(kind, where, name), full_device, reasons)
            reasons[name] = refusal
    asked = f"{kind} on {requested}" + (f", {device}" if device else "") + (f", {precision}" if precision else "")
    raise RuntimeUnavailable(f"cannot run the {asked}: " + "; ".join(f"{k}: {v}" for k, v in reasons.items()))


def report() -> tuple[RuntimeStatus, ...]:
    """Every runtime with its state on this machine, for ``livesam doctor``. Imports all that could run here."""
    rows = []
    for name in RUNTIMES:
        places = ("cuda",) if name == "tensorrt" else ("cuda", "cpu") if name == "torch" else ("cpu", "cuda")
        refusals = {where: _refusal(name, where, None) or _load_refusal(name, where, None) for where in places}
        usable = [where for where, refusal in refusals.items() if refusal is None]
        reason = f"{_version(name)} on {' and '.join(usable)}" if usable else str(refusals[places[0]])
        rows.append(RuntimeStatus(name, bool(usable), reason))
    return tuple(rows)


def warnings() -> tuple[str, ...]:
    """Installations that will not do what they look like, each with the command that repairs it."""
    installed = set()
    for name in ("onnxruntime", "onnxruntime-gpu"):
        with suppress(metadata.PackageNotFoundError):
            metadata.version(name)
            installed.add(name)
    if len(installed) == 2:
        return (
            "onnxruntime and onnxruntime-gpu are both installed and share one module, so the GPU may go unused: "
            "pip uninstall -y onnxruntime onnxruntime-gpu, then install the one that you want",
        )
    return ()


def _place(device: str) -> str:
    """``cpu`` or ``cuda``, of a device that is written as it must be."""
    match = re.fullmatch(r"cpu|cuda(?::(0|[1-9][0-9]*))?", str(device))
    if match is None:
        raise ValueError(f"unknown device {device!r}: choose cpu, cuda or cuda:N with N = 0, 1, 2, ...")
    count = gpu_count()
    if match[1] is not None and 0 < count <= int(match[1]):
        allowed = ", ".join(f"cuda:{n}" for n in range(count))
        raise ValueError(f"unknown device {device!r}, this machine has {count} GPU(s): choose cpu, cuda, {allowed}")
    return device.partition(":")[0]


def _places(requested: str, place: str | None) -> tuple[str, ...]:
    if place is not None:
        return (place,)
    if requested in ("tensorrt", ORT_TENSORRT, TENSORRT_RTX):
        return ("cuda",)
    if requested == "openvino":
        return ("cpu",)
    return ("cuda", "cpu") if gpu_refusal() is None else ("cpu",)


def _refusal(name: str, where: str, precision: str | None) -> str | None:
    """Why this runtime cannot be used there, as far as can be told without importing it; None if it may be."""
    installed = [package for package in _PACKAGES[name] if importlib.util.find_spec(package) is not None]
    if not installed:
        extra = "livesam[gpu]" if name == "onnxruntime" and where == "cuda" else _EXTRA[name]
        return f"{' or '.join(_PACKAGES[name])} is not installed: pip install '{extra}'"
    if where == "cuda" and precision == "int8":
        return "int8 is for CPUs: on a GPU bf16 is faster"
    if where == "cuda":
        return "livesam runs OpenVINO on the CPU only" if name == "openvino" else gpu_refusal()
    if name in ("tensorrt", ORT_TENSORRT, TENSORRT_RTX):
        return "TensorRT needs an NVIDIA GPU"
    if precision not in (None, "fp32") and name != "openvino":
        return f"{name} on the CPU runs in fp32 only, not in {precision}"
    return None


def _load_refusal(name: str, where: str, precision: str | None) -> str | None:
    """Why this runtime, which ``_refusal`` lets pass, does not work after all. Imports it."""
    broken = []
    for package in _PACKAGES[name]:
        if importlib.util.find_spec(package) is None:
            continue
        try:
            module = importlib.import_module(package)
        except Exception as error:  # a missing library shows up as OSError, a wrong one as RuntimeError
            broken.append(f"{package} is installed but cannot be imported ({type(error).__name__}: {error})")
            continue
        if where == "cuda":
            return _cuda_build_refusal(name, module)
        return _openvino_refusal(precision) if name == "openvino" and precision is not None else None
    return "; ".join(broken)


def _openvino_refusal(precision: str) -> str | None:
    from livesam.engine.runtimes.openvino import supported_precisions

    if precision == "int8":
        return None  # its CPU plugin has int8 for every processor; how fast depends on VNNI
    supported = supported_precisions()
    if precision in supported:
        return None
    return f"this processor does not compute in {precision} under OpenVINO, only in {', '.join(supported)}"


def _cuda_build_refusal(name: str, module: Any) -> str | None:
    if name in ("onnxruntime", ORT_TENSORRT):
        wanted = "TensorrtExecutionProvider" if name == ORT_TENSORRT else "CUDAExecutionProvider"
        available = module.get_available_providers()
        if "CUDAExecutionProvider" not in available:
            return "this onnxruntime is the CPU package: pip uninstall onnxruntime, pip install 'livesam[gpu]'"
        if wanted not in available:
            return f"this onnxruntime has no {wanted}, only {', '.join(available)}"
    if name == "torch" and not module.cuda.is_available():
        return "this PyTorch cannot use the GPU (a CPU build, or a driver too old for it)"
    return None


def gpu_refusal() -> str | None:
    """Why no NVIDIA GPU can be used here; None if one can. Asks the driver, without any CUDA library."""
    return _driver()[0]


def gpu_count() -> int:
    """How many NVIDIA GPUs the driver shows to this process; 0 where none can be used."""
    return _driver()[1]


@cache
def _driver() -> tuple[str | None, int]:
    """Why no GPU can be used, or None; and how many there are."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and hidden.strip() in ("", "-1"):
        return "CUDA_VISIBLE_DEVICES hides every GPU", 0
    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        return f"no NVIDIA driver is installed ({library} is missing)", 0
    code = driver.cuInit(0)
    if code != 0:
        return f"the NVIDIA driver does not start (cuInit returned {code})", 0
    count = ctypes.c_int(0)
    code = driver.cuDeviceGetCount(ctypes.byref(count))
    if code != 0 or count.value == 0:
        return "the NVIDIA driver finds no GPU", 0
    return None, count.value


def _default_precision(kind: str, where: str, name: str) -> str:
    """On a GPU bf16 for encoders, whose range fp16 may not hold; fp16, ten times as exact, for PyTorch's decoder."""
    if where != "cuda":
        return "fp32"
    return "bf16" if kind == "encoder" else "fp16" if name == "torch" else "fp32"


def _explain_rest(reasons: dict[str, str], taken: str, where: str, kind: str) -> None:
    reasons[taken] = f"taken: the first that can be used for the {kind} on {where}"
    for name in RUNTIMES:
        if name not in reasons:
            refusal = _refusal(name, where, None)
            reasons[name] = refusal or f"installed, not tried: expected to be slower than {taken} on {where}"


def _version(name: str) -> str:
    found = []
    names = ("onnxruntime", "onnxruntime-gpu") if name == "onnxruntime" else (*_PACKAGES[name], "tensorrt-rtx-cu13")
    for distribution in names if name in ("onnxruntime", "tensorrt") else _PACKAGES[name]:
        try:
            found.append(f"{distribution} {metadata.version(distribution)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(found) or name
