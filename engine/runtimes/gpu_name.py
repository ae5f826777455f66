"""Which NVIDIA GPU is here, and which driver."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

from livesam.engine.runtimes.selection import gpu_count


@cache
def gpu_name(gpu: int) -> str:
    """Name and driver of the GPU ``cuda:N``, as the driver tells them; empty where there is none. Needs no torch."""
    if not 0 <= gpu < gpu_count():
        return ""
    driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    device, cuda, name = ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(256)
    driver.cuDeviceGet(ctypes.byref(device), gpu)
    driver.cuDeviceGetName(name, len(name), device)
    driver.cuDriverGetVersion(ctypes.byref(cuda))  # two drivers may have the same
    version = ""
    with suppress(OSError):
        version = f" {Path('/sys/module/nvidia/version').read_text().strip()}"
    return f"{name.value.decode(errors='replace')}, driver{version} (CUDA {cuda.value // 1000})"
