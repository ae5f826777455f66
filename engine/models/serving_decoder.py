"""Prompt encoder and mask decoder as one function of tensors of fixed shapes, for a GPU's graphs.

Points that only fill a shape up are absent: nothing attends to them, so the answer is the one without them. SAM's own
padding point, which the decoder attends to, is another thing and stays.
"""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any, cast

import torch
from livesam.engine.models.mask_decoder import drawn, fine_features, last_attention, two_way
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

ABSENT = -2.0  # label of a point that is not there
OWN = 5  # tokens of the decoder itself: of the IoU, and of four masks


class ServingDecoder:
    """SAM's decoder with its weights in one precision, but for what is small and adds up errors.

    In float32 stay the prompts, the hyper-networks and the IoU head: a hundredth of the work.

    Attributes:
        hw: height and width of the embedding.
        state: the mask decoder's tensors by their official names, to be written into.
    """

    def __init__(self, sam: Sam, device: torch.device, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype
        self._prompt: Any = copy.deepcopy(sam.prompt_encoder).float().to(device).eval().requires_grad_(False)
        self._decoder: Any = copy.deepcopy(sam.mask_decoder).to(device, dtype).eval().requires_grad_(False)
        self._decoder.iou_prediction_head.float()
        self._decoder.output_hypernetworks_mlps.float()
        self._hyper = [_stacked(self._decoder.output_hypernetworks_mlps, layer) for layer in range(3)]
        self.state: dict[str, Tensor] = dict(self._decoder.state_dict())
        height, width = self._prompt.image_embedding_size
        self.hw = (int(height), int(width))
        self._position = self._prompt.get_dense_pe().flatten(2).transpose(1, 2).to(dtype).contiguous()
        labels = [self._prompt.not_a_point_embed, *self._prompt.point_embeddings]
        zero = torch.zeros_like(labels[0].weight)
        self._labels = torch.cat([zero, *(label.weight for label in labels)])  # (6, 256), from label -2 to 3

    def features(self, features: Tensor) -> Tensor:
        """An image's features ``(1, 256, h, w)`` as ``(1, h*w, 256)`` in the decoder's precision."""
        return features.to(self.device, self.dtype).flatten(2).transpose(1, 2).contiguous()

    def all_masks(self, image: Tensor, points: Tensor, masks: Tensor | None, given: Tensor) -> tuple[Tensor, Tensor]:
        """Logits ``(P, 4, 4h, 4w)`` and IoUs ``(P, 4)``, float32; arguments as for ``_read``."""
        vectors, fine, ious = self._read(image, points, masks, given)
        return drawn(vectors.to(fine.dtype), fine, self.hw).float(), ious

    def one_mask(
        self, image: Tensor, points: Tensor, masks: Tensor | None, given: Tensor, best: Tensor
    ) -> tuple[Tensor]:
        """The chosen mask's logits and IoU, float32 ``(P, 4h * 4w + 1)``; arguments as for ``_read``.

        Args:
            best: ``(P,)``, above 0 where the best of tokens 1 to 3 is the answer, else token 0 is.
        """
        vectors, fine, ious = self._read(image, points, masks, given)
        token = ((1 + ious[:, 1:].argmax(1)) * (best > 0))[:, None]  # (P, 1)
        vector = vectors.gather(1, token[..., None].expand(-1, -1, vectors.shape[2]))
        logits = drawn(vector.to(fine.dtype), fine, self.hw).float()
        return (torch.cat([logits.flatten(1), ious.gather(1, token)], 1),)

    def _read(
        self, image: Tensor, points: Tensor, masks: Tensor | None, given: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Mask vectors ``(P, 4, 32)``, fine features and IoUs ``(P, 4)``.

        Args:
            image: of ``features``.
            points: ``(P, N, 3)``: x and y in -1..1 of the input's frame, and the label.
            masks: ``(P, 4h * 4w)``; None where no prompt has one.
            given: ``(P,)``, above 0 where the prompt's mask counts.
        """
        kinds = points[..., 2]
        sparse = self._sparse(points[..., :2], kinds).to(self.dtype)
        own = kinds.new_zeros(len(kinds), OWN)
        labels = torch.cat([own, kinds], 1)
        absent = torch.zeros_like(labels, dtype=self.dtype).masked_fill(labels == ABSENT, -math.inf)
        nothing = self._prompt.no_mask_embed.weight
        dense = nothing if masks is None else torch.where(given[:, None, None] > 0, self._dense(masks), nothing)
        source = (image + dense.to(self.dtype)).expand(len(points), -1, -1)
        reached = two_way(self._decoder, source, self._position, sparse, absent=absent[:, None, None])
        reached = last_attention(self._decoder, reached, self._position)
        queries = reached.queries.float()
        ious = cast(Tensor, self._decoder.iou_prediction_head(queries[:, 0]))
        return self._vectors(queries[:, 1:]), fine_features(self._decoder, reached.image), ious

    def _sparse(self, xy: Tensor, kinds: Tensor) -> Tensor:
        """Embeddings of points, ``(P, N, 256)``."""
        turned = (2 * math.pi) * (xy @ self._prompt.pe_layer.positional_encoding_gaussian_matrix)
        placed = torch.cat([turned.sin(), turned.cos()], -1) * (kinds >= 0)[..., None]
        return placed + self._labels[(kinds - ABSENT).long()]

    def _dense(self, masks: Tensor) -> Tensor:
        """Embeddings of fed-back masks, ``(P, h*w, 256)``: the official convolutions of stride 2 as matrix products."""
        first, norm, _, second, other, _, last = self._prompt.mask_downscaling
        (height, width), count = self.hw, len(masks)
        cells = masks.view(count, height, 2, 2, width, 2, 2).permute(0, 1, 4, 2, 5, 3, 6)  # (P, h, w, y2, x2, y, x)
        for convolution, scale in ((first, norm), (second, other)):
            cells = cells.flatten(-3 if convolution is second else -2)
            cells = F.linear(cells, _matrix(convolution), convolution.bias)
            cells = F.gelu(F.layer_norm(cells, cells.shape[-1:], scale.weight, scale.bias, scale.eps))
        return F.linear(cells, last.weight.flatten(1), last.bias).flatten(1, 2)

    def _vectors(self, queries: Tensor) -> Tensor:
        """The four hyper-networks side by side: ``(P, 4, 256)`` gives ``(P, 4, 32)``."""
        found = queries.transpose(0, 1)  # (4, P, 256)
        for layer, (weight, bias) in enumerate(self._hyper):
            found = torch.baddbmm(bias[:, None], found, weight.transpose(1, 2))
            found = found if layer == len(self._hyper) - 1 else F.relu(found)
        return found.transpose(0, 1)


def _stacked(networks: Any, layer: int) -> tuple[Tensor, Tensor]:
    """The weights and biases of one layer of all networks, which become parts of them."""
    found = []
    for name in ("weight", "bias"):
        parameters = [getattr(network.layers[layer], name) for network in networks]
        whole = torch.stack([parameter.detach() for parameter in parameters])
        for parameter, part in zip(parameters, whole, strict=True):
            parameter.data = part
        found.append(whole)
    return found[0], found[1]


def _matrix(convolution: Any) -> Tensor:
    """The weight of a convolution of kernel and stride 2 for the last axis ``(y, x, c_in)``."""
    weight = convolution.weight  # (c_out, c_in, 2, 2)
    return cast(Tensor, weight.permute(0, 2, 3, 1).flatten(1))
