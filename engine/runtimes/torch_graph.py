"""PyTorch's decoders of one model: on the CPU the reference, on a GPU recorded graphs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from livesam.engine.runtimes.graphed_decoder import COMMON, GraphedDecoder, Shape
from livesam.engine.runtimes.torch_decoder import TorchDecoder
from livesam.engine.runtimes.torch_place import torch_place

if TYPE_CHECKING:
    from livesam.engine.values.embedding import ImageEmbedding
    from livesam.engine.values.prompt import Prompt
    from livesam.engine.values.protocols import DecoderWeights
    from livesam.engine.values.result import DecoderOutput
    from segment_anything.modeling import Sam


class TorchGraph:
    """Makes PyTorch's decoders of one model: a ``DecoderCompiler``, and the reference of a ``Probe``.

    Args:
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        precision: ``fp32``; on CUDA also ``bf16`` and ``fp16``.

    Raises:
        RuntimeUnavailable: there is no such device here.
        ValueError: there is no such precision, or it is not one for this device.
    """

    def __init__(self, sam: Sam, device: str = "cpu", *, precision: str = "fp32") -> None:
        self._sam, self._precision = sam, precision
        self._device, _ = torch_place(device, precision)
        self._seen: dict[Shape, None] = dict.fromkeys(COMMON)  # of all its decoders, as they take turns
        self._reference: TorchDecoder | None = None

    def __call__(self, weights: DecoderWeights) -> TorchDecoder | GraphedDecoder:
        decoder: TorchDecoder | GraphedDecoder
        if self._device.type == "cpu":
            decoder = TorchDecoder(self._sam)
        else:
            decoder = GraphedDecoder(self._sam, self._device, precision=self._precision, seen=self._seen)
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
