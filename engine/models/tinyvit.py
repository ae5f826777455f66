"""MobileSAM's image encoder: TinyViT-5M at 1024 px, with exactly the tensor names of ``mobile_sam.pt``.

Architecture from "TinyViT" (arXiv 2207.10666) and "Faster Segment Anything" (MobileSAM, arXiv 2306.14289). Against the
classifier, MobileSAM does not halve the resolution before the last stage and adds SAM's neck. The classifier's head is
in the file and so in the state dict, but never runs.

Everything that depends on the input's size is plain Python arithmetic on static shapes, and attention is one
``scaled_dot_product_attention`` with an additive bias, so traces are free of control flow and runtimes can fuse it.
"""

from __future__ import annotations

from typing import cast

import torch
from segment_anything.modeling.common import LayerNorm2d
from torch import Tensor, nn
from torch.nn import functional as F

DIMS = (64, 128, 160, 320)
DEPTHS = (2, 2, 6, 2)
HEADS = (2, 4, 5, 10)
WINDOWS = (7, 7, 14, 7)
STRIDES = (2, 2, 1)  # of the patch merging after stages 0, 1 and 2
CLASSES = 1000


class ConvBN(nn.Sequential):
    """A convolution without bias and its batch normalisation, named ``c`` and ``bn``."""

    def __init__(self, c_in: int, c_out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.c = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(c_out)


class PatchEmbed(nn.Module):
    """Two strided convolutions: ``(B, 3, S, S)`` to ``(B, 64, S/4, S/4)``."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(ConvBN(3, dim // 2, 3, 2), nn.GELU(), ConvBN(dim // 2, dim, 3, 2))

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.seq(x))


class MBConv(nn.Module):
    """An inverted bottleneck with a skip; the last activation follows the sum."""

    def __init__(self, dim: int, expand: int = 4) -> None:
        super().__init__()
        self.conv1 = ConvBN(dim, expand * dim)
        self.conv2 = ConvBN(expand * dim, expand * dim, 3, groups=expand * dim)
        self.conv3 = ConvBN(expand * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(x + self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x))))))


class PatchMerging(nn.Module):
    """To the next stage's channels, at ``1/stride`` of the resolution."""

    def __init__(self, dim: int, out_dim: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvBN(dim, out_dim)
        self.conv2 = ConvBN(out_dim, out_dim, 3, stride, groups=out_dim)
        self.conv3 = ConvBN(out_dim, out_dim)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x))))))


class Attention(nn.Module):
    """Pre-norm attention inside a window, with a learned bias for each distance ``(|dy|, |dx|)`` and head."""

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        # Distances are numbered in the order in which a walk over all pairs meets them; that walk starts at the corner
        # and meets every distance from there, so the number of (dy, dx) is dy * window + dx.
        self.attention_biases = nn.Parameter(torch.zeros(heads, window * window))
        self.window = window

    def bias(self) -> Tensor:
        """The additive attention bias, ``(1, heads, window**2, window**2)``."""
        position = torch.arange(self.window, device=self.attention_biases.device)
        distance = (position[:, None] - position[None, :]).abs()  # (w, w)
        index = distance[:, None, :, None] * self.window + distance[None, :, None, :]  # (y1, x1, y2, x2)
        tokens = self.window * self.window
        return self.attention_biases[:, index.reshape(tokens, tokens)].unsqueeze(0)

    def forward(self, x: Tensor) -> Tensor:
        b, n, c = x.shape
        qkv = self.qkv(self.norm(x)).reshape(b, n, self.heads, 3, c // self.heads)  # q, k, v lie together by head
        q, k, v = qkv.permute(3, 0, 2, 1, 4).unbind(0)  # each (B, heads, n, C/heads)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=self.bias())
        return cast(Tensor, self.proj(mixed.transpose(1, 2).reshape(b, n, c)))


class Mlp(nn.Module):
    """Pre-norm perceptron."""

    def __init__(self, dim: int, ratio: int = 4) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, ratio * dim)
        self.fc2 = nn.Linear(ratio * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.fc2(F.gelu(self.fc1(self.norm(x)))))


class Block(nn.Module):
    """Window attention, a depthwise convolution, a perceptron; ``(B, C, H, W)`` in and out."""

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.attn = Attention(dim, heads, window)
        self.mlp = Mlp(dim)
        self.local_conv = ConvBN(dim, dim, 3, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        x = cast(Tensor, self.local_conv(x + self._attend(x)))
        tokens = x.permute(0, 2, 3, 1)  # (B, H, W, C)
        return x + cast(Tensor, self.mlp(tokens)).permute(0, 3, 1, 2)

    def _attend(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        side = self.window
        # The padding is zero before the norm and takes part in attention, as it did in MobileSAM's training.
        rows, columns = (h + side - 1) // side, (w + side - 1) // side  # tracing rounds a negative quotient up
        x = F.pad(x, (0, columns * side - w, 0, rows * side - h))
        windows = x.reshape(b, c, rows, side, columns, side).permute(0, 2, 4, 3, 5, 1)
        mixed = self.attn(windows.reshape(b * rows * columns, side * side, c))
        x = mixed.reshape(b, rows, columns, side, side, c).permute(0, 5, 1, 3, 2, 4)
        return x.reshape(b, c, rows * side, columns * side)[:, :, :h, :w]


class Stage(nn.Module):
    """Blocks, and the way to the next stage if there is one."""

    def __init__(self, blocks: list[nn.Module], downsample: PatchMerging | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x if self.downsample is None else cast(Tensor, self.downsample(x))


class TinyViT(nn.Module):
    """Normalised RGB ``(B, 3, 1024, 1024)`` to embeddings ``(B, 256, 64, 64)``; the side may be any multiple of 16."""

    def __init__(self, img_size: int = 1024) -> None:
        super().__init__()
        self.img_size = img_size
        self.patch_embed = PatchEmbed(DIMS[0])
        self.layers = nn.ModuleList()
        for i, (dim, depth) in enumerate(zip(DIMS, DEPTHS, strict=True)):
            blocks: list[nn.Module] = [
                MBConv(dim) if i == 0 else Block(dim, HEADS[i], WINDOWS[i]) for _ in range(depth)
            ]
            merging = PatchMerging(dim, DIMS[i + 1], STRIDES[i]) if i < len(STRIDES) else None
            self.layers.append(Stage(blocks, merging))
        self.norm_head = nn.LayerNorm(DIMS[-1])
        self.head = nn.Linear(DIMS[-1], CLASSES)
        self.neck = nn.Sequential(
            nn.Conv2d(DIMS[-1], 256, 1, bias=False),
            LayerNorm2d(256),
            nn.Conv2d(256, 256, 3, padding=1, bias=False),
            LayerNorm2d(256),
        )

    def forward(self, image: Tensor) -> Tensor:
        x = self.patch_embed(image)  # (B, 64, S/4, S/4)
        for layer in self.layers:
            x = layer(x)
        return cast(Tensor, self.neck(x))  # (B, 256, S/16, S/16)
