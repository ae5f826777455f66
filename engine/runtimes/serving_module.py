"""An image encoder's weights in the form that serves on a GPU; the model itself is left as it is."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, cast

import torch
from livesam.engine.runtimes.vit_torch import FoldedViT, can_fold, layer_norm
from segment_anything.modeling.common import LayerNorm2d
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

if TYPE_CHECKING:
    from segment_anything.modeling import ImageEncoderViT


def serving_module(encoder: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """A copy for inference on ``device`` with weights in ``dtype``; normalised images in and features out are float32.

    SAM's ViT gets fused attention (``FoldedViT``). In the others batch normalisation goes into the convolution before
    it, in float32 before weights are rounded, and ``LayerNorm2d`` becomes one kernel with sums in float32: written out
    as in the reference it would round each of its steps to bf16.
    """
    if can_fold(encoder):
        vit = FoldedViT(cast("ImageEncoderViT", encoder)).to(device=device, dtype=dtype).eval()
        vit.settle()
        return vit
    module = _fused(copy.deepcopy(encoder).eval())
    return InFloat32(module.to(device=device, dtype=dtype, memory_format=torch.channels_last))  # type: ignore[call-overload]


def compile_module(module: nn.Module, backend: Any = "inductor") -> None:
    """Let ``torch.compile`` make its kernels at the first call of each shape.

    A ViT's blocks are compiled one by one: they share two pieces of code, with windows and without, so that vit_h takes
    no longer than vit_b.
    """
    parts = module.blocks if isinstance(module, FoldedViT) else [module]
    for part in cast("list[nn.Module]", parts):
        part.compile(dynamic=False, backend=backend)


class InFloat32(nn.Module):
    """A module with weights in another number format, float32 in and out."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self._dtype = next(module.parameters()).dtype

    def forward(self, image: Tensor) -> Tensor:
        image = image.to(self._dtype).contiguous(memory_format=torch.channels_last)
        return cast(Tensor, self.module(image).float().contiguous())


class ChannelNorm(nn.Module):
    """``LayerNorm2d`` on ``(B, C, H, W)`` by the fused kernel."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = layer_norm(norm)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))


def _fused(module: nn.Module) -> nn.Module:
    """The module with its batch normalisations gone, changed in place; what follows a convolution in a sequence."""
    before: tuple[str, Any] | None = None
    for name, child in list(module.named_children()):
        if isinstance(module, nn.Sequential) and isinstance(child, nn.BatchNorm2d) and before is not None:
            setattr(module, before[0], fuse_conv_bn_eval(before[1], child))
            setattr(module, name, nn.Identity())
        elif isinstance(child, LayerNorm2d):
            setattr(module, name, ChannelNorm(child))
        else:
            _fused(child)
        before = (name, child) if isinstance(child, nn.Conv2d) else None
    return module
