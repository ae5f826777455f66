"""On which device, and with which numbers, PyTorch is asked to run."""

from __future__ import annotations

import torch
from livesam.engine.values.errors import RuntimeUnavailable

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def torch_place(device: str, precision: str) -> tuple[torch.device, torch.dtype]:
    """The device ``cpu``, ``cuda`` or ``cuda:N`` and the dtype of ``fp32``, ``bf16`` or ``fp16`` on it.

    Raises:
        RuntimeUnavailable: there is no such device here, or this precision is of no use on it.
        ValueError: there is no such device or precision at all.
    """
    if precision not in DTYPES:
        raise ValueError(f"unknown precision {precision!r}: choose one of {', '.join(DTYPES)}")
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"unknown device {device!r}: choose cpu, cuda or cuda:N") from error
    if place.type == "cuda":
        if not torch.cuda.is_available():
            raise RuntimeUnavailable("PyTorch finds no CUDA device here: choose the device cpu")
        if place.index is not None and place.index >= torch.cuda.device_count():
            raise RuntimeUnavailable(f"PyTorch finds {torch.cuda.device_count()} GPU(s), not {device}: count from 0")
    elif place.type != "cpu":
        raise ValueError(f"unknown device {device!r}: choose cpu, cuda or cuda:N")
    elif precision != "fp32":
        raise RuntimeUnavailable(f"torch on the CPU runs in fp32 only, got {precision}: fp16 is 200 times slower there")
    return place, DTYPES[precision]
