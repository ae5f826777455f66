"""PyTorch's image encoder: the reference, and the one that needs no extra. On CUDA it is captured in CUDA graphs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from livesam.engine.files.hashing import weights_hash
from livesam.engine.runtimes.base import Float, PreparedEncoder
from livesam.engine.runtimes.cuda_graphs import CudaGraphs
from livesam.engine.runtimes.device_image import DeviceImages
from livesam.engine.runtimes.recent import ENCODER_GRAPHS
from livesam.engine.runtimes.recorder import CudaRecorder
from livesam.engine.runtimes.serving_module import compile_module, serving_module
from livesam.engine.runtimes.streams import own_stream
from livesam.engine.runtimes.torch_place import torch_place

if TYPE_CHECKING:
    from livesam.engine.values.embedding import Features
    from segment_anything.modeling import Sam
    from torch import Tensor


class TorchEncoder(PreparedEncoder):
    """The image encoder of a ``Sam`` in PyTorch: on the CPU the model's own module, eager.

    On CUDA a copy of it for serving (``serving_module``), captured once for each number of images: pixels go up as
    uint8 and are prepared on the device, and the embedding stays there.

    Args:
        sam: the model; its encoder is used in place on the CPU, and copied to a GPU.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        precision: ``fp32``; on CUDA also ``bf16`` and ``fp16``, for weights and arithmetic.
        identity: hash of the encoder's weights; computed when None.
        compile: let ``torch.compile`` fuse what lies between the large products; on CUDA only.

    Attributes:
        prepare_s: seconds that the first pass took here, with compiling and capturing; 0 on the CPU.

    Raises:
        RuntimeUnavailable: there is no such device here.
        ValueError: there is no such precision, or it is not one for this device, or it cannot be compiled for it.
    """

    def __init__(
        self,
        sam: Sam,
        device: str = "cpu",
        *,
        precision: str = "fp32",
        identity: str | None = None,
        compile: bool = False,
    ) -> None:
        self._device, self._dtype = torch_place(device, precision)
        if identity is None:
            state = sam.image_encoder.state_dict()
            identity = weights_hash({name: value.detach().cpu().numpy() for name, value in state.items()})
        super().__init__(int(sam.image_encoder.img_size), identity, f"torch:{self._device}:{precision}", None)
        self.prepare_s = 0.0
        if self._device.type == "cpu":
            if compile:
                raise ValueError("PyTorch's encoder is compiled for CUDA only: choose the runtime openvino on CPUs")
            self._module: Any = sam.image_encoder.eval()
            return
        started = time.perf_counter()
        with torch.cuda.device(self._device):
            self._own = own_stream(self._device)
            # PyTorch rounds float32 convolutions to TF32 by default: "fp32" would not be what it says.
            record = CudaRecorder(self._own.stream, exact=True)
            self._module = serving_module(sam.image_encoder, self._device, self._dtype)
        if compile:
            compile_module(self._module)
        self._graph: CudaGraphs | None = CudaGraphs(self._forward, ENCODER_GRAPHS, record)
        self._images = DeviceImages(self.image_size, self._device)
        self._features([np.zeros((self.image_size, self.image_size, 3), np.uint8)])
        self._settle()
        self.prepare_s = time.perf_counter() - started

    def _forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return (self._module(image),)

    def _features(self, images: Sequence[npt.NDArray[np.uint8]]) -> list[Features]:
        """On CUDA the device may still be at work on them: what else there is to do can be done before ``_settle``."""
        if self._device.type == "cpu":
            return super()._features(images)
        with torch.inference_mode(), torch.cuda.device(self._device), self._own.current():
            side = self.image_size
            inputs = torch.empty((len(images), 3, side, side), device=self._device)
            for image, place in zip(images, inputs, strict=True):
                self._images.load(image, place)
            assert self._graph is not None
            found = self._graph(inputs)[0]
            return [found[index : index + 1].clone() for index in range(len(images))]

    def _settle(self) -> None:
        if self._device.type == "cuda":
            self._own.stream.synchronize()

    def _run(self, prepared: Float) -> Any:
        with torch.inference_mode():
            return self._module(torch.from_numpy(prepared)).numpy()  # (B, 256, h, w)

    def _free(self) -> None:
        self._module = self._graph = None
