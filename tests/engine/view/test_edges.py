"""Logits drawn to the image's edges."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from livesam.engine.view.edges import EdgeFilter

HW = (96, 128)  # of the low-res logits, 128 x 128, the rest is padding


def disk(radius: float, x: float = 60, y: float = 48) -> np.ndarray:
    rows, columns = np.mgrid[: HW[0], : HW[1]]
    return np.hypot(columns - x, rows - y) <= radius


def coloured(*parts: np.ndarray) -> np.ndarray:
    """Noisy grey with the parts in noisy red."""
    colours = np.random.default_rng(0).uniform(100, 120, (*HW, 3)).astype(np.float32)
    for part in parts:
        colours[part, 0] += 100
    return colours


def logits(mask: np.ndarray) -> np.ndarray:
    padded = np.full((128, 128), -5, np.float32)
    padded[: HW[0]] = np.where(mask, 5, -5)
    return padded


def drawn(colours: np.ndarray, seen: np.ndarray) -> np.ndarray:
    return EdgeFilter(colours, 128).drawn(seen)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def outline(mask: np.ndarray) -> float:
    contours = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)[0]
    return sum(cv2.arcLength(contour, closed=True) for contour in contours)


def test_a_mask_of_blocks_gets_the_border_of_the_image() -> None:
    truth = disk(30)
    small = cv2.resize(truth.astype(np.uint8), (32, 24), interpolation=cv2.INTER_NEAREST)
    blocks = cv2.resize(small, HW[::-1], interpolation=cv2.INTER_NEAREST).astype(np.bool_)
    result = drawn(coloured(truth), logits(blocks))[: HW[0]] > 0
    assert iou(blocks, truth) < 0.91
    assert iou(result, truth) > 0.93
    assert outline(result) - outline(truth) < 0.5 * (outline(blocks) - outline(truth))


def test_specks_go_and_what_is_large_stays() -> None:
    rng = np.random.default_rng(1)
    ragged = logits(disk(30))
    ragged[rng.integers(0, 96, 60), rng.integers(0, 128, 60)] *= -1
    result = (drawn(coloured(disk(30)), ragged)[: HW[0]] > 0).astype(np.uint8)
    before = (ragged[: HW[0]] > 0).astype(np.uint8)
    assert cv2.connectedComponents(before)[0] + cv2.connectedComponents(1 - before)[0] > 40
    assert cv2.connectedComponents(result)[0] + cv2.connectedComponents(1 - result)[0] == 4, "one piece and one around"
    assert iou(result > 0, disk(30)) > 0.96


def test_logits_that_are_a_linear_function_of_colours_stay() -> None:
    colours = np.random.default_rng(2).uniform(0, 255, (*HW, 3)).astype(np.float32)
    seen = np.zeros((128, 128), np.float32)
    seen[: HW[0]] = colours @ np.float32([0.02, -0.01, 0.03]) - 4
    np.testing.assert_allclose(drawn(colours, seen), seen, atol=0.15)


def test_it_is_the_guided_filter_of_the_paper() -> None:
    """Equations 19 to 21, window by window, away from the image's border."""
    rng = np.random.default_rng(3)
    colours = rng.uniform(0, 255, (12, 12, 3)).astype(np.float32)
    seen = rng.normal(0, 3, (16, 16)).astype(np.float32)
    result = EdgeFilter(colours, 128).drawn(np.pad(seen, (0, 112)))[:12, :12]
    fits = {}
    for i in range(2, 10):
        for j in range(2, 10):
            part = slice(i - 2, i + 3), slice(j - 2, j + 3)
            guide, values = colours[part].reshape(-1, 3).astype(np.float64) / 255, seen[part].ravel()
            spread = guide - guide.mean(0)
            slope = np.linalg.solve(spread.T @ spread / 25 + 1e-3 * np.eye(3), spread.T @ (values - values.mean()) / 25)
            fits[i, j] = np.append(slope, values.mean() - slope @ guide.mean(0))
    for i, j in ((4, 4), (5, 7), (7, 5)):
        mean = np.mean([fits[i + down, j + across] for down in range(-2, 3) for across in range(-2, 3)], 0)
        assert result[i, j] == pytest.approx(float(np.append(colours[i, j] / 255, 1) @ mean), abs=1e-3)


def test_it_is_deterministic_and_leaves_input_and_padding_alone() -> None:
    colours, seen = coloured(disk(30)), logits(disk(27))
    before = colours.copy(), seen.copy()
    edges = EdgeFilter(colours, 128)
    first = edges.drawn(seen)
    np.testing.assert_array_equal(first, edges.drawn(seen))
    np.testing.assert_array_equal(colours, before[0])
    np.testing.assert_array_equal(seen, before[1])
    np.testing.assert_array_equal(first[HW[0] :], seen[HW[0] :])
    assert first.dtype == np.float32


def test_logits_that_are_not_finite_come_back_as_they_are() -> None:
    seen = logits(disk(30))
    seen[5, 5] = np.nan
    assert drawn(coloured(), seen) is seen


@pytest.mark.parametrize("hw", [(1, 128), (128, 2), (3, 3)])
@pytest.mark.parametrize("colour", [0.0, 255.0])
def test_thin_and_even_images_work(hw: tuple[int, int], colour: float) -> None:
    even = np.full((*hw, 3), colour, np.float32)
    result = drawn(even, np.full((128, 128), -7, np.float32))
    np.testing.assert_allclose(result, -7, atol=1e-3)
