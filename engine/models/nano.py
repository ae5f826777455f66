"""The image encoder of `nano`, livesam's bundled model: 5.2 M parameters.

It looks as it does for four reasons:

* It encodes a 512-px image in tens of milliseconds on two CPU cores. The trunk is EfficientNet-Lite0 (Tan and Le, arXiv
  1905.11946, table 1, without squeeze-and-excitation and with ReLU6: tensorflow/tpu, efficientnet/lite), which was made
  for that, and its batch normalisation folds away for inference.
* The trunk has seen a million photos. Its ImageNet weights are Apache-2.0; some thousand images with masks are enough
  to teach the rest, where an encoder trained on them alone fails on half of its objects.
* Outlines survive. The 1/4, 1/8, 1/16 and 1/32 maps are summed at 1/16 into the 256 channels that SAM's decoder
  expects. The finer two arrive by pixel-unshuffle, so nothing is averaged away before the decoder's 4x upscaling.
* A click has to select a whole object. Two transformer blocks at 1/32 see the whole image; a depthwise convolution
  tells them where they are, so any input size that is a multiple of 32 works, with the same weights.

Convolutions pad symmetrically, as PyTorch does, where TensorFlow's original pads right and bottom: the ImageNet weights
still name a photo rightly, and a mask is not shifted by half a cell.
"""

from __future__ import annotations

from typing import NamedTuple, cast

from segment_anything.modeling.common import LayerNorm2d
from torch import Tensor, nn
from torch.nn import functional as F

STEM_CHANNELS = 32
CONTEXT_CHANNELS = 256
CONTEXT_BLOCKS = 2
HEADS = 8
NECK_CHANNELS = 192


class StageShape(NamedTuple):
    """One stage of the trunk: ``repeats`` blocks, of which the first has the ``stride``."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


TRUNK = (
    StageShape(1, 3, 1, 1, 16),
    StageShape(2, 3, 2, 6, 24),  # 1/4
    StageShape(2, 5, 2, 6, 40),  # 1/8
    StageShape(3, 3, 2, 6, 80),
    StageShape(3, 5, 1, 6, 112),  # 1/16
    StageShape(4, 5, 2, 6, 192),
    StageShape(1, 3, 1, 6, 320),  # 1/32
)
TAPS = (1, 2, 4, 6)  # the last stage of each resolution, 1/4 to 1/32


def _convolution(c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1) -> tuple[nn.Module, nn.Module]:
    """A convolution and its batch normalisation, with the trunk's epsilon and momentum."""
    return (
        nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(c_out, eps=1e-3, momentum=0.01),
    )


class InvertedResidual(nn.Module):
    """Expand by a 1x1 convolution, filter each channel, project back; with a skip where shapes agree (MBConv)."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = c_in * expansion
        self.expand: nn.Module = nn.Identity()
        if expansion > 1:
            self.expand = nn.Sequential(*_convolution(c_in, wide, 1), nn.ReLU6())
        self.depthwise = nn.Sequential(*_convolution(wide, wide, kernel, stride, groups=wide), nn.ReLU6())
        self.project = nn.Sequential(*_convolution(wide, c_out, 1))
        self.skip = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.depthwise(self.expand(x)))
        return cast(Tensor, x + y if self.skip else y)


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
    """Normalised RGB ``(B, 3, S, S)`` to ``(B, 256, S/16, S/16)``; S is 512 or 1024, or any multiple of 32."""

    def __init__(self, image_size: int = 512) -> None:
        super().__init__()
        self.img_size = image_size
        self.stem = nn.Sequential(*_convolution(3, STEM_CHANNELS, 3, 2), nn.ReLU6())
        self.stages = nn.ModuleList()
        channels = STEM_CHANNELS
        for shape in TRUNK:
            blocks = []
            for repeat in range(shape.repeats):
                stride = shape.stride if repeat == 0 else 1
                blocks.append(InvertedResidual(channels, shape.channels, shape.kernel, stride, shape.expansion))
                channels = shape.channels
            self.stages.append(nn.Sequential(*blocks))
        c4, c8, c16, c32 = (TRUNK[tap].channels for tap in TAPS)
        self.context = nn.Sequential(
            nn.Conv2d(c32, CONTEXT_CHANNELS, 1),
            *(AttentionBlock(CONTEXT_CHANNELS, HEADS) for _ in range(CONTEXT_BLOCKS)),
        )
        self.lateral4 = nn.Sequential(nn.PixelUnshuffle(4), nn.Conv2d(16 * c4, NECK_CHANNELS, 1))
        self.lateral8 = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4 * c8, NECK_CHANNELS, 1))
        self.lateral16 = nn.Conv2d(c16, NECK_CHANNELS, 1)
        self.lateral32 = nn.Conv2d(CONTEXT_CHANNELS, NECK_CHANNELS, 1)
        self.fuse = nn.Sequential(
            nn.Conv2d(NECK_CHANNELS, NECK_CHANNELS, 3, 1, 1, bias=False), nn.BatchNorm2d(NECK_CHANNELS), nn.ReLU()
        )
        self.out = nn.Sequential(nn.Conv2d(NECK_CHANNELS, 256, 1), LayerNorm2d(256))

    def forward(self, image: Tensor) -> Tensor:
        x, maps = self.stem(image), []
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number in TAPS:
                maps.append(x)
        x4, x8, x16, x32 = maps
        top = F.interpolate(self.lateral32(self.context(x32)), scale_factor=2.0, mode="nearest")
        x = F.relu(self.lateral4(x4) + self.lateral8(x8) + self.lateral16(x16) + top)
        return cast(Tensor, self.out(x + self.fuse(x)))  # (B, 256, S/16, S/16)
