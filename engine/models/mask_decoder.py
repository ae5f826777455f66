"""SAM's mask decoder, fast and with gradients: the arithmetic of serving on a GPU and of learning anywhere.

It is the official ``MaskDecoder.predict_masks`` on the official module's own parameters, different from it by rounding
only: image tokens stay ``(P, h*w, 256)``, the two transposed convolutions of stride 2 are matrix products whose pixels
are put in order only after the hyper-networks have reduced 32 channels to 4, and attention and layer norm are the fused
ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from segment_anything.modeling import MaskDecoder

GiveWay: TypeAlias = Callable[[], None]
Decoded: TypeAlias = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Trunk:
    """What the decoder's two-way transformer makes of P prompts; the head makes masks of it.

    Attributes:
        queries: ``(P, 5, 256)``: the IoU token and the four mask tokens; nothing reads the prompt's own.
        image: ``(P, h*w, 256)``, one token a cell of the embedding.
    """

    queries: Tensor
    image: Tensor


def two_way(
    decoder: MaskDecoder,
    image: Tensor,
    position: Tensor,
    sparse: Tensor,
    give_way: GiveWay | None = None,
    absent: Tensor | None = None,
) -> Trunk:
    """The transformer's layers, without the attention at its end.

    Args:
        image: image features plus dense prompt embedding, ``(P, h*w, 256)``.
        position: ``(1, h*w, 256)``.
        sparse: point embeddings ``(P, N, 256)``; N may be 0.
        give_way: as in ``forward``.
        absent: ``(P, 1, 1, 5 + N)``, minus infinity at points that only fill up and that nothing may attend to, else
            0; None where there are none. The answer is then the one without them.
    """
    d: Any = decoder
    output = _output_tokens(d).expand(len(sparse), -1, -1)
    tokens = torch.cat([output, sparse], 1)  # (P, 5 + N, 256)
    queries = tokens
    for layer in d.transformer.layers:
        between(image, give_way)
        if layer.skip_first_layer_pe:
            queries = _attend(layer.self_attn, queries, queries, queries, absent)
        else:
            placed = queries + tokens
            queries = queries + _attend(layer.self_attn, placed, placed, queries, absent)
        queries = layer.norm1(queries)
        image_placed = image + position
        queries = layer.norm2(queries + _attend(layer.cross_attn_token_to_image, queries + tokens, image_placed, image))
        queries = layer.norm3(queries + layer.mlp(queries))
        between(queries, give_way)
        looked = _attend(layer.cross_attn_image_to_token, image_placed, queries + tokens, queries, absent)
        image = layer.norm4(image + looked)
    between(image, give_way)
    return Trunk(queries[:, : output.shape[1]], image)


def last_attention(decoder: MaskDecoder, reached: Trunk, position: Tensor) -> Trunk:
    """The attention at the transformer's end, on what ``two_way`` has reached."""
    d: Any = decoder
    last, queries, image = d.transformer.final_attn_token_to_image, reached.queries, reached.image
    looked = _attend(last, queries + _output_tokens(d), image + position, image)
    return Trunk(d.transformer.norm_final_attn(queries + looked), image)


def _output_tokens(decoder: Any) -> Tensor:
    """The IoU token and the four mask tokens, ``(1, 5, 256)``."""
    return torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight], 0).unsqueeze(0)


def fine_features(decoder: MaskDecoder, image: Tensor, give_way: GiveWay | None = None) -> Tensor:
    """The upscaled features of image tokens: ``(P, n, 256)`` gives ``(P, n*16, 32)``.

    The two transposed convolutions do not overlap, so every token's 4x4 pixels are its own, in the order
    (y2, x2, y4, x4), and any choice of tokens may be asked for.
    """
    first, norm, _, second, _ = cast(Any, decoder).output_upscaling
    fine = _upscale(image, first)  # (P, n, 4, 64)
    fine = F.gelu(F.layer_norm(fine, (fine.shape[-1],), norm.weight, norm.bias, norm.eps))
    between(fine, give_way)
    return F.gelu(_upscale(fine, second)).flatten(1, 3)


