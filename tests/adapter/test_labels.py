"""Pseudo-labels on cases made by hand."""

import numpy as np
import pytest
import torch
from livesam.adapter.labels import cells, click_labels, confident_label, erode, label_map, result_label
from livesam.adapter.losses import sample
from livesam.engine.values.prompt import Click
from livesam.engine.view.geometry import ResizeGeometry
from scipy.ndimage import binary_erosion


def test_a_click_is_sampled_at_its_exact_place():
    """Logits that are a plane in input pixels give the clicked pixel's middle back, for any image size."""
    side = 64
    ramp = (torch.arange(side, dtype=torch.float32) + 0.5) * 4  # middle of each low-res cell, in input pixels
    planes = torch.stack([ramp.expand(side, side), ramp[:, None].expand(side, side)])[None]
    for hw in ((256, 256), (171, 256), (1024, 700), (90, 120)):
        geometry = ResizeGeometry.of(hw, 256)
        clicks = [Click(10, 20), Click(hw[1] // 2, hw[0] // 2, False), Click(hw[1] - 11, 30)]
        labels = click_labels(clicks, geometry)
        assert labels.target.tolist() == [1, 0, 1]
        found = sample(planes, torch.from_numpy(labels.xy)[None])[0].T.numpy()
        expected = geometry.to_input_frame([(c.x + 0.5, c.y + 0.5) for c in clicks])
        np.testing.assert_allclose(found, expected, atol=1e-3)


def test_no_click_is_lost_and_a_later_one_overrules():
    geometry = ResizeGeometry.of((2000, 1500), 256)
    clicks = [Click(x, 700, x % 2 == 0) for x in range(100, 120)]
    assert len(click_labels(clicks, geometry).xy) == 20
    twice = click_labels([Click(5, 5), Click(9, 9), Click(5, 5, False)], geometry)
    assert sorted(twice.target.tolist()) == [0, 1]


@pytest.mark.parametrize("iterations", [0, 1, 4, 5])
def test_erosion_is_scipys(rng, iterations):
    coarse = rng.random((12, 15)) > 0.3
    mask = np.kron(coarse, np.ones((9, 9), bool)).astype(bool)
    expected = binary_erosion(mask, iterations=iterations) if iterations else mask
    assert np.array_equal(erode(mask, iterations, outside=False), expected)
    expected = binary_erosion(mask, iterations=iterations, border_value=1) if iterations else mask
    assert np.array_equal(erode(mask, iterations, outside=True), expected)


def test_border_band_and_padding_are_unknown():
    geometry = ResizeGeometry.of((128, 256), 256)
    mask = np.zeros((128, 256), bool)
    mask[32:96, 64:192] = True
    label = result_label(mask, geometry, 4, outside=True)
    assert label.target.shape == label.weight.shape == (64, 64)
    assert (label.weight[32:] == 0).all()  # padding: image rows end at 128 / 4
    expected = np.zeros((32, 64), np.float32)
    expected[9:23, 17:47] = 1  # 4 pixels are one cell
    assert np.array_equal(label.target[:32], expected)
    unknown = label.weight[:32] == 0
    band = np.zeros((32, 64), bool)
    band[7:25, 15:49] = True
    band[9:23, 17:47] = False
    # The cross leaves pixels at the band's outer corners known, a part of a cell each.
    assert (unknown <= band).all()
    assert unknown.sum() == band.sum() - 4
    assert np.array_equal(np.unique(label.weight[:32][~unknown & ~band]), [1.0])


def test_image_edge_is_unknown_only_for_the_papers_rule():
    geometry = ResizeGeometry.of((256, 256), 256)
    mask = np.zeros((256, 256), bool)
    mask[:128] = True
    assert result_label(mask, geometry, 8, outside=True).weight[0, 0] == 1
    assert result_label(mask, geometry, 8, outside=False).weight[0, 0] == 0


def test_erosion_can_remove_a_class():
    geometry = ResizeGeometry.of((256, 256), 256)
    mask = np.zeros((256, 256), bool)
    mask[100:108, 100:108] = True
    assert result_label(mask, geometry, 3).has_object
    assert not result_label(mask, geometry, 5).has_object
    assert result_label(mask, geometry, 5).has_background


def test_confident_label_keeps_sure_pixels_only():
    geometry = ResizeGeometry.of((256, 256), 256)
    logits = np.zeros((256, 256), np.float32)
    logits[:64], logits[64:128], logits[128:] = 3, 2, -3  # sigmoid(2) = 0.881, sigmoid(3) = 0.953
    label = confident_label(logits > 0, logits, geometry, 0.4)
    assert (label.weight[:16] == 1).all()
    assert (label.weight[16:32] == 0).all()
    assert (label.target[:16] == 1).all()
    assert (label.target[32:] == 0).all()


def test_cells_share_and_shape():
    geometry = ResizeGeometry.of((300, 200), 256)  # 256 x 171 in the input frame
    share = cells(np.ones((300, 200), bool), geometry)
    assert (share[:, :42] == 1).all()
    assert share[0, 42] == 0.75
    assert (share[:, 43:] == 0).all()
    small = ResizeGeometry.of((32, 32), 256)
    dot = np.zeros((32, 32), bool)
    dot[3, 5] = True
    expected = np.zeros((64, 64), np.float32)
    expected[6:8, 10:12] = 1
    assert np.array_equal(cells(dot, small), expected)


def test_labels_of_another_size_are_refused():
    with pytest.raises(ValueError, match="image's size"):
        label_map(np.zeros((3, 3), bool), np.zeros((3, 3), bool), ResizeGeometry.of((4, 3), 256))
