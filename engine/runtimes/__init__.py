"""Which runtime runs here, and why the others do not. Nothing heavy is imported to find out."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata

from livesam.engine.errors import RuntimeUnavailable

KINDS = ("encoder", "decoder")
RUNTIMES = ("tensorrt", "openvino", "onnxruntime", "torch")
DEVICES = ("cpu", "cuda")
PRECISIONS = ("fp32", "fp16", "bf16")

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
    "openvino": ("openvino",),
    "onnxruntime": ("onnxruntime",),
    "torch": ("torch",),
}
_EXTRA = {
    "tensorrt": "livesam[tensorrt]",
    "openvino": "livesam[cpu]",
    "onnxruntime": "livesam[cpu]",
    "torch": "livesam",
}


@dataclass(frozen=True, slots=True)
class Choice:
    """The runtime to use.

    Attributes:
        name: ``tensorrt``, ``openvino``, ``onnxruntime`` or ``torch``.
        precision: ``fp32``, ``fp16`` or ``bf16``.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        reasons: a sentence for every runtime: why it was taken, or why not.
    """

    name: str
    precision: str
    device: str
    reasons: Mapping[str, str] = field(default_factory=dict)


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
        device: ``cpu``, ``cuda`` or ``cuda:N``; None takes a GPU only where a runtime for it is installed.
        precision: None is ``fp32`` on the CPU and ``bf16`` for the encoder on a GPU.

    Raises:
        ValueError: there is no such kind, runtime, device or precision.
        RuntimeUnavailable: what was asked for cannot be had here; the message says why. Nothing is replaced in silence.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}: choose encoder or decoder")
    if requested != "auto" and requested not in RUNTIMES:
        raise ValueError(f"unknown runtime {requested!r}: choose auto, {', '.join(RUNTIMES)}")
    if precision is not None and precision not in PRECISIONS:
        raise ValueError(f"unknown precision {precision!r}: choose one of {', '.join(PRECISIONS)}")
    place = None if device is None else device.partition(":")[0]
    if place is not None and place not in DEVICES:
        raise ValueError(f"unknown device {device!r}: choose cpu, cuda or cuda:N")
    places = _places(requested, place)
    reasons: dict[str, str] = {}
    for where in places:
        names = _ORDER[kind, where] if requested == "auto" else (requested,)
        for name in names:
            refusal = _refusal(name, where, precision)
            if refusal is None:
                _explain_rest(reasons, name, where, kind)
                full_device = device if device is not None else where
                return Choice(name, precision or _default_precision(kind, where), full_device, reasons)
            reasons[name] = refusal
    asked = f"{kind} on {requested}" + (f", {device}" if device else "") + (f", {precision}" if precision else "")
    raise RuntimeUnavailable(f"cannot run the {asked}: " + "; ".join(f"{k}: {v}" for k, v in reasons.items()))


def report() -> tuple[RuntimeStatus, ...]:
    """Every runtime with its state on this machine, for ``livesam doctor``."""
    rows = []
    for name in RUNTIMES:
        places = ("cuda",) if name == "tensorrt" else ("cuda", "cpu") if name == "torch" else ("cpu", "cuda")
        refusals = {where: _refusal(name, where, None) for where in places}
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


def _places(requested: str, place: str | None) -> tuple[str, ...]:
    if place is not None:
        return (place,)
    if requested == "tensorrt":
        return ("cuda",)
    if requested == "openvino":
        return ("cpu",)
    return ("cuda", "cpu") if gpu_refusal() is None else ("cpu",)


def _refusal(name: str, where: str, precision: str | None) -> str | None:
    """Why this runtime cannot be used there; None if it can."""
    installed = [package for package in _PACKAGES[name] if importlib.util.find_spec(package) is not None]
    if not installed:
        extra = "livesam[gpu]" if name == "onnxruntime" and where == "cuda" else _EXTRA[name]
        return f"{' or '.join(_PACKAGES[name])} is not installed: pip install '{extra}'"
    if where == "cuda":
        if name == "openvino":
            return "livesam runs OpenVINO on the CPU only"
        no_gpu = gpu_refusal()
        if no_gpu is not None:
            return no_gpu
        return _cuda_build_refusal(name)
    if name == "tensorrt":
        return "TensorRT needs an NVIDIA GPU"
    if precision in (None, "fp32"):
        return None
    return _cpu_precision_refusal(name, str(precision))


def _cpu_precision_refusal(name: str, precision: str) -> str | None:
    if name != "openvino":
        return f"{name} on the CPU runs in fp32 only, not in {precision}"
    from livesam.engine.runtimes.openvino import supported_precisions

    supported = supported_precisions()
    if precision in supported:
        return None
    return f"this processor does not compute in {precision} under OpenVINO, only in {', '.join(supported)}"


def _cuda_build_refusal(name: str) -> str | None:
    if name == "onnxruntime":
        import onnxruntime

        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            return "this onnxruntime is the CPU package: pip uninstall onnxruntime, pip install 'livesam[gpu]'"
    if name == "torch":
        import torch

        if not torch.cuda.is_available():
            return "this PyTorch cannot use the GPU (a CPU build, or a driver too old for it)"
    return None


@cache
def gpu_refusal() -> str | None:
    """Why no NVIDIA GPU can be used here; None if one can. Asks the driver, without any CUDA library."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and hidden.strip() in ("", "-1"):
        return "CUDA_VISIBLE_DEVICES hides every GPU"
    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        return f"no NVIDIA driver is installed ({library} is missing)"
    code = driver.cuInit(0)
    if code != 0:
        return f"the NVIDIA driver does not start (cuInit returned {code})"
    count = ctypes.c_int(0)
    code = driver.cuDeviceGetCount(ctypes.byref(count))
    if code != 0 or count.value == 0:
        return "the NVIDIA driver finds no GPU"
    return None


def _default_precision(kind: str, where: str) -> str:
    return "bf16" if kind == "encoder" and where == "cuda" else "fp32"


def _explain_rest(reasons: dict[str, str], taken: str, where: str, kind: str) -> None:
    reasons[taken] = f"taken: the first that can be used for the {kind} on {where}"
    for name in RUNTIMES:
        if name not in reasons:
            refusal = _refusal(name, where, None)
            reasons[name] = refusal if refusal is not None else f"usable, but slower than {taken} on {where}"


def _version(name: str) -> str:
    found = []
    names = ("onnxruntime", "onnxruntime-gpu") if name == "onnxruntime" else (*_PACKAGES[name], "tensorrt-rtx-cu13")
    for distribution in names if name in ("onnxruntime", "tensorrt") else _PACKAGES[name]:
        try:
            found.append(f"{distribution} {metadata.version(distribution)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(found) or name
