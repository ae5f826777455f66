"""SAM's ViT encoder as it is served on a GPU: the official weights, laid out for fused attention.

The reference adds relative positions to the scores with two einsums over a ``(heads, 4096, 4096)`` tensor, and makes
index tensors on the CPU in each pass, so no CUDA graph can hold it. Here they are part of the product (the ``augment``
of ``export/graphs/attention.py``, exact): ``Q' = [q, rel_h(q), rel_w(q)]``, ``K' = [k, onehot(row), onehot(column)]``,
and ``Q' K'^T`` is the biased score, which fused kernels take. ``rel_h`` and ``rel_w`` are one small product for all
distances, of which each row reads its own part: a view whose step along the row is one element short, no gather.
"""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING, Any, cast

import torch
from segment_anything.modeling import ImageEncoderViT
from segment_anything.modeling.image_encoder import get_rel_pos
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

if TYPE_CHECKING:
    from segment_anything.modeling.image_encoder import Attention, Block

# In the order in which they are tried; cuDNN takes values narrower than keys, and was 1.25 times flash's speed on an
# H200. Math runs everywhere.
KERNELS = {
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "math": SDPBackend.MATH,
}
ALIGNMENT = 16  # of heads' widths: fused kernels refuse what is no multiple of 8, and are at their best at 16


def can_fold(module: nn.Module) -> bool:
    """Whether this is SAM's ViT encoder with relative positions."""
    return isinstance(module, ImageEncoderViT) and all(block.attn.use_rel_pos for block in module.blocks)


class FoldedViT(nn.Module):
    """Normalised RGB ``(B, 3, S, S)`` to ``(B, 256, S/16, S/16)``, float32 in and out whatever the weights are in.

    Args:
        encoder: its weights are copied.
    """

    def __init__(self, encoder: ImageEncoderViT) -> None:
        super().__init__()
        conv = encoder.patch_embed.proj
        self.img_size, self.patch = int(encoder.img_size), int(conv.kernel_size[0])
        self.side = self.img_size // self.patch
        channels = conv.out_channels
        self.embed = nn.Linear(conv.in_channels * self.patch**2, channels)
        self.embed.weight.data = conv.weight.detach().reshape(channels, -1).clone()
        self.embed.bias.data = cast(Tensor, conv.bias).detach().clone()
        position = encoder.pos_embed
        self.register_buffer("position", torch.zeros(1) if position is None else position.detach().clone())
        self.blocks = nn.ModuleList(FoldedBlock(block, self.side) for block in encoder.blocks)
        self.neck = FoldedNeck(encoder.neck)

    def forward(self, image: Tensor) -> Tensor:
        b, p, side = image.shape[0], self.patch, self.side
        patches = image.to(self.embed.weight.dtype).reshape(b, 3, side, p, side, p).permute(0, 2, 4, 1, 3, 5)
        x = self.embed(patches.reshape(b, side, side, 3 * p * p)) + self.position  # (B, h, w, C)
        for block in self.blocks:
            x = block(x)
        return cast(Tensor, self.neck(x))

    def settle(self) -> dict[str, str]:
        """Give each kind of attention, windowed and global, the first kernel that runs here; which one, by kind.

        Raises:
            RuntimeError: none does.
        """
        chosen: dict[str, str] = {}
        for block in cast("list[FoldedBlock]", list(self.blocks)):
            kind = "windows" if block.window else "global"
            if kind not in chosen:
                chosen[kind] = block.attention.settle(25 if block.window else 1)
            block.attention.kernel = chosen[kind]
        return chosen


