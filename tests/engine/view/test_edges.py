"""Masks drawn to the image's edges."""

from __future__ import annotations

import numpy as np
import pytest
from livesam.engine.values.prompt import Click
from livesam.engine.view.edges import draw_to_edges

HW = (120, 200)


def disk(radius: float, x: float = 90, y: float = 60) -> np.ndarray:
    rows, columns = np.mgrid[: HW[0], : HW[1]]
    return np.hypot(columns - x, rows - y) <= radius


def coloured(*parts: np.ndarray) -> np.ndarray:
    """Noisy grey with the parts in noisy red."""
    rng = np.random.default_rng(0)
    image = rng.integers(90, 130, (*HW, 3)).astype(np.uint8)
    for part in parts:
        image[part, 0] += 100
    return image


def logits(mask: np.ndarray) -> np.ndarray:
    return np.where(mask, 5, -5).astype(np.float32)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize("shift", [(5, 0), (0, -5), (4, 4)])
def test_a_border_near_an_edge_moves_to_it(shift: tuple[int, int]) -> None:
    truth, seen = disk(40), disk(38, 90 + shift[0], 60 + shift[1])
    drawn = draw_to_edges(coloured(truth), logits(seen), [Click(90, 60)])
    assert drawn.dtype == np.bool_
    assert iou(seen, truth) < 0.9
    assert iou(drawn, truth) > 0.97


def test_what_is_far_from_the_border_stays_as_the_decoder_said() -> None:
    hole, stray = disk(8), disk(12, 15, 60)
    drawn = draw_to_edges(coloured(disk(40) & ~hole, stray), logits(disk(40)), [Click(60, 60)])
    assert drawn[hole].all()
    assert not drawn[stray].any()


def test_clicks_within_the_band_are_obeyed() -> None:
    truth = disk(40)
    inside, outside = Click(52, 60), Click(132, 60, positive=False)  # on a border that is wrong on both sides
    wrong = disk(38, 94)
    image = coloured(truth)
    drawn = draw_to_edges(image, logits(wrong), [Click(90, 60), inside, outside])
    assert drawn[60, 52]
    assert not drawn[60, 132]
    contrary = draw_to_edges(image, logits(wrong), [Click(52, 60, positive=False)])
    assert not contrary[60, 52]


def test_it_is_deterministic_and_leaves_its_input_alone() -> None:
    image, seen = coloured(disk(40)), logits(disk(36))
    before = image.copy(), seen.copy()
    first, second = (draw_to_edges(image, seen, [Click(90, 60)]) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(seen, before[1])


@pytest.mark.parametrize("mask", [np.zeros(HW, bool), np.ones(HW, bool), disk(1)], ids=["empty", "full", "dot"])
def test_too_little_on_one_side_comes_back_as_it_is(mask: np.ndarray) -> None:
    np.testing.assert_array_equal(draw_to_edges(coloured(), logits(mask), []), mask)


def test_large_thin_and_tiny_images_work() -> None:
    rng = np.random.default_rng(1)
    for hw in ((1500, 2000), (3, 400), (400, 2), (5, 5)):
        seen = rng.normal(size=hw).astype(np.float32)
        assert draw_to_edges(rng.integers(0, 256, (*hw, 3), dtype=np.uint8), seen, [Click(1, 1)]).shape == hw


def test_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="same size"):
        draw_to_edges(coloured(), np.zeros((10, 10), np.float32), [])
