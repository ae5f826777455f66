"""Images on their way into a GPU's encoder: up once, as uint8, and prepared there, with the host's bits.

PIL scales uint8 in two passes, along x and along y, with weights of 22 bits, and rounds after each. In float64 such
sums are exact, so a weighted ``embedding_bag``, one kernel a pass, gives what PIL gives.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from livesam.engine.models.spec import PIXEL_MEAN, PIXEL_STD
from livesam.engine.runtimes.recent import Recent
from livesam.engine.view.geometry import ResizeGeometry, require_rgb, resize
from PIL import Image
from torch.nn import functional as F

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

PIECE = 8 << 20  # bytes that are copied, sent and scaled at a time: while one is on its way, the next is copied
SLOTS = 3  # pinned pieces: one being filled, one under way, one to spare
MOST_SCALE = 32  # images that shrink by more are scaled on the host: one row has to fit into a piece
SIZES = 16  # pairs of lengths whose weights stay on the device, 10 to 300 KB each
BITS = 22  # of PIL's weights


class DeviceImages:
    """Makes encoder inputs on a device, without waiting for it; for one thread at a time, on the current stream.

    The result is that of ``engine/view/geometry.py``'s ``prepare``, to the bit.

    Attributes:
        sent: bytes of pixels that went to the device so far.
    """

    def __init__(self, image_size: int, device: torch.device) -> None:
        self.image_size, self.sent = image_size, 0
        self._device = device
        self._pinned: list[Tensor] = []
        self._free: list[Any] = []  # CUDA events: when the piece of this slot is on the device
        self._next = 0
        self._taps: Recent[tuple[int, int], tuple[Tensor, Tensor]] = Recent(SIZES)
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
        rows, tall = max(1, PIECE // image[0].nbytes), rows_first((image.shape[0], image.shape[1]), (height, width))
        pieces = []
        for top in range(0, image.shape[0], rows):
            # Columns come first: each is a row of what the weights pick from.
            columns = self._sent(image[top : top + rows]).transpose(0, 1)
            pieces.append(columns if tall else self._scaled(columns, width))
        columns = pieces[0] if len(pieces) == 1 else torch.cat(pieces, 1)  # (w, H, 3), or (W, H, 3) in a tall image
        small = self._scaled(columns.transpose(0, 1), height)  # (h, w, 3)
        if tall:
            small = self._scaled(small.transpose(0, 1), width).transpose(0, 1)
        small = small.permute(2, 0, 1)
        if (height, width) != out.shape[1:]:
            out.zero_()
        out[:, :height, :width] = (small.float() - self._mean) / self._std

    def _scaled(self, lines: Tensor, count: int) -> Tensor:
        """Levels (n, m, 3) scaled to (count, m, 3): uint8 as it came, or whole numbers in float64."""
        n, m, _ = lines.shape
        if n == count:
            return lines
        picked, weights = self._taps.find((n, count), lambda: self._weights(n, count))
        table = lines.to(torch.float64, memory_format=torch.contiguous_format).reshape(n, m * 3)
        sums = F.embedding_bag(picked, table, per_sample_weights=weights, mode="sum")
        return sums.add_(2 ** (BITS - 1)).mul_(2.0**-BITS).floor_().reshape(count, m, 3)

    def _weights(self, old: int, new: int) -> tuple[Tensor, Tensor]:
        picked, weights = taps(old, new)
        return torch.from_numpy(picked).to(self._device), torch.from_numpy(weights).to(self._device)

    def _sent(self, rows: npt.NDArray[np.uint8]) -> Tensor:
        """Rows (h, W, 3) of an image, on the device."""
        self.sent += rows.nbytes
        # Not `from_numpy`, which warns of arrays that may only be read. The array outlives this call.
        flat = torch.frombuffer((ctypes.c_ubyte * rows.nbytes).from_address(rows.ctypes.data), dtype=torch.uint8)
        there = torch.empty(rows.shape, dtype=torch.uint8, device=self._device)
        if self._device.type != "cuda":
            there.view(-1).copy_(flat)
            return there
        slot = self._slot()
        staged = self._pinned[slot][: rows.nbytes]
        staged.copy_(flat)  # by PyTorch's threads; straight from pageable memory the driver copies with one
        there.view(-1).copy_(staged, non_blocking=True)
        self._free[slot].record()
        return there

    def _slot(self) -> int:
        """A pinned piece that may be written to."""
        if len(self._pinned) < SLOTS:
            self._pinned.append(torch.empty(PIECE, dtype=torch.uint8, pin_memory=True))
            self._free.append(torch.cuda.Event())  # type: ignore[no-untyped-call]
            return len(self._pinned) - 1
        slot, self._next = self._next, (self._next + 1) % SLOTS  # the one that was sent longest ago
        self._free[slot].synchronize()
        return slot


def rows_first(old_hw: tuple[int, int], new_hw: tuple[int, int]) -> bool:
    """Whether PIL scales along y first: as of version 13, where that takes away more than twice what x does."""
    shrinks = old_hw[0] - new_hw[0]
    return shrinks > max(0, 2 * (old_hw[1] - new_hw[1])) and _pil_scales_rows_first()


@cache
def _pil_scales_rows_first() -> bool:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 16), dtype=np.uint8))
    first = picture.resize((16, 20), Image.Resampling.BILINEAR)
    both = picture.resize((15, 20), Image.Resampling.BILINEAR)
    return first.resize((15, 20), Image.Resampling.BILINEAR).tobytes() == both.tobytes()


def taps(old: int, new: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Which of ``old`` samples each of ``new`` is made of, and with which weights, (new, K) each: PIL's bilinear.

    The weights are whole numbers that add up to 2**22, but for rounding; where there are fewer than K, some are 0.
    """
    scale = old / new
    support = max(scale, 1.0)  # the triangle is as wide as a new sample, and never narrower than two old ones
    centers = (np.arange(new) + 0.5) * scale
    first = np.maximum((centers - support + 0.5).astype(np.int64), 0)
    last = np.minimum((centers + support + 0.5).astype(np.int64), old)
    picked = first[:, None] + np.arange((last - first).max())
    distance = np.abs((picked - centers[:, None] + 0.5) * (1.0 / support))
    weights = np.where((distance < 1) & (picked < last[:, None]), 1 - distance, 0.0)
    weights /= np.cumsum(weights, axis=1)[:, -1:]  # added one by one, as PIL does
    return np.minimum(picked, old - 1), np.floor(weights * 2**BITS + 0.5)
