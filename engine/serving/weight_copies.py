"""Copies of decoder weights that cost little: what was not changed is shared, and memory is used again."""

from __future__ import annotations

import math
import weakref
from collections.abc import Mapping, Set
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from livesam.engine.files.finite import all_finite
from livesam.engine.values.errors import SwapError

if TYPE_CHECKING:
    from livesam.engine.values.protocols import DecoderWeights

Float = npt.NDArray[np.float32]


class WeightCopies:
    """Takes checked, read-only copies, so that a learner that goes on changing its arrays changes nothing in service.

    A tensor that is bit for bit the base's is the base's own array: of nano's 120 tensors a learner of the head changes
    a fifth of the bytes, and to compare takes half as long as to copy, check and hand on. Not compared with other
    copies, because sharing with those would keep all of their memory.

    Args:
        base: must stay in use for as long as any copy.

    Raises:
        SwapError: a value is not finite.
    """

    def __init__(self, base: DecoderWeights) -> None:
        self._shapes = {name: tuple(value.shape) for name, value in base.items()}
        self._spare: Float | None = None  # memory of a copy that nobody has any more
        self.base: Mapping[str, Float] = {}
        self.base = self.take(base)

    def take(self, weights: DecoderWeights) -> dict[str, Float]:
        """A copy.

        Raises:
            SwapError: names or shapes are not the base's, or a value is not finite.
        """
        require_names(weights, self._shapes.keys())
        for name, shape in self._shapes.items():
            if np.shape(weights[name]) != shape:
                raise SwapError(f"{name} has the shape {np.shape(weights[name])}, this decoder takes {shape}")
        copy = {name: self.base[name] for name in self._shapes if self._is_base(name, weights[name])}
        changed = {name: shape for name, shape in self._shapes.items() if name not in copy}
        flat, position = self._memory(sum(map(math.prod, changed.values()))), 0
        for name, shape in changed.items():
            copy[name] = flat[position : position + math.prod(shape)].reshape(shape)
            position += math.prod(shape)
            np.copyto(copy[name], weights[name])
        if not all_finite(flat):
            bad = next(name for name in changed if not all_finite(copy[name]))
            raise SwapError(f"{bad} holds values that are not finite")
        for name in changed:
            copy[name].flags.writeable = False
        return {name: copy[name] for name in self._shapes}

    def _is_base(self, name: str, value: Float) -> bool:
        base = self.base.get(name)
        if base is None or value.dtype != np.float32 or value.flat[0] != base.flat[0]:
            return False  # the first number tells for most that were changed
        return np.array_equal(value.view(np.uint32), base.view(np.uint32))  # as bits: 0 and -0 differ

    def _memory(self, count: int) -> Float:
        """One piece, because 120 take three times as long; and a used one, if possible.

        For 16 MB a copy takes 4 ms then, and 32 ms with page faults.
        """
        spare, self._spare = self._spare, None
        if spare is None or spare.size < count:
            spare = np.empty(count, np.float32)
        # Views of this array refer to it, not to the one whose memory it is: it goes with the last of them.
        flat = np.frombuffer(spare.data[:count], np.float32)
        weakref.finalize(flat, _use_again, weakref.ref(self), spare).atexit = False
        return flat


def require_names(weights: DecoderWeights, names: Set[str]) -> None:
    """Refuse weights of another decoder.

    Raises:
        SwapError: a tensor is missing, or unknown.
    """
    missing, unknown = names - weights.keys(), weights.keys() - names
    if missing or unknown:
        raise SwapError(
            f"these are no weights of this decoder: {len(missing)} tensors are missing "
            f"({', '.join(sorted(missing)[:3])}), {len(unknown)} unknown ({', '.join(sorted(unknown)[:3])})"
        )


def _use_again(owner: weakref.ref[WeightCopies], memory: Float) -> None:
    """Not a method: what is waiting to be told of the base's end must not keep the base."""
    copies = owner()
    if copies is not None:
        copies._spare = memory
