"""What a device is, and how much of its memory is taken."""

from __future__ import annotations

from typing import Any


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
