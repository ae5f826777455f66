"""SAM's ViT (vit_b, vit_l, vit_h, or a smaller one of the same class) as an ONNX graph, written from its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from livesam.export.graphs.attention import AttentionWeights, RelPos, attention
from livesam.export.graphs.graph import GraphBuilder

if TYPE_CHECKING:
    from segment_anything.modeling.image_encoder import Attention, ImageEncoderViT
    from torch import Tensor

Array = npt.NDArray[Any]


def _array(tensor: Tensor) -> Array:
    result: Array = tensor.detach().cpu().float().numpy()
    return result


def _attention_weights(key: str, layer: Attention, hw: tuple[int, int]) -> AttentionWeights:
    from segment_anything.modeling.image_encoder import get_rel_pos

    rel_h = _array(get_rel_pos(hw[0], hw[0], layer.rel_pos_h)) if layer.use_rel_pos else None
    rel_w = _array(get_rel_pos(hw[1], hw[1], layer.rel_pos_w)) if layer.use_rel_pos else None
    channels = layer.proj.in_features
    bias = _array(layer.qkv.bias) if layer.qkv.bias is not None else np.zeros(3 * channels, np.float32)
    return AttentionWeights(
        key=key,
        qkv=_array(layer.qkv.weight).T,
        qkv_bias=bias,
        proj=_array(layer.proj.weight).T,
        proj_bias=_array(layer.proj.bias),
        heads=layer.num_heads,
        rel_h=rel_h,
        rel_w=rel_w,
    )


def write_vit(b: GraphBuilder, image: str, vit: ImageEncoderViT, form: RelPos) -> str:
    """Normalised pixels (B, 3, S, S) -> embedding (B, 256, S/16, S/16)."""
    conv = vit.patch_embed.proj
    channels, _, patch, _ = conv.weight.shape
    size = vit.img_size // patch
    hw, n = (size, size), size * size

    # Patches do not overlap: their convolution is one product.
    x = b.reshape(image, [-1, 3, size, patch, size, patch])
    x = b.reshape(b.transpose(x, [0, 2, 4, 1, 3, 5]), [-1, n, 3 * patch * patch])
    x = b.matmul(x, b.weight("patch_embed.proj.weight", _array(conv.weight).reshape(channels, -1).T))
    place = _array(conv.bias).reshape(1, 1, channels)
    if vit.pos_embed is not None:
        place = place + _array(vit.pos_embed).reshape(1, n, channels)
    x = b.add(x, b.weight("pos_embed", place))

    for i, block in enumerate(vit.blocks):
        key = f"blocks.{i}"

        def norm(value: str, name: str, layer: Any, key: str = key) -> str:
            weight = b.weight(f"{key}.{name}.weight", _array(layer.weight))
            return b.layer_norm(value, weight, b.weight(f"{key}.{name}.bias", _array(layer.bias)), layer.eps)

        def linear(value: str, name: str, layer: Any, key: str = key) -> str:
            value = b.matmul(value, b.weight(f"{key}.{name}.weight", _array(layer.weight).T))
            return b.add(value, b.weight(f"{key}.{name}.bias", _array(layer.bias)))

        window = block.window_size
        grid = (window, window) if window else hw
        weights = _attention_weights(f"{key}.attn", block.attn, grid)
        x = b.add(x, attention(b, norm(x, "norm1", block.norm1), weights, hw, window, form))
        hidden = b.gelu(linear(norm(x, "norm2", block.norm2), "mlp.lin1", block.mlp.lin1))
        x = b.add(x, linear(hidden, "mlp.lin2", block.mlp.lin2))

    first, norm1, second, norm2 = vit.neck
    out = first.weight.shape[0]

    def neck_norm(value: str, name: str, layer: Any) -> str:
        weight = b.weight(f"neck.{name}.weight", _array(layer.weight))
        return b.layer_norm(value, weight, b.weight(f"neck.{name}.bias", _array(layer.bias)), layer.eps)

    x = neck_norm(b.matmul(x, b.weight("neck.0.weight", _array(first.weight).reshape(out, channels).T)), "1", norm1)
    x = b.reshape(b.transpose(x, [0, 2, 1]), [-1, out, size, size])
    x = b.op("Conv", x, b.weight("neck.2.weight", _array(second.weight)), kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    x = neck_norm(b.transpose(b.reshape(x, [-1, out, n]), [0, 2, 1]), "3", norm2)
    return b.reshape(b.transpose(x, [0, 2, 1]), [-1, out, size, size])
