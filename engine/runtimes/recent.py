"""A small store that forgets what was unused longest: captured CUDA graphs hold device memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TypeVar

# Captured CUDA graphs that are kept; each holds its own buffers on the device.
DECODER_GRAPHS, ENCODER_GRAPHS = 32, 4

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(OrderedDict[K, V]):
    """At most ``most`` values by key, the one unused longest first; for one thread at a time.

    Raises:
        ValueError: ``most`` is below 1.
    """

    def __init__(self, most: int) -> None:
        if most < 1:
            raise ValueError(f"keep at least 1 value, got {most}")
        super().__init__()
        self._most = most

    def find(self, key: K, make: Callable[[], V]) -> V:
        """The value of ``key``, made when it is not there; then the one unused longest goes if there are too many."""
        if key in self:
            self.move_to_end(key)
            return self[key]
        value = self[key] = make()
        while len(self) > self._most:
            self.popitem(last=False)
        return value