def mask_vectors(decoder: MaskDecoder, queries: Tensor) -> Tensor:
    """What the four mask tokens look for in the fine features: ``(P, 5, 256)`` gives ``(P, 4, 32)``."""
    networks = cast(Any, decoder).output_hypernetworks_mlps
    return torch.stack([mlp(queries[:, 1 + i]) for i, mlp in enumerate(networks)], 1)


def predicted_ious(decoder: MaskDecoder, queries: Tensor) -> Tensor:
    """The IoU head: ``(P, 5, 256)`` gives ``(P, 4)``."""
    return cast(Tensor, cast(Any, decoder).iou_prediction_head(queries[:, 0]))


def head(decoder: MaskDecoder, reached: Trunk, hw: tuple[int, int], give_way: GiveWay | None = None) -> Decoded:
    """Logits ``(P, 4, 4h, 4w)`` and IoU predictions ``(P, 4)``."""
    fine = fine_features(decoder, reached.image, give_way)
    between(fine, give_way)
    masks = drawn(mask_vectors(decoder, reached.queries), fine, hw)
    return masks, predicted_ious(decoder, reached.queries)


def drawn(vectors: Tensor, fine: Tensor, hw: tuple[int, int]) -> Tensor:
    """Logits ``(P, M, 4h, 4w)`` of M vectors ``(P, M, 32)`` of ``mask_vectors`` on ``fine_features``."""
    (prompts, count), (height, width) = vectors.shape[:2], hw
    masks = vectors @ fine.transpose(1, 2)  # (P, M, h*w*16)
    masks = masks.view(prompts, count, height, width, 2, 2, 2, 2).permute(0, 1, 2, 4, 6, 3, 5, 7)
    return masks.reshape(prompts, count, 4 * height, 4 * width)


def forward(
    decoder: MaskDecoder, source: Tensor, position: Tensor, sparse: Tensor, give_way: GiveWay | None = None
) -> Decoded:
    """All four masks of P prompts, with gradients to the decoder's parameters.

    Args:
        source: image features plus dense prompt embedding, ``(P, 256, h, w)``.
        position: ``(1, h*w, 256)``.
        sparse: point embeddings ``(P, N, 256)``; N may be 0.
        give_way: called between the stages of the forward pass and, by autograd, of the backward pass.

    Returns:
        low-res logits ``(P, 4, 4h, 4w)`` and IoU predictions ``(P, 4)``.
    """
    image = source.flatten(2).transpose(1, 2)  # (P, h*w, 256)
    reached = last_attention(decoder, two_way(decoder, image, position, sparse, give_way), position)
    return head(decoder, reached, (source.shape[2], source.shape[3]), give_way)


def between(x: Tensor, give_way: GiveWay | None) -> None:
    """Give way here in the forward pass, and where the gradient of ``x`` is known in the backward pass."""
    if give_way is not None:
        give_way()
        if x.requires_grad:
            x.register_hook(lambda _: give_way())  # type: ignore[no-untyped-call]


def _attend(attention: Any, queries: Tensor, keys: Tensor, values: Tensor, absent: Tensor | None = None) -> Tensor:
    heads = attention.num_heads

    def separate(x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], heads, -1).transpose(1, 2)  # (P, heads, n, c)

    mixed = F.scaled_dot_product_attention(
        separate(attention.q_proj(queries)),
        separate(attention.k_proj(keys)),
        separate(attention.v_proj(values)),
        absent,
    )
    return cast(Tensor, attention.out_proj(mixed.transpose(1, 2).flatten(2)))


def _upscale(x: Tensor, convolution: nn.ConvTranspose2d) -> Tensor:
    """A transposed convolution of kernel and stride 2 on ``(..., c)``: ``(..., 4, c_out)``, the four by (y, x)."""
    weight = convolution.weight  # (c_in, c_out, 2, 2)
    bias = cast(Tensor, convolution.bias)
    flat = F.linear(x, weight.permute(2, 3, 1, 0).reshape(-1, weight.shape[0]), bias.repeat(4))
    return flat.view(*x.shape[:-1], 4, weight.shape[1])
