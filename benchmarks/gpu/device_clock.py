"""Timing work on a device, and how fast that device is at what everything is made of."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Timing:
    """Time of one call over several, milliseconds."""

    p50_ms: float
    p95_ms: float
    p99_ms: float
    min_ms: float
    calls: int

    @classmethod
    def of(cls, times_ms: Sequence[float]) -> Timing:
        """The percentiles of at least one time."""
        p50, p95, p99 = (float(value) for value in np.percentile(times_ms, [50, 95, 99]))
        return cls(p50, p95, p99, min(times_ms), len(times_ms))

    def to_json(self) -> dict[str, object]:
        """As a JSON object."""
        return {
            "p50_ms": round(self.p50_ms, 4),
            "p95_ms": round(self.p95_ms, 4),
            "p99_ms": round(self.p99_ms, 4),
            "min_ms": round(self.min_ms, 4),
            "calls": self.calls,
        }


def time_calls(
    call: Callable[[], object],
    device: str,
    *,
    seconds: float = 1.0,
    warmup: int = 3,
    most: int = 1000,
    before: Callable[[], object] | None = None,
) -> Timing:
    """Call for about ``seconds``, at least 3 and at most ``most`` times, after a warm-up.

    The clock is the caller's: from the call to the end of all work on the device, which is waited for each time. On a
    GPU that includes the launches, as a click does.

    Args:
        before: called ahead of each call, untimed.
    """
    wait, prepare = synchroniser(device), before or (lambda: None)
    for _ in range(warmup):
        prepare()
        call()
    wait()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or (time.perf_counter() < end and len(times) < most):
        prepare()
        wait()
        started = time.perf_counter()
        call()
        wait()
        times.append((time.perf_counter() - started) * 1e3)
    return Timing.of(times)


def first_call_ms(call: Callable[[], object], device: str) -> float:
    """What the very first call takes, with all that is loaded, compiled or captured in it."""
    wait = synchroniser(device)
    wait()
    started = time.perf_counter()
    call()
    wait()
    return round((time.perf_counter() - started) * 1e3, 2)


def synchroniser(device: str) -> Callable[[], None]:
    """What waits for all work on the device."""
    if not device.startswith("cuda"):
        return lambda: None
    import torch

    return torch.cuda.synchronize


def ceilings(device: str, *, size: int = 8192, copy_mib: int = 1024, seconds: float = 0.5) -> dict[str, Any]:
    """What this device reaches at best: matrix products by number format, copying, and an empty launch.

    Shares of these ceilings say more than shares of a data sheet. Keys: ``matmul_tflops`` by precision, ``copy_gb_s``
    (bytes read and written), ``launch_us``.
    """
    import torch

    found: dict[str, Any] = {"matmul_size": size, "matmul_tflops": {}}
    formats: dict[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}
    if device.startswith("cuda"):  # fp16 products run in software on most CPUs
        formats["fp16"] = torch.float16
    for name, dtype in formats.items():
        a = torch.randn(size, size, device=device, dtype=dtype)
        b = torch.randn(size, size, device=device, dtype=dtype)
        out = torch.empty_like(a)
        timing = time_calls(lambda a=a, b=b, out=out: torch.mm(a, b, out=out), device, seconds=seconds)  # type: ignore[misc]
        found["matmul_tflops"][name] = round(2 * size**3 / timing.min_ms / 1e9, 2)
    source = torch.empty(copy_mib * 2**20, device=device, dtype=torch.uint8)
    target = torch.empty_like(source)
    timing = time_calls(lambda: target.copy_(source), device, seconds=seconds)
    found["copy_gb_s"] = round(2 * source.numel() / timing.min_ms / 1e6, 1)
    one = torch.zeros(1, device=device)
    found["launch_us"] = round(time_calls(lambda: one.add_(1), device, seconds=seconds).p50_ms * 1e3, 2)
    return found


def flops_of(module: torch.nn.Module, *inputs: torch.Tensor) -> int:
    """Floating-point operations of one forward pass (a multiply-add counts twice), by torch's own counter."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        module(*inputs)
    return int(counter.get_total_flops())
