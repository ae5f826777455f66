"""What one kind of object looks like to the encoder, and where else it is seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from livesam.engine.view.points import geometry_of
from livesam.engine.view.view import View

Mask = npt.NDArray[np.bool_]
Grid = npt.NDArray[np.float32]

FINE = 2  # cells of the similarity map for one of the embedding, in each direction
QUANTILE = 0.2  # of the examples' own similarity: what is less alike is not proposed


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """A kind of object, learned from masks of a few; serves for any image of the same encoder.

    Attributes:
        likes: the examples' mean features, float32 ``(N, 256)`` of length 1.
        unlike: the mean of everything else, float32 ``(256,)`` of length 1, or zeros where there is nothing else.
        floor: how much the less alike parts of the examples themselves look like the kind.
        shares: of each example, the share of its image that it covers.
    """

    likes: Grid
    unlike: Grid
    floor: float
    shares: tuple[float, ...]

    @classmethod
    def of(cls, seen: Sequence[tuple[View, Sequence[Mask]]]) -> Kind:
        """Learn a kind from images and masks on each, bool ``(H, W)`` of the image.

        Raises:
            ValueError: there is no example, or one is empty or of another size than its image.
        """
        for view, examples in seen:
            if not examples or any(one.shape != view.hw or not one.any() for one in examples):
                raise ValueError(f"proposals need masks of the image's size {view.hw} that are not empty")
        if not seen:
            raise ValueError("proposals need masks of one object or more")
        likes: list[Grid] = []
        others, images = np.zeros(256, np.float32), []
        for view, examples in seen:
            cells = _cells(view)
            covers = [shrunk(one, (cells.shape[1], cells.shape[2])) for one in examples]
            cover = np.maximum.reduce(covers)
            likes += [_mean_of(cells, np.where(_is_inside(one), one, 0)) for one in covers]
            if (cover < 0.05).any():
                others += _mean_of(cells, np.where(cover < 0.05, 1, 0).astype(np.float32))
            images.append((cells, _is_inside(cover)))
        unlike = others / max(float(np.linalg.norm(others)), 1e-6)
        like = np.stack(likes)
        own = np.concatenate([_map(cells, like, unlike)[inside] for cells, inside in images])
        shares = tuple(float(one.mean()) for _, examples in seen for one in examples)
        return cls(like, unlike, float(np.quantile(own, QUANTILE)), shares)

    def seen_in(self, view: View) -> tuple[Grid, float]:
        """How much more each part of an image looks like the kind than like the rest; and from where that is enough."""
        map_ = _map(_cells(view), self.likes, self.unlike)
        threshold = 0.7 * self.floor + 0.3 * float(np.median(map_))
        height, width = map_.shape
        fine = cv2.resize(map_, (width * FINE, height * FINE), interpolation=cv2.INTER_LINEAR)
        return np.asarray(fine, np.float32), threshold


def shrunk(mask: Mask, hw: tuple[int, int]) -> Grid:
    """The share of each cell that a mask covers."""
    return np.asarray(cv2.resize(mask.astype(np.float32), (hw[1], hw[0]), interpolation=cv2.INTER_AREA), np.float32)


def _cells(view: View) -> Grid:
    """The embedding of the image without its padding, float32 ``(256, h, w)``: each cell's direction from the mean."""
    geometry, features = geometry_of(view.embedding), view.embedding.numpy()[0]
    stride = geometry.image_size // features.shape[1]
    height, width = (-(-side // stride) for side in geometry.resized_hw)
    cells = features[:, :height, :width]
    cells = cells - cells.mean(axis=(1, 2), keepdims=True)  # what all cells share says nothing
    found: Grid = cells / np.maximum(np.linalg.norm(cells, axis=0, keepdims=True), 1e-6)
    return found


def _is_inside(cover: Grid) -> Mask:
    inside: Mask = cover >= min(0.5, 0.8 * float(cover.max()))
    return inside


def _mean_of(cells: Grid, weights: Grid) -> Grid:
    mean = np.einsum("chw,hw->c", cells, weights)
    found: Grid = (mean / max(float(np.linalg.norm(mean)), 1e-6)).astype(np.float32)
    return found


def _map(cells: Grid, likes: Grid, unlike: Grid) -> Grid:
    alike = np.einsum("chw,nc->nhw", cells, likes).max(axis=0)
    found: Grid = (alike - np.einsum("chw,c->hw", cells, unlike)).astype(np.float32)
    return found
