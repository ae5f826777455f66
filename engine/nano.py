"""The image encoder of `nano`, livesam's bundled model.

It looks as it does for three reasons:

* It has to encode a 512-px image in tens of milliseconds on two CPU cores. Dense 3x3 convolutions run near the
  arithmetic peak of OpenVINO and ONNX Runtime there, depthwise ones are bound by memory; so every convolution but the
  positional ones is dense, and the expensive resolutions (1/2, 1/4) hold one thin convolution each.
* It is trained from scratch on some thousand images. Batch normalisation (folded away for inference) and residual
  convolutions take off in a few hundred steps, where a plain vision transformer of this size needs a hundred epochs.
* A click has to select a whole object. Three transformer blocks at 1/32 (256 tokens at 512 px, a quarter of the work)
  see the whole image; a depthwise convolution tells them where they are, so any input size that is a multiple of 32
  works, and training can begin at 128 px.

The 1/8, 1/16 and 1/32 maps are summed at 1/16 into the 256 channels that SAM's decoder expects; the 1/8 map arrives by
pixel-unshuffle, so nothing of the outline is averaged away before the decoder's 4x upscaling.
"""

from __future__ import annotations

from typing import cast

from segment_anything.modeling.common import LayerNorm2d
from torch import Tensor, nn
from torch.nn import functional as F

CHANNELS = (16, 32, 64, 144, 256)  # at 1/2, 1/4, 1/8, 1/16, 1/32
NECK_CHANNELS = 160
ATTENTION_BLOCKS = 3
HEADS = 8


def _conv(c_in: int, c_out: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(c_out), nn.ReLU(inplace=True)
    )


class ResidualBlock(nn.Module):
    """Two dense 3x3 convolutions and a skip."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _conv(channels, channels)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(cast(Tensor, x + self.second(self.first(x))))


class AttentionBlock(nn.Module):
    """A pre-norm transformer block over all positions, with a depthwise convolution as positional encoding."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.position = nn.Conv2d(channels, channels, 3, 1, 1, groups=channels)
        self.norm1 = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.position(x)
        b, c, h, w = x.shape
        tokens = x.flatten(2).transpose(1, 2)  # (B, h*w, C)
        qkv = self.qkv(self.norm1(tokens)).reshape(b, h * w, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2])  # (B, heads, h*w, C/heads)
        tokens = tokens + self.proj(mixed.transpose(1, 2).reshape(b, h * w, c))
        tokens = tokens + self.mlp(self.norm2(tokens))
        return cast(Tensor, tokens.transpose(1, 2).reshape(b, c, h, w))


class NanoEncoder(nn.Module):
    """Normalised RGB ``(B, 3, S, S)`` to ``(B, 256, S/16, S/16)``; S = 512 in use, any multiple of 32 works."""

    def __init__(self) -> None:
        super().__init__()
        self.img_size = 512
        c2, c4, c8, c16, c32 = CHANNELS
        self.stem = nn.Sequential(_conv(3, c2, stride=2), _conv(c2, c4, stride=2))
        self.stage8 = nn.Sequential(_conv(c4, c8, stride=2), ResidualBlock(c8))
        self.stage16 = nn.Sequential(_conv(c8, c16, stride=2), ResidualBlock(c16))
        self.stage32 = nn.Sequential(
            _conv(c16, c32, stride=2), *(AttentionBlock(c32, HEADS) for _ in range(ATTENTION_BLOCKS))
        )
        self.lateral8 = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4 * c8, NECK_CHANNELS, 1))
        self.lateral16 = nn.Conv2d(c16, NECK_CHANNELS, 1)
        self.lateral32 = nn.Conv2d(c32, NECK_CHANNELS, 1)
        self.fuse = _conv(NECK_CHANNELS, NECK_CHANNELS)
        self.out = nn.Sequential(nn.Conv2d(NECK_CHANNELS, 256, 1), LayerNorm2d(256))

    def forward(self, image: Tensor) -> Tensor:
        x8 = self.stage8(self.stem(image))
        x16 = self.stage16(x8)
        x32 = self.stage32(x16)
        top = F.interpolate(self.lateral32(x32), scale_factor=2.0, mode="nearest")
        x = F.relu(self.lateral8(x8) + self.lateral16(x16) + top)
        return cast(Tensor, self.out(x + self.fuse(x)))  # (B, 256, S/16, S/16)
