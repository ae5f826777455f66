"""What PyTorch alone gives on a device: the baseline of every other runtime, and the only one that is always there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from livesam.benchmarks.gpu.device_clock import flops_of, time_calls, traffic_of

if TYPE_CHECKING:
    import torch
    from segment_anything.modeling import Sam


def encoder_latency(sam: Sam, device: str, *, seconds: float = 1.0) -> dict[str, Any]:
    """The image encoder of ``segment_anything`` itself, eager, batch 1, by number format."""
    import torch

    found: dict[str, Any] = {}
    for name, dtype in _formats(device).items():
        encoder = _encoder(sam, device, dtype)
        image = torch.randn(1, 3, sam.image_encoder.img_size, sam.image_encoder.img_size, device=device, dtype=dtype)
        with torch.inference_mode():
            found[name] = time_calls(lambda e=encoder, x=image: e(x), device, seconds=seconds).to_json()  # type: ignore[misc]
    return found


def encoder_throughput(
    sam: Sam,
    device: str,
    batches: Sequence[int],
    limits: Mapping[str, Any],
    *,
    precision: str = "bf16",
    seconds: float = 1.0,
) -> list[dict[str, Any]]:
    """Images a second over batch sizes, with TFLOP/s, GB/s of traffic, and the shares of the measured ceilings.

    A batch that does not fit into memory ends the list with a row that says so.

    Args:
        limits: what ``device_clock.ceilings`` found; shares are left out where it is empty.
    """
    import torch

    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    encoder = _encoder(sam, device, dtype)
    side = int(sam.image_encoder.img_size)
    flops = flops_of(encoder, torch.randn(1, 3, side, side, device=device, dtype=dtype))
    rows: list[dict[str, Any]] = []
    for batch in batches:
        try:
            images = torch.randn(batch, 3, side, side, device=device, dtype=dtype)
            moved = traffic_of(encoder, images)
            with torch.inference_mode():
                timing = time_calls(lambda x=images: encoder(x), device, seconds=seconds)  # type: ignore[misc]
        except torch.OutOfMemoryError:
            rows.append({"batch": batch, "skipped": "out of memory"})
            break
        tflops = batch * flops / timing.p50_ms / 1e9
        row: dict[str, Any] = {
            "batch": batch,
            "images_per_s": round(batch * 1e3 / timing.p50_ms, 4),
            "tflops": round(tflops, 4),
            "gb_s": round(moved / timing.p50_ms / 1e6, 2),
            **timing.to_json(),
        }
        if limits.get("matmul_tflops", {}).get(precision):  # 0.0 where such products run in software
            row["share_of_matmul"] = round(tflops / limits["matmul_tflops"][precision], 4)
        if "copy_gb_s" in limits:
            row["share_of_copy"] = round(moved / timing.p50_ms / 1e6 / limits["copy_gb_s"], 4)
        rows.append(row)
    return rows


def memory(device: str) -> dict[str, float]:
    """Device memory in MiB: the most that PyTorch has held since ``reset_memory``, and what is taken on the device now.

    TensorRT and ONNX Runtime allocate beside PyTorch and show in ``device_used_mib`` only. Empty on the CPU.
    """
    if not device.startswith("cuda"):
        return {}
    import torch

    free, total = torch.cuda.mem_get_info(device)
    return {
        "peak_memory_mib": round(torch.cuda.max_memory_allocated(device) / 2**20, 1),
        "device_used_mib": round((total - free) / 2**20, 1),
    }


def reset_memory(device: str) -> None:
    """Give back what earlier work left cached, and begin to count the peak anew; nothing on the CPU."""
    if not device.startswith("cuda"):
        return
    import gc

    import torch

    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)


def device_facts(device: str) -> dict[str, Any]:
    """Name, compute capability, memory and driver-side versions of the device."""
    import torch

    facts: dict[str, Any] = {"device": device, "torch": torch.__version__}
    if device.startswith("cuda"):
        properties = torch.cuda.get_device_properties(device)
        facts |= {
            "name": properties.name,
            "compute_capability": f"{properties.major}.{properties.minor}",
            "memory_mib": properties.total_memory // 2**20,
            "multiprocessors": properties.multi_processor_count,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        }
    return facts


def _formats(device: str) -> dict[str, torch.dtype]:
    import torch

    formats = {"fp32": torch.float32, "bf16": torch.bfloat16}
    return {**formats, "fp16": torch.float16} if device.startswith("cuda") else formats


def _encoder(sam: Sam, device: str, dtype: torch.dtype) -> torch.nn.Module:
    from copy import deepcopy

    encoder: torch.nn.Module = deepcopy(sam.image_encoder).to(device=device, dtype=dtype)
    return encoder.eval()
