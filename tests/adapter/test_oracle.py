"""The click oracle against a brute-force version, and its rules one by one."""

import cv2
import numpy as np
import pytest
from livesam.adapter.oracle import deepest, depth_map, next_click
from livesam.engine.values.prompt import Click
from scipy.ndimage import distance_transform_edt


def brute_force(truth, predicted, ignore, visited):
    """RITM's Clicker, over the whole image and with SciPy's exact transform on squared distances."""

    def depth(region):
        padded = np.pad(region & ~ignore, 1)
        squared = np.round(distance_transform_edt(padded) ** 2).astype(int)[1:-1, 1:-1]
        for click in visited:
            squared[int(click.y), int(click.x)] = 0
        return squared

    missed, extra = depth(truth & ~predicted), depth(~truth & predicted)
    positive = missed.max() > extra.max()
    chosen = missed if positive else extra
    if chosen.max() == 0:
        return None
    rows, columns = np.where(chosen == chosen.max())
    return Click(float(columns[0]), float(rows[0]), positive=bool(positive))


def blobs(rng, hw, cell):
    """Random regions with a grain of about `cell` pixels."""
    coarse = rng.random((hw[0] // cell + 1, hw[1] // cell + 1)) > 0.5
    return np.kron(coarse, np.ones((cell, cell), bool))[: hw[0], : hw[1]].astype(bool)


@pytest.mark.parametrize("cell", [1, 3, 9, 40])
def test_same_clicks_as_brute_force(cell):
    rng = np.random.default_rng(cell)
    for _ in range(12):
        hw = (int(rng.integers(1, 90)), int(rng.integers(1, 90)))
        truth, predicted = blobs(rng, hw, cell), blobs(rng, hw, cell)
        ignore = blobs(rng, hw, 5) & blobs(rng, hw, 7)
        visited = []
        for _ in range(6):
            expected = brute_force(truth, predicted, ignore, visited)
            assert next_click(truth, predicted, ignore, visited) == expected
            if expected is None:
                break
            visited.append(expected)


def test_first_click_is_the_deepest_point_of_the_object():
    truth = np.zeros((20, 30), bool)
    truth[5:14, 10:21] = True  # 9 x 11: the middle row is deepest from column 14 to 16
    assert next_click(truth, np.zeros_like(truth)) == Click(14.0, 9.0, positive=True)


def test_image_border_ends_a_region():
    truth = np.ones((9, 9), bool)
    assert next_click(truth, np.zeros_like(truth)) == Click(4.0, 4.0, positive=True)


def test_equal_depth_gives_a_negative_click():
    truth, predicted = np.zeros((10, 20), bool), np.zeros((10, 20), bool)
    truth[2:7, 2:7] = True
    predicted[2:7, 12:17] = True
    assert next_click(truth, predicted) == Click(14.0, 4.0, positive=False)
    truth[7, 2:7] = truth[2:8, 7] = True  # 6 x 6 still has depth 3: equal, so negative still
    assert next_click(truth, predicted) == Click(14.0, 4.0, positive=False)
    truth[2:9, 2:9] = True
    assert next_click(truth, predicted) == Click(5.0, 5.0, positive=True)


def test_deeper_region_wins_over_the_larger_one():
    truth, predicted = np.zeros((30, 60), bool), np.zeros((30, 60), bool)
    truth[0:2, :] = True
    predicted[10:17, 10:17] = True
    click = next_click(truth, predicted)
    assert click == Click(13.0, 13.0, positive=False)


def test_ignored_pixels_are_outside_of_every_region():
    truth = np.zeros((11, 11), bool)
    truth[1:10, 1:10] = True
    ignore = np.zeros_like(truth)
    ignore[:, 5:] = True
    assert next_click(truth, np.zeros_like(truth), ignore) == Click(2.0, 2.0, positive=True)


def test_clicked_pixels_are_not_clicked_again():
    truth = np.zeros((7, 7), bool)
    truth[2:5, 2:5] = True
    empty = np.zeros_like(truth)
    first = next_click(truth, empty)
    assert first == Click(3.0, 3.0)
    second = next_click(truth, empty, visited=[first])
    assert second == Click(2.0, 2.0)  # only the pixel is closed, its neighbours keep their depth
    assert deepest(truth, [first])[0] == 1.0


def test_no_error_left_gives_no_click():
    truth = np.zeros((6, 6), bool)
    truth[2, 2] = True
    assert next_click(truth, truth) is None
    assert next_click(truth, np.zeros_like(truth), visited=[Click(2.0, 2.0)]) is None


def test_masks_of_another_kind_are_refused():
    mask = np.zeros((4, 4), bool)
    with pytest.raises(ValueError, match="one shape"):
        next_click(mask, np.zeros((4, 5), bool))
    with pytest.raises(ValueError, match="bool"):
        next_click(mask, np.zeros((4, 4), np.uint8))


def test_views_of_larger_arrays_are_cut_off_at_their_own_border():
    large = np.ones((40, 40), bool)
    view = large[10:19, 10:19]
    assert next_click(view, np.zeros_like(view)) == Click(4.0, 4.0)


def test_depths_are_the_same_each_time():
    """To the last bit, or the first of several deepest pixels would be a matter of chance; OpenCV's own are not."""
    rng = np.random.default_rng(0)
    for _ in range(100):
        height, width = (int(n) for n in rng.integers(20, 400, 2))
        region = cv2.GaussianBlur(rng.standard_normal((height, width), np.float32), (0, 0), 8) > 0
        first = depth_map(region)
        for _ in range(5):
            np.testing.assert_array_equal(depth_map(region), first)


def test_the_first_of_several_deepest_pixels():
    rows, columns = np.mgrid[:60, :70]
    region = np.hypot(columns - 30.5, rows - 25.5) < 20  # about a corner of pixels: four are deepest
    outside = np.argwhere(~region)
    squared = np.array([((outside - at) ** 2).sum(1).min() for at in np.argwhere(region)])
    row, column = np.argwhere(region)[squared.argmax()]
    depth, at = deepest(region)
    assert at == (column, row)
    assert depth**2 == pytest.approx(squared.max())
