"""Masks as bits, made where the logits are: 1/32 of the bytes have to leave the device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from livesam.engine.geometry import ResizeGeometry

if TYPE_CHECKING:
    import torch


def pack_masks(low_res: torch.Tensor, geometry: ResizeGeometry, threshold: float = 0.0) -> torch.Tensor:
    """Low-res logits (P, 4h, 4w) to packed masks at the original size, uint8 (P, H, ceil(W / 8)), same device.

    Upscaled as ``Sam.postprocess_masks`` does; the first pixel is a byte's highest bit, as in ``numpy.packbits``.
    Tested on the CPU; never run on a GPU so far.
    """
    import torch
    from torch.nn import functional

    size, (rows, columns) = geometry.image_size, geometry.resized_hw
    logits = functional.interpolate(low_res[:, None].float(), (size, size), mode="bilinear", align_corners=False)
    logits = functional.interpolate(
        logits[..., :rows, :columns], geometry.original_hw, mode="bilinear", align_corners=False
    )
    bits = (logits[:, 0] > threshold).to(torch.uint8)  # (P, H, W)
    bits = functional.pad(bits, (0, -bits.shape[-1] % 8))
    place = torch.tensor([128, 64, 32, 16, 8, 4, 2, 1], dtype=torch.uint8, device=bits.device)
    packed: torch.Tensor = (bits.reshape(*bits.shape[:2], -1, 8) * place).sum(-1, dtype=torch.uint8)
    return packed


def unpack_masks(packed: npt.NDArray[np.uint8], original_hw: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Packed masks (P, H, ceil(W / 8)) back to bool (P, H, W)."""
    return np.unpackbits(packed, axis=-1, count=original_hw[1]).astype(np.bool_)
