"""A kind of object that is learned on one image is found on another: features are made of the images themselves."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from livesam.engine.session.kind import Kind, shrunk
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.view.view import View

SIDE, GRID = 512, 32


def disc(row: int, column: int, radius: int = 40) -> np.ndarray:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return np.hypot(rows - row, columns - column) < radius


def view(*parts: tuple[int, np.ndarray], seed: int = 0) -> View:
    """An image whose cells have feature 1, 2... where a part of that number lies, and feature 0 elsewhere."""
    kinds = np.zeros((SIDE, SIDE), int)
    for number, mask in parts:
        kinds[mask] = number
    features = np.random.default_rng(seed).normal(0, 0.05, (256, GRID, GRID)).astype(np.float32)
    for number in range(3):
        features[number] += cv2.resize((kinds == number).astype(np.float32), (GRID, GRID), interpolation=cv2.INTER_AREA)
    return View.whole(ImageEmbedding(features[None], (SIDE, SIDE), (SIDE, SIDE), "k"), None)


def test_it_is_seen_in_another_image_and_another_kind_is_not() -> None:
    first = view((1, disc(100, 100)), (2, disc(400, 400)))
    other = view((1, disc(300, 150)), (2, disc(100, 400)), seed=1)
    kind = Kind.of([(first, [disc(100, 100)])])
    likeness, threshold = kind.seen_in(other)
    cells = likeness.shape
    assert likeness[shrunk(disc(300, 150, 25), cells) > 0.9].min() > threshold
    assert likeness[shrunk(disc(100, 400, 25), cells) > 0.9].max() < threshold
    assert likeness[shrunk(disc(420, 300, 25), cells) > 0.9].max() < threshold


def test_examples_of_several_images_are_one_kind() -> None:
    first, second = view((1, disc(100, 100))), view((2, disc(300, 300, 60)), seed=1)
    kind = Kind.of([(first, [disc(100, 100)]), (second, [disc(300, 300, 60)])])
    assert kind.likes.shape == (2, 256)
    assert kind.shares == pytest.approx([disc(0, 0).mean() * 4, disc(300, 300, 60).mean()], rel=0.1)
    likeness, threshold = kind.seen_in(view((1, disc(200, 100)), (2, disc(200, 400)), seed=2))
    for place in ((200, 100), (200, 400)):
        assert likeness[shrunk(disc(*place, 20), likeness.shape) > 0.9].min() > threshold


@pytest.mark.parametrize("examples", [[], [np.zeros((SIDE, SIDE), bool)], [np.ones((3, 3), bool)]])
def test_no_examples_are_refused(examples: list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match="proposals need masks"):
        Kind.of([(view(), examples)])
    with pytest.raises(ValueError, match="one object or more"):
        Kind.of([])
