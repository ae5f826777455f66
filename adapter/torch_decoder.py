"""Prompts on embeddings in, all four masks out, with gradients to the decoder's weights."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import torch
from livesam.adapter.flat_decoder import FlatDecoder
from livesam.engine.models.mask_decoder import Decoded, GiveWay, Trunk, forward, head, last_attention, two_way
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.prompt import Prompt
from livesam.engine.values.result import DecoderOutput
from livesam.engine.view.points import PromptGroup, geometry_of, prompts_to_arrays
from torch import Tensor

if TYPE_CHECKING:
    from segment_anything.modeling import PromptEncoder, Sam


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
        image = batch.flatten(2).transpose(1, 2)  # (1, h*w, 256)
        return two_way(decoder.module, image, self.position(), sparse, self.give_way)

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
