"""What the image encoder makes of one image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch

    # CPU runtimes hand over NumPy arrays (no torch import on the click path); on CUDA the tensor stays on the device.
    Features: TypeAlias = npt.NDArray[np.float32] | torch.Tensor


@dataclass(frozen=True, slots=True, eq=False)
class ImageEmbedding:
    """An encoded image.

    Attributes:
        features: float32 ``(1, 256, h, w)``, h = w = 64 for inputs of 1024 px and 32 for 512.
        original_hw: height and width of the image in pixels.
        resized_hw: height and width after the long side was scaled to the model's input; the rest is padding.
        key: hash of the pixels and of the encoder's weights, and the precision; equal keys mean features that are equal
            within the tolerance of an export (``export/graphs/parity.py``), whatever runtime made them.
    """

    features: Features
    original_hw: tuple[int, int]
    resized_hw: tuple[int, int]
    key: str

    def numpy(self) -> npt.NDArray[np.float32]:
        """The features as a float32 array in host memory, without a copy where they are there already."""
        if isinstance(self.features, np.ndarray):
            return self.features
        return self.features.detach().float().cpu().numpy()
