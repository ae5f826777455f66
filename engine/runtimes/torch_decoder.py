"""PyTorch's prompt encoder and mask decoder on the CPU: the reference."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from livesam.engine.runtimes.base import WeightBuffers
from livesam.engine.runtimes.packing import PackingDecoder, T
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.errors import SwapError
from livesam.engine.view.points import PromptGroup

if TYPE_CHECKING:
    from livesam.engine.values.protocols import DecoderWeights
    from segment_anything.modeling import Sam
    from torch import Tensor


class TorchDecoder(PackingDecoder):
    """SAM's prompt encoder and mask decoder in eager PyTorch, float32 on the CPU.

    Args:
        sam: the model; its prompt encoder and mask decoder are copied, so that new weights do not change it.
    """

    def __init__(self, sam: Sam) -> None:
        super().__init__("torch:cpu:fp32")
        self._prompt: Any = copy.deepcopy(sam.prompt_encoder).eval()
        self._decoder: Any = copy.deepcopy(sam.mask_decoder).eval().requires_grad_(False)
        with torch.inference_mode():
            self._dense_pe = self._prompt.get_dense_pe()
        self._state = dict(self._decoder.state_dict())
        layout = {name: (name, False, tuple(value.shape)) for name, value in self._state.items()}
        self._staging = WeightBuffers(layout)

    def load_weights(self, weights: DecoderWeights) -> None:
        """Copy new weights into the module's own tensors; never while a decode is running.

        Raises:
            SwapError: they are no weights of a mask decoder.
        """
        if not self._open:
            raise SwapError("the decoder is closed: open a new session")
        with torch.no_grad():
            try:
                for name in self._staging.fill(weights):
                    self._state[name].copy_(torch.from_numpy(self._staging.arrays[name]))
            except BaseException:
                self._staging.forget()  # some were copied, some were not: the next time all are
                raise

    def _forward(
        self, features: Tensor, coords: Tensor, labels: Tensor, mask: Tensor, given: Tensor
    ) -> tuple[Tensor, Tensor]:
        """``given`` is (M,): 1 where the mask counts."""
        prompts = coords.shape[0]
        if coords.shape[1]:
            sparse = self._embed_points(coords, labels)
        else:
            sparse = coords.new_zeros(prompts, 0, self._prompt.embed_dim)
        blend = given.reshape(-1, 1, 1, 1)
        no_mask = self._prompt.no_mask_embed.weight.reshape(1, -1, 1, 1)
        dense = blend * self._prompt.mask_downscaling(mask) + (1 - blend) * no_mask
        logits, ious = self._decoder.predict_masks(
            image_embeddings=features,
            image_pe=self._dense_pe,
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense.expand(prompts, -1, *features.shape[2:]),
        )
        return logits, ious

    def _embed_points(self, coords: Tensor, labels: Tensor) -> Tensor:
        """PromptEncoder's embedding of clicks and box corners, (P, N, 256), without its data-dependent indexing."""
        encoder = self._prompt
        encoded = encoder.pe_layer.forward_with_coords(coords + 0.5, encoder.input_image_size)
        kinds = labels.unsqueeze(-1)
        embedded = torch.where(kinds == -1, encoder.not_a_point_embed.weight, encoded)
        for kind in range(4):
            embedded = torch.where(kinds == kind, embedded + encoder.point_embeddings[kind].weight, embedded)
        return embedded

    def _read(self, embedding: ImageEmbedding, group: PromptGroup, read: Callable[[Tensor, Tensor], T]) -> T:
        with torch.inference_mode():
            feeds = (embedding.numpy(), group.point_coords, group.point_labels, group.mask_input, group.has_mask)
            return read(*self._forward(*(torch.from_numpy(feed) for feed in feeds)))

    def _free(self) -> None:
        self._prompt = self._decoder = None
        self._state = {}
