"""Clicks for many masks at once do what the click of one mask does."""

import cv2
import numpy as np
import pytest
import torch
from livesam.adapter.losses import near_clicks
from livesam.adapter.training.batched_clicks import boxes, depth, mask_iou, simulate
from livesam.adapter.training.procedural import shape


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_depth_is_opencvs_distance_transform_of_a_padded_mask() -> None:
    masks = np.stack([shape(np.random.default_rng(i), 48, 64) for i in range(24)])
    masks[0], masks[1] = True, False
    found = depth(torch.from_numpy(masks)).numpy()
    for mask, ours in zip(masks, found, strict=True):
        padded = np.pad(mask.astype(np.uint8), 1)
        assert np.allclose(
            ours, cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1], atol=1e-4
        )


def test_clicks_fall_into_the_larger_error() -> None:
    target, mask = torch.zeros(40, 16, 16), torch.zeros(40, 16, 16, dtype=torch.bool)
    valid = torch.ones(40, 16, 16, dtype=torch.bool)
    target[:, 2:10, 2:10] = 1
    clicks = simulate(target, mask, valid, 2, gen())
    assert clicks.shape == (40, 2, 3)
    assert (clicks[..., 2] == 1).all()
    assert ((clicks[..., :2] >= 2) & (clicks[..., :2] < 10)).all()
    assert len({tuple(c) for c in clicks[:, 0, :2].int().tolist()}) > 5  # not all at the deepest point
    mask[:] = True
    valid[..., 12:] = False
    clicks = simulate(target, mask, valid, 1, gen())
    assert (clicks[..., 2] == 0).all()
    assert (clicks[..., 0] < 12).all()
    inside = ((clicks[..., :2] >= 2) & (clicks[..., :2] < 10)).all(-1)
    assert not inside.any()


def test_nothing_wrong_confirms_and_nothing_there_is_padding() -> None:
    target = torch.zeros(2, 16, 16)
    target[0, 4:9, 4:9] = 1
    clicks = simulate(target, target > 0, torch.ones(2, 16, 16, dtype=torch.bool), 1, gen())
    assert clicks[:, 0, 2].tolist() == [1, -1]
    assert 4 <= clicks[0, 0, 0] < 9


def test_boxes_are_drawn_around_the_object_a_little_off() -> None:
    target = torch.zeros(60, 32, 32)
    target[:, 8:20, 4:24] = 1
    target[59] = 0
    found = boxes(target, gen())
    assert (found[:59].mean(0) - torch.tensor([4.0, 8, 24, 20])).abs().max() < 1
    assert found[:59].std(0).min() > 0.2
    assert (found[59] - torch.tensor([0.0, 0, 32, 32])).abs().max() < 8


def test_iou_counts_valid_cells_only() -> None:
    target, valid = torch.zeros(1, 8, 8), torch.ones(1, 8, 8, dtype=torch.bool)
    target[0, :4] = 1
    valid[0, :, 6:] = False
    mask = (target > 0)[:, None].clone()
    mask[..., 6:] = True
    assert mask_iou(mask, target, valid).item() == 1


def test_pixels_near_a_click_by_hand() -> None:
    near = near_clicks(torch.tensor([[[2.5, 6.5, 1.0], [8.5, 6.5, 0.0]]]), 12)
    assert near.shape == (1, 12, 12)
    assert near[0, 6, 2] == near[0, 6, 8] == 1
    assert near[0, 6, 5] == pytest.approx(np.exp(-0.5))  # three cells away from either
    assert near[0, 0, 11] < near[0, 3, 11] < near[0, 6, 11] < 1