class FoldedBlock(nn.Module):
    """One transformer block on tokens ``(B, h, w, C)``; ``window`` is 0 where attention is over the whole grid."""

    def __init__(self, block: Block, side: int) -> None:
        super().__init__()
        self.window = int(block.window_size)
        self.norm1, self.norm2 = copy.deepcopy(block.norm1), copy.deepcopy(block.norm2)
        self.attention = FoldedAttention(block.attn, self.window or side)
        self.up, self.down = copy.deepcopy(block.mlp.lin1), copy.deepcopy(block.mlp.lin2)

    def forward(self, x: Tensor) -> Tensor:
        b, side, _, c = x.shape
        y = self.norm1(x)
        if not self.window:
            x = x + self.attention(y.reshape(b, side * side, c)).reshape(b, side, side, c)
        else:
            n, size = -(-side // self.window), self.window
            y = F.pad(y, (0, 0, 0, n * size - side, 0, n * size - side))  # zeros after the norm, as the reference
            windows = y.reshape(b, n, size, n, size, c).transpose(2, 3).reshape(b * n * n, size * size, c)
            y = self.attention(windows).reshape(b, n, n, size, size, c).transpose(2, 3)
            x = x + y.reshape(b, n * size, n * size, c)[:, :side, :side]
        return cast(Tensor, x + self.down(F.gelu(self.up(self.norm2(x)))))


class FoldedAttention(nn.Module):
    """Attention over grids of ``side`` x ``side`` tokens, (G, side * side, C) in and out, projection included."""

    def __init__(self, attention: Attention, side: int) -> None:
        super().__init__()
        self.side, self.heads, self.kernel = side, int(attention.num_heads), "math"
        channels = attention.qkv.in_features
        self.depth = channels // self.heads
        self.qkv, self.proj = copy.deepcopy(attention.qkv), copy.deepcopy(attention.proj)
        scale = self.depth**-0.5
        with torch.no_grad():  # the queries are scaled once and for all: by a power of two for 64 wide heads
            self.qkv.weight[:channels] *= scale
            if self.qkv.bias is not None:
                self.qkv.bias[:channels] *= scale
            tables = [_by_distance(part.detach(), side) / scale for part in (attention.rel_pos_h, attention.rel_pos_w)]
        self.pad = -(self.depth + 2 * side) % ALIGNMENT
        length = 4 * side - 2 + self.pad
        table = F.pad(torch.cat(tables), (0, 0, 0, length - (4 * side - 2) + -length % ALIGNMENT))
        self.register_buffer("table", table.T.contiguous())  # (depth, L): by distance along h, then along w
        eye = torch.eye(side)
        rows = eye.repeat_interleave(side, 0)
        places = F.pad(torch.cat([rows, eye.repeat(side, 1)], 1), (0, self.pad))
        self.register_buffer("places", places.reshape(1, side * side, 1, -1))  # (1, n, 1, 2 side + pad)

    def forward(self, x: Tensor) -> Tensor:
        g, n, c = x.shape
        q, k, v = self.qkv(x).reshape(g, n, 3, self.heads, self.depth).unbind(2)  # each (G, n, heads, depth)
        rel_h, rel_w = self._relative(q)
        query = torch.cat([q.unflatten(1, (self.side, self.side)), rel_h, rel_w], -1).flatten(1, 2)
        places = cast(Tensor, self.places)
        key = torch.cat([k, places.expand(g, n, self.heads, places.shape[-1])], -1)
        mixed = self._attend(query.transpose(1, 2), key.transpose(1, 2), v.transpose(1, 2))  # (G, heads, n, depth)
        return cast(Tensor, self.proj(mixed.transpose(1, 2).reshape(g, n, c)))

    def settle(self, grids: int) -> str:
        """The first kernel that takes this attention's shapes and numbers.

        Raises:
            RuntimeError: none does.
        """
        weight = self.qkv.weight
        x = torch.zeros(grids, self.side**2, weight.shape[1], dtype=weight.dtype, device=weight.device)
        refused: list[str] = []
        for name in KERNELS:
            self.kernel = name
            try:
                with torch.inference_mode(), warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # a refusal comes as an error, and its reasons as warnings
                    self(x)
                return name
            except RuntimeError as error:  # each kernel says why it is not for these shapes, or not built in
                refused.append(f"{name}: {error}")
        raise RuntimeError("no attention kernel of PyTorch runs here: " + "; ".join(refused))

    def _relative(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """Dot products with the relative positions, (G, h, w, heads, h) and (G, h, w, heads, w + pad)."""
        (g, n), side, table = q.shape[:2], self.side, cast(Tensor, self.table)
        length = table.shape[1]
        # All distances at once (heads, G * n, L). The query in row r meets key row k at distance side - 1 - r + k.
        full = torch.bmm(q.flatten(0, 1).transpose(0, 1), table.expand(self.heads, -1, -1))
        shape = (g, side, side, self.heads)
        by_row = (n * length, side * length - 1, length, g * n * length, 1)
        by_column = (n * length, side * length, length - 1, g * n * length, 1)
        rel_h = full.as_strided((*shape, side), by_row, side - 1)
        # The padding reads on into the next distances; the keys are zero there.
        return rel_h, full.as_strided((*shape, side + self.pad), by_column, 3 * side - 2)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        with sdpa_kernel([KERNELS[self.kernel]]):
            if self.kernel == "flash":  # it wants values as wide as keys
                v = F.pad(v, (0, k.shape[-1] - self.depth))
                return F.scaled_dot_product_attention(q, k, v, scale=1.0)[..., : self.depth]
            return F.scaled_dot_product_attention(q, k, v, scale=1.0)


class FoldedNeck(nn.Module):
    """Tokens ``(B, h, w, C)`` to features ``(B, 256, h, w)``: channels stay last in memory until the end."""

    def __init__(self, neck: nn.Sequential) -> None:
        super().__init__()
        narrow, norm1, conv, norm2 = (cast(Any, part) for part in neck)
        self.narrow = nn.Linear(narrow.in_channels, narrow.out_channels, bias=False)
        self.narrow.weight.data = narrow.weight.detach().flatten(1).clone()
        self.conv = copy.deepcopy(conv).to(memory_format=torch.channels_last)
        self.norm1, self.norm2 = layer_norm(norm1), layer_norm(norm2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(self.narrow(x)).permute(0, 3, 1, 2)
        x = self.norm2(self.conv(x).permute(0, 2, 3, 1))
        return x.permute(0, 3, 1, 2).float().contiguous()


def _by_distance(rel_pos: Tensor, side: int) -> Tensor:
    """(2 side - 1, depth): the position for a key that is ``i - (side - 1)`` after the query; resized as SAM does."""
    pairs = get_rel_pos(side, side, rel_pos)  # (query, key, depth)
    return torch.cat([pairs[side - 1], pairs[0, 1:]])


def layer_norm(norm: Any) -> nn.LayerNorm:
    """SAM's ``LayerNorm2d`` for channels that come last: one kernel with sums in float32, instead of six."""
    made = nn.LayerNorm(norm.weight.shape[0], eps=norm.eps)
    made.weight.data, made.bias.data = norm.weight.detach().clone(), norm.bias.detach().clone()
    return made
