"""Masks as bits, made where the logits are: 1/32 of the bytes leave the device, and the host resizes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt
from livesam.engine.runtimes.base import Float, GroupedDecoder
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.errors import SessionError
from livesam.engine.values.packed_masks import PackedMasks
from livesam.engine.values.prompt import Prompt
from livesam.engine.view.geometry import ResizeGeometry
from livesam.engine.view.points import PromptGroup, geometry_of, prompts_to_arrays
from livesam.engine.view.selection import Rule, select_token

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

PIXELS_AT_ONCE = 2**26  # upscaled in one go: 256 MiB of logits on the device


class PackingDecoder(GroupedDecoder):
    """A decoder whose logits are torch tensors, on a device or not; subclasses give ``_read`` and ``_free``."""

    def decode_masks(
        self, embedding: ImageEmbedding, prompts: Sequence[Prompt], rule: Rule = "official"
    ) -> PackedMasks:
        """One mask for each prompt, upscaled, thresholded and packed on the device.

        Pixels whose logit is within 1e-4 of the largest logit from 0 may differ from ``geometry.postprocess``.

        Raises:
            ValueError: there is no prompt or no such rule, or mask logits have another shape than the decoder's.
            SessionError: the decoder is closed.
        """
        if not self._open:
            raise SessionError("the decoder is closed: open a new session")
        geometry = geometry_of(embedding)
        height, width = geometry.original_hw
        side = geometry.image_size // 4
        packed = np.empty((len(prompts), height, -(-width // 8)), np.uint8)
        logits = np.empty((len(prompts), side, side), np.float32)
        ious = np.empty(len(prompts), np.float32)
        for group in prompts_to_arrays(prompts, geometry):
            rows = list(group.indices)
            choose = partial(_choose, prompts=[prompts[i] for i in rows], rule=rule, geometry=geometry)
            packed[rows], logits[rows], ious[rows] = self._read(embedding, group, choose)
        return PackedMasks(packed, logits, ious, geometry.original_hw)

    def _run(self, embedding: ImageEmbedding, group: PromptGroup) -> tuple[Float, Float]:
        logits, ious = self._read(embedding, group, to_host)
        return logits, ious

    def _read(
        self, embedding: ImageEmbedding, group: PromptGroup, read: Callable[[torch.Tensor, torch.Tensor], T]
    ) -> T:
        """Decode, then ``read(logits (P, 4, 4h, 4w), ious (P, 4))`` where the work was queued, before the next decode.

        What ``read`` returns must be in host memory.
        """
        raise NotImplementedError


def _choose(
    logits: torch.Tensor, ious: torch.Tensor, *, prompts: Sequence[Prompt], rule: Rule, geometry: ResizeGeometry
) -> tuple[npt.NDArray[np.uint8], Float, Float]:
    """Packed mask, low-res logits and IoU of each prompt's answer, in host memory."""
    (estimates,) = to_host(ious)
    tokens = [select_token(row, prompt, rule) for row, prompt in zip(estimates, prompts, strict=True)]
    rows = range(len(prompts))
    chosen = logits[list(rows), tokens]  # (P, 4h, 4w)
    bits, low_res = to_host(pack_in_parts(chosen, geometry), chosen)
    return bits, low_res, estimates[rows, tokens]


def to_host(*tensors: torch.Tensor) -> tuple[npt.NDArray[Any], ...]:
    """Tensors as arrays in host memory: from a GPU through pinned memory with one wait, from the CPU without a copy."""
    import torch

    if not tensors[0].is_cuda:
        return tuple(tensor.numpy() for tensor in tensors)
    host = [torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True) for tensor in tensors]
    for target, tensor in zip(host, tensors, strict=True):
        target.copy_(tensor, non_blocking=True)
    torch.cuda.current_stream(tensors[0].device).synchronize()
    return tuple(target.numpy() for target in host)


def pack_in_parts(low_res: torch.Tensor, geometry: ResizeGeometry) -> torch.Tensor:
    """``pack_masks`` of so many masks at once as there is room for."""
    import torch

    height, width = geometry.original_hw
    step = max(1, PIXELS_AT_ONCE // max(height * width, geometry.image_size**2))
    if len(low_res) <= step:
        return pack_masks(low_res, geometry)
    return torch.cat([pack_masks(part, geometry) for part in torch.split(low_res, step)])


def pack_masks(low_res: torch.Tensor, geometry: ResizeGeometry, threshold: float = 0.0) -> torch.Tensor:
    """Low-res logits (P, 4h, 4w) to packed masks at the original size, uint8 (P, H, ceil(W / 8)), same device.

    Upscaled as ``Sam.postprocess_masks`` does; the first pixel is a byte's highest bit, as in ``numpy.packbits``.
    """
    import torch
    from torch.nn import functional

    size, (rows, columns) = geometry.image_size, geometry.resized_hw
    logits = functional.interpolate(low_res[:, None].float(), (size, size), mode="bilinear", align_corners=False)
    logits = functional.interpolate(
        logits[..., :rows, :columns], geometry.original_hw, mode="bilinear", align_corners=False
    )
    bits = (logits[:, 0] > threshold).to(torch.uint8)  # (P, H, W)
    if bits.shape[-1] % 8:
        bits = functional.pad(bits, (0, -bits.shape[-1] % 8))
    packed: torch.Tensor = (bits.reshape(*bits.shape[:2], -1, 8) * _places(bits.device)).sum(-1, dtype=torch.uint8)
    return packed


@cache
def _places(device: torch.device) -> torch.Tensor:
    """What each bit of a byte counts; made once for each device, as a click shall send one piece up, not two."""
    import torch

    with torch.inference_mode(False):
        return torch.tensor([128, 64, 32, 16, 8, 4, 2, 1], dtype=torch.uint8, device=device)
