"""PyTorch's prompt encoder and mask decoder: the reference. On CUDA the work is captured in CUDA graphs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from livesam.engine.runtimes.base import WeightBuffers
from livesam.engine.runtimes.cuda_graphs import CudaGraphs
from livesam.engine.runtimes.packing import PackingDecoder, T
from livesam.engine.runtimes.recent import DECODER_GRAPHS
from livesam.engine.runtimes.torch_place import torch_place
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.errors import SwapError
from livesam.engine.view.points import PromptGroup

if TYPE_CHECKING:
    from livesam.engine.values.prompt import Prompt
    from livesam.engine.values.protocols import DecoderWeights
    from livesam.engine.values.result import DecoderOutput
    from segment_anything.modeling import Sam
    from torch import Tensor


class TorchDecoder(PackingDecoder):
    """SAM's prompt encoder and mask decoder in eager PyTorch; on CUDA a graph for each number of prompts and points.

    Args:
        sam: the model; its prompt encoder and mask decoder are copied, so that new weights do not change it.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        precision: ``fp32``; on CUDA also ``bf16`` and ``fp16`` (autocast).

    Raises:
        RuntimeUnavailable: there is no such device here.
        ValueError: there is no such precision, or it is not one for this device.
    """

    def __init__(self, sam: Sam, device: str = "cpu", *, precision: str = "fp32") -> None:
        self._device, self._dtype = torch_place(device, precision)
        super().__init__(f"torch:{self._device}:{precision}")
        self.concurrent = self._device.type == "cpu"  # a CUDA graph has one set of buffers
        self._prompt: Any = copy.deepcopy(sam.prompt_encoder).to(self._device).eval()
        self._decoder: Any = copy.deepcopy(sam.mask_decoder).to(self._device).eval().requires_grad_(False)
        with torch.inference_mode():
            self._dense_pe = self._prompt.get_dense_pe()
        self._state = dict(self._decoder.state_dict())
        layout = {name: (name, False, tuple(value.shape)) for name, value in self._state.items()}
        self._staging = WeightBuffers(layout)
        self._graph = CudaGraphs(self._forward, DECODER_GRAPHS) if self._device.type == "cuda" else None

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
    ) -> tuple[Tensor, ...]:
        """``given`` is (M,): 1 where the mask counts."""
        prompts = coords.shape[0]
        with torch.autocast(self._device.type, self._dtype, enabled=self._dtype != torch.float32):
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
        return logits.float(), ious.float()

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
            features = embedding.features
            if isinstance(features, np.ndarray):
                features = torch.from_numpy(features)
            feeds = (group.point_coords, group.point_labels, group.mask_input, group.has_mask)
            inputs = [features.to(self._device), *(torch.from_numpy(feed).to(self._device) for feed in feeds)]
            logits, ious = self._forward(*inputs) if self._graph is None else self._graph(*inputs)
            return read(logits, ious)

    def _free(self) -> None:
        self._prompt = self._decoder = self._graph = None
        self._state = {}


class TorchGraph:
    """Makes ``TorchDecoder`` instances of one model: a ``DecoderCompiler``, and the reference of a ``Probe``.

    Raises:
        RuntimeUnavailable: there is no such device here.
    """

    def __init__(self, sam: Sam, device: str = "cpu", *, precision: str = "fp32") -> None:
        self._sam, self._options = sam, (device, precision)
        self._reference: TorchDecoder | None = None
        torch_place(device, precision)

    def __call__(self, weights: DecoderWeights) -> TorchDecoder:
        device, precision = self._options
        decoder = TorchDecoder(self._sam, device, precision=precision)
        decoder.load_weights(weights)
        return decoder

    def reference(
        self, embedding: ImageEmbedding, prompts: tuple[Prompt, ...], weights: DecoderWeights
    ) -> DecoderOutput:
        """What PyTorch in float32 on the CPU answers with these weights; not for several threads at once.

        Raises:
            SwapError: they are no weights of a mask decoder.
        """
        if self._reference is None:
            self._reference = TorchDecoder(self._sam)
        self._reference.load_weights(weights)
        return self._reference.decode(embedding, prompts)
