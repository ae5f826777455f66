"""Images on their way into a GPU's encoder: up once, as uint8, and prepared there."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from livesam.engine.models.spec import PIXEL_MEAN, PIXEL_STD
from livesam.engine.view.geometry import ResizeGeometry, require_rgb, resize
from torch.nn import functional as F

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

PIECE = 8 << 20  # bytes that are copied, sent and scaled at a time: while one is on its way, the next is copied
SLOTS = 3  # pinned pieces: one being filled, one under way, one to spare
# Images that are scaled down by more are scaled on the host: PyTorch's kernel keeps a weight for each source pixel in
# shared memory, and one row has to fit into a piece.
MOST_SCALE = 32


class DeviceImages:
    """Makes encoder inputs on a device, without waiting for it; for one thread at a time, on the current stream.

    The rule is that of ``engine/view/geometry.py``'s ``prepare``: PIL's two passes, the first of which is rounded too.
    Against it at most 1 sample in 400 is off, by one level (PyTorch takes weights in float32, PIL in 22 bits).

    Attributes:
        sent: bytes that went to the device so far.
    """

    def __init__(self, image_size: int, device: torch.device) -> None:
        self.image_size, self.sent = image_size, 0
        self._device = device
        self._pinned: list[Tensor] = []
        self._free: list[Any] = []  # CUDA events: when the piece of this slot is on the device
        self._next = 0
        self._mean = torch.tensor(PIXEL_MEAN, device=device).reshape(3, 1, 1)
        self._std = torch.tensor(PIXEL_STD, device=device).reshape(3, 1, 1)

    def load(self, image: npt.NDArray[np.uint8], out: Tensor) -> None:
        """Write the input for an RGB image uint8 ``(H, W, 3)`` to ``out``, float32 ``(3, S, S)`` on the device.

        Raises:
            ValueError: the image is not uint8 ``(H, W, 3)``, or empty, or too thin.
        """
        require_rgb(image)
        geometry = ResizeGeometry.of((image.shape[0], image.shape[1]), self.image_size)
        height, width = geometry.resized_hw
        if 1 / geometry.scale > MOST_SCALE:
            image = resize(image, self.image_size)
        image = np.ascontiguousarray(image)
        rows = max(1, PIECE // image[0].nbytes)
        pieces = [_along(self._send(image[top : top + rows]), 2, width) for top in range(0, image.shape[0], rows)]
        small = _along(pieces[0] if len(pieces) == 1 else torch.cat(pieces, 1), 1, height)
        if (height, width) != out.shape[1:]:
            out.zero_()
        out[:, :height, :width] = (small - self._mean) / self._std

    def _send(self, rows: npt.NDArray[np.uint8]) -> Tensor:
        """Rows (h, W, 3) of an image on the device, float32 (3, h, W) there."""
        self.sent += rows.nbytes
        # Not `from_numpy`, which warns of arrays that may only be read. The array outlives this call.
        flat = torch.frombuffer((ctypes.c_ubyte * rows.nbytes).from_address(rows.ctypes.data), dtype=torch.uint8)
        there = torch.empty(rows.shape, dtype=torch.uint8, device=self._device)
        if self._device.type != "cuda":
            there.view(-1).copy_(flat)
        else:
            slot = self._slot()
            staged = self._pinned[slot][: rows.nbytes]
            staged.copy_(flat)  # by PyTorch's threads; straight from pageable memory the driver copies with one
            there.view(-1).copy_(staged, non_blocking=True)
            self._free[slot].record()
        return there.permute(2, 0, 1).float()

    def _slot(self) -> int:
        """A pinned piece that may be written to."""
        if len(self._pinned) < SLOTS:
            self._pinned.append(torch.empty(PIECE, dtype=torch.uint8, pin_memory=True))
            self._free.append(torch.cuda.Event())  # type: ignore[no-untyped-call]
            return len(self._pinned) - 1
        self._next = (self._next + 1) % SLOTS
        self._free[self._next].synchronize()
        return self._next


def _along(image: Tensor, axis: int, size: int) -> Tensor:
    """Samples (3, h, w) scaled along axis 1 or 2 by PIL's bilinear rule, and rounded as PIL rounds, halves up."""
    if image.shape[axis] == size:
        return image
    hw = (size, image.shape[2]) if axis == 1 else (image.shape[1], size)
    return (F.interpolate(image[None], hw, mode="bilinear", antialias=True)[0] + 0.5).floor_()
