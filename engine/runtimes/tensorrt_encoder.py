"""The image encoder over a TensorRT plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from livesam.engine.models.spec import PIXEL_MEAN, PIXEL_STD
from livesam.engine.runtimes.base import PreparedEncoder
from livesam.engine.runtimes.recent import ENCODER_GRAPHS, Recent
from livesam.engine.runtimes.tensorrt import PlanEngine, capture, on_gpu
from livesam.engine.values.errors import SessionError
from livesam.engine.view.geometry import resize

if TYPE_CHECKING:
    import torch
    from livesam.engine.runtimes.recorder import Work
    from livesam.engine.values.embedding import Features


@dataclass
class _Upload:
    """Fixed buffers for one number of images B, and the CUDA graph from the pixels on the device to the embeddings."""

    host: torch.Tensor  # uint8 (B, S, S, 3), pinned
    pixels: torch.Tensor  # uint8 (B, S, S, 3)
    inside: torch.Tensor  # float32 (B, S, S, 1): 1 where there is an image, 0 in the padding
    output: torch.Tensor  # float32 (B, 256, S/16, S/16)
    graph: Work
    kept: tuple[object, ...]  # what else the graph points at


class TrtEncoder(PreparedEncoder):
    """An image encoder over a plan.

    The resized image goes up as uint8 through pinned memory (3 MB instead of 12), is normalised and padded on the
    device, and everything after the upload is one CUDA graph. Features stay on the device.
    Opens on the current GPU (``on_gpu``) and stays there, whichever thread calls. Takes as many images at once as the
    plan's largest profile.

    Raises:
        RuntimeUnavailable: no library, no GPU, or a plan that does not belong here.
    """

    def __init__(self, plan: Path, image_size: int, library: str = "auto") -> None:
        engine = PlanEngine(plan, library)
        self._plan: PlanEngine | None = engine
        super().__init__(image_size, str(engine.manifest["weights_hash"]), engine.runtime, engine.largest("image")[0])
        from livesam.engine.runtimes.streams import own_stream

        self._own = own_stream()
        self._stream = self._own.stream
        self._uploads: Recent[int, _Upload] = Recent(ENCODER_GRAPHS)
        with self._own.current():
            self._uploads.find(1, lambda: self._capture(engine, 1))

    def _features(self, images: Sequence[npt.NDArray[np.uint8]]) -> list[Features]:
        """CUDA tensors ``(1, 256, h, w)``, from one upload and one replay."""
        import torch

        engine = self._plan
        if engine is None:
            raise SessionError("the encoder is closed: open a new session")
        resized = [resize(image, self.image_size) for image in images]
        with on_gpu(engine.gpu), self._own.current():
            upload = self._uploads.find(len(images), lambda: self._capture(engine, len(images)))
            upload.inside.zero_()
            for index, small in enumerate(resized):
                h, w = small.shape[:2]
                upload.host[index, :h, :w] = torch.from_numpy(small)
                upload.inside[index, :h, :w] = 1
            upload.pixels.copy_(upload.host, non_blocking=True)
            upload.graph()
            features = [upload.output[index : index + 1].clone() for index in range(len(images))]
            self._stream.synchronize()  # also: the next image may go into the pinned buffer
        return list(features)

    def _capture(self, engine: PlanEngine, count: int) -> _Upload:
        import torch

        side = self.image_size
        shape = (count, side, side, 3)
        host = torch.zeros(shape, dtype=torch.uint8).pin_memory()
        pixels = torch.zeros(shape, dtype=torch.uint8, device="cuda")
        inside = torch.zeros((count, side, side, 1), device="cuda")
        mean, std = torch.tensor(PIXEL_MEAN, device="cuda"), torch.tensor(PIXEL_STD, device="cuda")
        image = torch.zeros((count, 3, side, side), device="cuda")
        output = torch.zeros((count, 256, side // 16, side // 16), device="cuda")
        encode = engine.bind({"image": image, "embedding": output})

        def run() -> None:
            image.copy_(((pixels.float() - mean) / std * inside).permute(0, 3, 1, 2))
            encode(self._stream)

        return _Upload(host, pixels, inside, output, capture(run, self._stream), (image, mean, std, encode))

    def _free(self) -> None:
        self._plan = None
        self._uploads.clear()
