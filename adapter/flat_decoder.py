"""SAM's mask decoder with all of its trainable tensors in one vector."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

if TYPE_CHECKING:
    from livesam.engine.values.protocols import DecoderWeights
    from segment_anything.modeling import MaskDecoder


class FlatDecoder:
    """A mask decoder whose trainable tensors and gradients are views into two vectors.

    A snapshot, a restore, a norm, a check for NaN or an optimiser step is then one operation instead of 120.

    Attributes:
        module: the official ``MaskDecoder``.
        vector: float32 ``(n,)``, all trainable numbers; ``vector.grad`` their gradients.
    """

    def __init__(
        self, decoder: MaskDecoder, device: str = "cpu", trainable: Callable[[str], bool] | None = None
    ) -> None:
        self.module: Any = deepcopy(decoder).float().to(device).eval()
        chosen = []
        for name, parameter in self.module.named_parameters():
            parameter.requires_grad_(trainable is None or trainable(name))
            if parameter.requires_grad:
                chosen.append(parameter)
        if not chosen:
            raise ValueError("no tensor of the mask decoder was chosen to be trained")
        self.vector = torch.cat([p.detach().reshape(-1) for p in chosen])
        self.vector.grad = torch.zeros_like(self.vector)
        position = 0
        for parameter in chosen:
            part = slice(position, position + parameter.numel())
            parameter.data = self.vector[part].view_as(parameter)
            parameter.grad = self.vector.grad[part].view_as(parameter)
            position += parameter.numel()

    @property
    def gradient(self) -> Tensor:
        """float32 ``(n,)``; autograd adds to it in place."""
        return cast(Tensor, self.vector.grad)

    def weights(self) -> dict[str, npt.NDArray[np.float32]]:
        """A copy of all tensors, float32, by their official names."""
        return {
            name: np.array(value.detach().float().cpu().numpy(), np.float32, copy=True)
            for name, value in self.module.state_dict().items()
        }

    def load(self, weights: DecoderWeights) -> None:
        """Put weights in place.

        Raises:
            ValueError: names or shapes are not this decoder's, or a value is not finite; nothing was changed.
        """
        state = self.module.state_dict()
        if {k: tuple(v.shape) for k, v in weights.items()} != {k: tuple(v.shape) for k, v in state.items()}:
            raise ValueError(f"these are not the {len(state)} tensors of a mask decoder, got {len(weights)}")
        bad = [k for k, v in weights.items() if not np.isfinite(v).all()]
        if bad:
            raise ValueError(f"the weights are not finite in {bad[0]}: go back to an earlier version")
        with torch.no_grad():
            for name, value in weights.items():
                state[name].copy_(torch.from_numpy(np.array(value, np.float32, order="C")))
