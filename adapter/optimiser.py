"""Adam on one vector, with a state that can be put back."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class AdamState(NamedTuple):
    """Moments and step count at one moment; copies."""

    first: Tensor
    second: Tensor
    steps: int


class Adam:
    """Adam, or AdamW with ``weight_decay``, on a vector whose gradient is given to ``step``.

    The same numbers as ``torch.optim.Adam``; unlike it the whole state is two vectors, so a true reset is two copies.
    """

    def __init__(
        self,
        vector: Tensor,
        lr: float,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        self.vector, self.lr, self.betas, self.eps, self.weight_decay = vector, lr, betas, eps, weight_decay
        self._first, self._second = torch.zeros_like(vector), torch.zeros_like(vector)
        self._steps = 0

    @torch.no_grad()
    def step(self, gradient: Tensor, lr: float | None = None) -> None:
        """One step against ``gradient``, with another rate than usual if one is given."""
        rate = self.lr if lr is None else lr
        beta1, beta2 = self.betas
        self._steps += 1
        if self.weight_decay:
            self.vector.mul_(1 - rate * self.weight_decay)
        self._first.lerp_(gradient, 1 - beta1)
        self._second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        scale = (1 - beta2**self._steps) ** 0.5
        denominator = self._second.sqrt().div_(scale).add_(self.eps)
        self.vector.addcdiv_(self._first, denominator, value=-rate / (1 - beta1**self._steps))

    def state(self) -> AdamState:
        """A copy of the moments."""
        return AdamState(self._first.clone(), self._second.clone(), self._steps)

    def restore(self, state: AdamState) -> None:
        """Back to an earlier state."""
        self._first.copy_(state.first)
        self._second.copy_(state.second)
        self._steps = state.steps

    def clear(self) -> None:
        """Forget all moments."""
        self._first.zero_()
        self._second.zero_()
        self._steps = 0
