"""PyTorch's image encoder: the reference, and the one that needs no extra. On CUDA it is captured in CUDA graphs."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from livesam.engine.files.hashing import weights_hash
from livesam.engine.runtimes.base import Float, PreparedEncoder
from livesam.engine.runtimes.cuda_graphs import CudaGraphs
from livesam.engine.runtimes.recent import ENCODER_GRAPHS
from livesam.engine.runtimes.torch_place import torch_place

if TYPE_CHECKING:
    from segment_anything.modeling import Sam
    from torch import Tensor


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
        self._device, self._dtype = torch_place(device, precision)
        if identity is None:
            state = sam.image_encoder.state_dict()
            identity = weights_hash({name: value.detach().cpu().numpy() for name, value in state.items()})
        module = sam.image_encoder if self._device.type == "cpu" else copy.deepcopy(sam.image_encoder).to(self._device)
        self._module: Any = module.eval()
        self._graph = CudaGraphs(self._forward, ENCODER_GRAPHS) if self._device.type == "cuda" else None
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
