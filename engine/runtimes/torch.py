"""PyTorch: the reference, and the runtime that needs no extra. On CUDA the work is captured in CUDA graphs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from livesam.engine.files.hashing import weights_hash
from livesam.engine.runtimes.base import Float, PreparedEncoder, WeightBuffers
from livesam.engine.runtimes.packing import PackingDecoder, T
from livesam.engine.runtimes.recent import DECODER_GRAPHS, ENCODER_GRAPHS, Recent
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.errors import RuntimeUnavailable, SwapError
from livesam.engine.view.points import PromptGroup

if TYPE_CHECKING:
    from livesam.engine.values.prompt import Prompt
    from livesam.engine.values.protocols import DecoderWeights
    from livesam.engine.values.result import DecoderOutput
    from segment_anything.modeling import Sam
    from torch import Tensor

Shapes: TypeAlias = tuple[tuple[int, ...], ...]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TorchEncoder(PreparedEncoder):
    """The image encoder of a ``Sam`` in eager PyTorch; on CUDA one CUDA graph.

    Args:
        sam: the model; its encoder is used in place on the CPU, and copied to a GPU.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        precision: ``fp32``; on CUDA also ``bf16`` and ``fp16`` (autocast).
        identity: hash of the encoder's weights; computed when None.

    Raises:
        RuntimeUnavailable: there is no such device here.
        ValueError: there is no such precision, or it is not one for this device.
    """

    def __init__(self, sam: Sam, device: str = "cpu", *, precision: str = "fp32", identity: str | None = None) -> None:
        self._device, self._dtype = _placed(device, precision)
        if identity is None:
            state = sam.image_encoder.state_dict()
            identity = weights_hash({name: value.detach().cpu().numpy() for name, value in state.items()})
        module = sam.image_encoder if self._device.type == "cpu" else copy.deepcopy(sam.image_encoder).to(self._device)
        self._module: Any = module.eval()
        self._graph = _GraphCache(self._forward, ENCODER_GRAPHS) if self._device.type == "cuda" else None
        super().__init__(int(sam.image_encoder.img_size), identity, f"torch:{self._device}:{precision}", None)

    def _forward(self, image: Tensor) -> tuple[Tensor, ...]:
        with torch.autocast(self._device.type, self._dtype, enabled=self._dtype != torch.float32):
            return (self._module(image).float(),)

    def _run(self, prepared: Float) -> Any:
        with torch.inference_mode():
            image = torch.from_numpy(prepared)
            if self._graph is None:
                return self._forward(image)[0].numpy()  # (B, 256, h, w)
            return self._graph(image.to(self._device))[0].clone()

    def _free(self) -> None:
        self._module = self._graph = None


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
        self._device, self._dtype = _placed(device, precision)
        super().__init__(f"torch:{self._device}:{precision}")
        self.concurrent = self._device.type == "cpu"  # a CUDA graph has one set of buffers
        self._prompt: Any = copy.deepcopy(sam.prompt_encoder).to(self._device).eval()
        self._decoder: Any = copy.deepcopy(sam.mask_decoder).to(self._device).eval().requires_grad_(False)
        with torch.inference_mode():
            self._dense_pe = self._prompt.get_dense_pe()
        self._state = dict(self._decoder.state_dict())
        layout = {name: (name, False, tuple(value.shape)) for name, value in self._state.items()}
        self._staging = WeightBuffers(layout)
        self._graph = _GraphCache(self._forward, DECODER_GRAPHS) if self._device.type == "cuda" else None

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
        _placed(device, precision)

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


class _GraphCache:
    """CUDA graphs by the shapes of their inputs, with fixed buffers in and out; the latest ``most`` are kept."""

    def __init__(self, forward: Any, most: int) -> None:
        self._forward = forward
        self._captured: Recent[Shapes, tuple[Any, list[Tensor], tuple[Tensor, ...]]] = Recent(most)

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        with torch.cuda.device(inputs[0].device):  # a stream and a graph belong to the GPU that is current
            return self._replay(inputs)

    def _replay(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        shapes = tuple(tuple(value.shape) for value in inputs)
        graph, fixed, outputs = self._captured.find(shapes, lambda: self._capture(inputs))
        for buffer, value in zip(fixed, inputs, strict=True):
            buffer.copy_(value)
        graph.replay()
        return outputs

    def _capture(self, inputs: tuple[Tensor, ...]) -> tuple[Any, list[Tensor], tuple[Tensor, ...]]:
        fixed = [value.clone() for value in inputs]
        side: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # three rounds first: lazy initialisation must not be captured
            for _ in range(3):
                self._forward(*fixed)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # a learner may allocate meanwhile
            outputs = self._forward(*fixed)
        return graph, fixed, outputs


def _placed(device: str, precision: str) -> tuple[torch.device, torch.dtype]:
    if precision not in DTYPES:
        raise ValueError(f"unknown precision {precision!r}: choose one of {', '.join(DTYPES)}")
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"unknown device {device!r}: choose cpu, cuda or cuda:N") from error
    if place.type == "cuda":
        if not torch.cuda.is_available():
            raise RuntimeUnavailable("PyTorch finds no CUDA device here: choose the device cpu")
        if place.index is not None and place.index >= torch.cuda.device_count():
            raise RuntimeUnavailable(f"PyTorch finds {torch.cuda.device_count()} GPU(s), not {device}: count from 0")
    elif place.type != "cpu":
        raise ValueError(f"unknown device {device!r}: choose cpu, cuda or cuda:N")
    elif precision != "fp32":
        raise RuntimeUnavailable(f"torch on the CPU runs in fp32 only, got {precision}: fp16 is 200 times slower there")
    return place, DTYPES[precision]
