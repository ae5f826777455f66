"""All training images on the device, so that a step waits for no file, no copy and no other process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import torch
from livesam.adapter.training.sources import PROCEDURAL, TRAINING_SETS, WHOLE_FOREGROUND_SETS, Source
from scipy.ndimage import find_objects

PROCEDURAL_SHARE = 0.15
FLATTENING = 0.6  # a set is drawn by its size to this power: large sets more often, but not as often as they are large
LEAST_PIXELS = 40


class ImageStore:
    """Images and ids, zero-padded to one square size, and the objects of each.

    Attributes:
        side: of the square, in pixels.
        images: uint8 ``(N, 3, side, side)`` on the device.
        ids: uint8 ``(N, side, side)`` on the device.
        hw: ``(N, 2)``: each image's own height and width.
        objects: for each image ``(n, 6)``: id, area, x0, y0, x1, y1, the ends exclusive.
        shares: how often each set is drawn, of 1.
    """

    def __init__(
        self, sources: Sequence[Source], device: torch.device, procedural_share: float = PROCEDURAL_SHARE
    ) -> None:
        self.side = max(max(s.ids.shape) for s in sources)
        count = len(sources)
        images = torch.zeros(count, 3, self.side, self.side, dtype=torch.uint8)
        ids = torch.zeros(count, self.side, self.side, dtype=torch.uint8)
        self.hw = np.zeros((count, 2), np.int64)
        for number, source in enumerate(sources):
            height, width = source.ids.shape
            self.hw[number] = height, width
            images[number, :, :height, :width] = torch.from_numpy(source.image).permute(2, 0, 1)
            ids[number, :height, :width] = torch.from_numpy(source.ids)
        with ThreadPoolExecutor() as pool:
            self.objects: list[npt.NDArray[np.float64]] = list(pool.map(object_table, (s.ids for s in sources)))
        self.images, self.ids, self.device = images.to(device), ids.to(device), device
        names = [s.set_name for s in sources]
        self.whole_foreground = torch.tensor([n in WHOLE_FOREGROUND_SETS for n in names], device=device)
        self.shares = set_shares(Counter(names), procedural_share)
        counts = Counter(names)
        chance = np.array([self.shares[n] / counts[n] for n in names])
        chance *= [len(table) > 0 for table in self.objects]
        if not chance.any():
            raise ValueError(f"none of the {count} images shows an object of {LEAST_PIXELS} pixels or more")
        self._cumulative = np.cumsum(chance / chance.sum())

    def draw(self, rng: np.random.Generator, count: int) -> npt.NDArray[np.int64]:
        """Numbers of images, drawn by their sets' shares; none without an object."""
        drawn = np.searchsorted(self._cumulative, rng.random(count), side="right")
        return np.minimum(drawn, len(self._cumulative) - 1)


def set_shares(counts: Counter[str], procedural_share: float) -> dict[str, float]:
    """How often each set is drawn, of 1."""
    real = {n: c**FLATTENING * TRAINING_SETS.get(n, 1.0) for n, c in counts.items() if n != PROCEDURAL}
    made = procedural_share if PROCEDURAL in counts and real else float(PROCEDURAL in counts)
    total = sum(real.values())
    shares = {n: (1 - made) * value / total for n, value in real.items()}
    return {**shares, PROCEDURAL: made} if PROCEDURAL in counts else shares


def object_table(ids: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """``(n, 6)``: id, area and box of each object of 40 pixels or more."""
    areas = np.bincount(ids.ravel(), minlength=256)
    rows = [
        (value, areas[value], place[1].start, place[0].start, place[1].stop, place[0].stop)
        for value, place in enumerate(find_objects(ids), 1)
        if place is not None and areas[value] >= LEAST_PIXELS
    ]
    return np.array(rows, np.float64).reshape(-1, 6)
