"""SAM's mask decoder with gradients: prompts on embeddings in, all four masks out.

The forward pass is the official ``MaskDecoder.predict_masks`` on the official module's own parameters, written for
training on a CPU: image tokens stay ``(P, h*w, 256)``, the two transposed convolutions of stride 2 are matrix products
whose pixels are put in order only after the hyper-networks have reduced 32 channels to 4, and attention and layer norm
are the fused ones. It differs from the official one by rounding only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import torch
from livesam.adapter.flat_decoder import FlatDecoder
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.prompt import Prompt
from livesam.engine.values.result import DecoderOutput
from livesam.engine.view.points import PromptGroup, geometry_of, prompts_to_arrays
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam

GiveWay: TypeAlias = Callable[[], None]
Decoded: TypeAlias = tuple[Tensor, Tensor]


class PromptReader:
    """The frozen prompt encoder: from prompts to the tensors that the decoder takes. It never gets a gradient."""

    def __init__(self, prompt_encoder: PromptEncoder, device: str = "cpu") -> None:
        self.device = torch.device(device)
        self._encoder: Any = deepcopy(prompt_encoder).float().to(device).eval().requires_grad_(False)

    @torch.no_grad()
    def position(self) -> Tensor:
        """The positional encoding of the image tokens, ``(1, h*w, 256)``."""
        return cast(Tensor, self._encoder.get_dense_pe()).flatten(2).transpose(1, 2)

    @torch.no_grad()
    def features(self, embedding: ImageEmbedding) -> Tensor:
        """The image's features on this device, float32 ``(1, 256, h, w)``."""
        found = embedding.features
        tensor = torch.from_numpy(found) if isinstance(found, np.ndarray) else found.detach()
        return tensor.to(self.device, torch.float32)

    @torch.no_grad()
    def read(self, coords: Tensor, labels: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Sparse ``(P, N, 256)`` and dense ``(P or 1, 256, h, w)`` prompt embeddings.

        Args:
            coords: ``(P, N, 2)`` in the model's input frame, without the half pixel.
            labels: ``(P, N)``: 1, 0, box corners 2 and 3, padding -1.
            mask: logits ``(P, 1, 4h, 4w)`` or None.
        """
        encoder = self._encoder
        sparse = encoder.pe_layer.forward_with_coords(coords + 0.5, encoder.input_image_size)
        padding = (labels == -1).unsqueeze(-1)
        sparse = torch.where(padding, encoder.not_a_point_embed.weight.expand_as(sparse), sparse)
        for kind in range(4):
            sparse = sparse + (labels == kind).unsqueeze(-1) * encoder.point_embeddings[kind].weight
        if mask is None:
            dense = encoder.no_mask_embed.weight.view(1, -1, 1, 1).expand(1, -1, *encoder.image_embedding_size)
        else:
            dense = encoder.mask_downscaling(mask)
        return sparse, dense


@dataclass(frozen=True, slots=True, eq=False)
class Trunk:
    """What the decoder's two-way transformer makes of P prompts; the head makes masks of it.

    Attributes:
        queries: ``(P, 5, 256)``: the IoU token and the four mask tokens; nothing reads the prompt's own.
        image: ``(P, h*w, 256)``, one token a cell of the embedding.
    """

    queries: Tensor
    image: Tensor


def trunk(
    decoder: MaskDecoder, source: Tensor, position: Tensor, sparse: Tensor, give_way: GiveWay | None = None
) -> Trunk:
    """The transformer; arguments as for ``forward``."""
    return last_attention(decoder, two_way(decoder, source, position, sparse, give_way), position)


def two_way(
    decoder: MaskDecoder, source: Tensor, position: Tensor, sparse: Tensor, give_way: GiveWay | None = None
) -> Trunk:
    """The transformer's layers, without the attention at its end; arguments as for ``forward``."""
    d: Any = decoder
    output = _output_tokens(d).expand(len(source), -1, -1)
    tokens = torch.cat([output, sparse], 1)  # (P, 5 + N, 256)
    image = source.flatten(2).transpose(1, 2)  # (P, h*w, 256)
    queries = tokens
    for layer in d.transformer.layers:
        between(image, give_way)
        if layer.skip_first_layer_pe:
            queries = _attend(layer.self_attn, queries, queries, queries)
        else:
            placed = queries + tokens
            queries = queries + _attend(layer.self_attn, placed, placed, queries)
        queries = layer.norm1(queries)
        image_placed = image + position
        queries = layer.norm2(queries + _attend(layer.cross_attn_token_to_image, queries + tokens, image_placed, image))
        queries = layer.norm3(queries + layer.mlp(queries))
        between(queries, give_way)
        image = layer.norm4(image + _attend(layer.cross_attn_image_to_token, image_placed, queries + tokens, queries))
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
    height, width = hw
    masks = mask_vectors(decoder, reached.queries) @ fine.transpose(1, 2)  # (P, 4, h*w*16)
    masks = masks.view(len(masks), 4, height, width, 2, 2, 2, 2).permute(0, 1, 2, 4, 6, 3, 5, 7)
    return masks.reshape(len(masks), 4, 4 * height, 4 * width), predicted_ious(decoder, reached.queries)


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
    reached = trunk(decoder, source, position, sparse, give_way)
    return head(decoder, reached, (source.shape[2], source.shape[3]), give_way)


class Decoding:
    """A prompt reader and its geometry, for decoders that share them."""

    def __init__(self, sam: Sam, device: str = "cpu", give_way: GiveWay | None = None) -> None:
        """``give_way`` is called several times in each forward and backward pass; it may wait."""
        self.reader = PromptReader(sam.prompt_encoder, device)
        self.give_way = give_way
        self._position: Tensor | None = None

    @property
    def device(self) -> torch.device:
        return self.reader.device

    def position(self) -> Tensor:
        """``(1, h*w, 256)``, made once."""
        if self._position is None:
            self._position = self.reader.position()
        return self._position

    def run(
        self, decoder: FlatDecoder, embedding: ImageEmbedding, prompts: Sequence[Prompt], features: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Logits ``(P, 4, 4h, 4w)`` and IoU predictions ``(P, 4)`` in the order of the prompts, with gradients.

        Args:
            features: the embedding's features, where the caller has them on the device already.
        """
        source = self.reader.features(embedding) if features is None else features
        masks: list[Tensor | None] = [None] * len(prompts)
        ious: list[Tensor | None] = [None] * len(prompts)
        for group in prompts_to_arrays(prompts, geometry_of(embedding)):
            batch, sparse = self._read(source, group)
            group_masks, group_ious = forward(decoder.module, batch, self.position(), sparse, self.give_way)
            for row, index in enumerate(group.indices):
                masks[index], ious[index] = group_masks[row], group_ious[row]
        return torch.stack([m for m in masks if m is not None]), torch.stack([i for i in ious if i is not None])

    @torch.no_grad()
    def two_way(self, decoder: FlatDecoder, embedding: ImageEmbedding, prompt: Prompt) -> Trunk:
        """What the transformer's layers make of one prompt, P = 1, without gradients."""
        (group,) = prompts_to_arrays([prompt], geometry_of(embedding))
        batch, sparse = self._read(self.reader.features(embedding), group)
        return two_way(decoder.module, batch, self.position(), sparse, self.give_way)

    def finish(self, decoder: FlatDecoder, reached: Trunk, hw: tuple[int, int]) -> Decoded:
        """What the rest of the decoder makes of that: logits ``(P, 4, 4h, 4w)`` and IoU predictions ``(P, 4)``."""
        return head(decoder.module, last_attention(decoder.module, reached, self.position()), hw, self.give_way)

    @torch.no_grad()
    def decode(self, decoder: FlatDecoder, embedding: ImageEmbedding, prompts: Sequence[Prompt]) -> DecoderOutput:
        """The same without gradients, as the serving decoders answer."""
        masks, ious = self.run(decoder, embedding, prompts)
        return DecoderOutput(masks.float().cpu().numpy(), ious.float().cpu().numpy())

    def _read(self, source: Tensor, group: PromptGroup) -> tuple[Tensor, Tensor]:
        coords, labels = self._tensor(group.point_coords), self._tensor(group.point_labels)
        mask = self._tensor(group.mask_input) if group.has_mask[0] > 0 else None
        sparse, dense = self.reader.read(coords, labels, mask)
        return (source + dense).expand(len(group.indices), -1, -1, -1), sparse

    def _tensor(self, array: npt.NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(array).to(self.device)


def _attend(attention: Any, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    heads = attention.num_heads

    def separate(x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], heads, -1).transpose(1, 2)  # (P, heads, n, c)

    mixed = F.scaled_dot_product_attention(
        separate(attention.q_proj(queries)), separate(attention.k_proj(keys)), separate(attention.v_proj(values))
    )
    return cast(Tensor, attention.out_proj(mixed.transpose(1, 2).flatten(2)))


def between(x: Tensor, give_way: GiveWay | None) -> None:
    """Give way here in the forward pass, and where the gradient of ``x`` is known in the backward pass."""
    if give_way is not None:
        give_way()
        if x.requires_grad:
            x.register_hook(lambda _: give_way())  # type: ignore[no-untyped-call]


def _upscale(x: Tensor, convolution: nn.ConvTranspose2d) -> Tensor:
    """A transposed convolution of kernel and stride 2 on ``(..., c)``: ``(..., 4, c_out)``, the four by (y, x)."""
    weight = convolution.weight  # (c_in, c_out, 2, 2)
    bias = cast(Tensor, convolution.bias)
    flat = F.linear(x, weight.permute(2, 3, 1, 0).reshape(-1, weight.shape[0]), bias.repeat(4))
    return flat.view(*x.shape[:-1], 4, weight.shape[1])
