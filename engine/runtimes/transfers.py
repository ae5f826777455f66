"""What goes up to a device and comes down from it: each a single copy, through memory that the device reads itself."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


class Transfers:
    """The copies of one decoder, on the stream that is current.

    On the CPU they are copies too, so that what is counted there is what a GPU gets.

    Attributes:
        ups, downs: how many there were.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._pinned = device, device.type == "cuda"
        self._staging = torch.empty(0)
        self.ups = self.downs = 0

    def staging(self, count: int) -> npt.NDArray[np.float32]:
        """Host memory for ``count`` numbers of the next ``up``, to be filled; its earlier contents are undefined.

        Only once the copy before has arrived, as it has after a ``down``.
        """
        if self._staging.numel() < count:
            self._staging = torch.empty(count, pin_memory=self._pinned)
        return self._staging[:count].numpy()

    def up(self, target: Tensor) -> None:
        """Send the staged numbers to a contiguous float32 tensor on the device, without waiting."""
        self.ups += 1
        target.view(-1).copy_(self._staging[: target.numel()], non_blocking=True)

    def down(self, source: Tensor) -> npt.NDArray[np.uint8]:
        """Bytes of the device in host memory; waits for all that was queued before."""
        self.downs += 1
        host = torch.empty(source.shape, dtype=source.dtype, pin_memory=self._pinned)
        host.copy_(source, non_blocking=True)
        if self._pinned:
            torch.cuda.current_stream(self._device).synchronize()
        return host.numpy()
