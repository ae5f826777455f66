"""Losses on cases made by hand."""

import math

import pytest
import torch
from livesam.adapter.losses import (
    balanced,
    click_bce,
    dice,
    focal,
    pixel_bce,
    sample,
    soft_iou,
    sparse_bce,
)
from torch.nn import functional as F


@pytest.fixture
def case():
    """Two prompts with two masks of 8 x 8; the object is the left half, the right column is unknown."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 2, 8, 8, generator=generator, requires_grad=True)
    target, weight = torch.zeros(2, 8, 8), torch.ones(2, 8, 8)
    target[:, :, :4] = 1
    weight[:, :, 7] = 0
    return logits, target, weight


def test_click_bce_by_hand():
    logits = torch.zeros(1, 1, 4, 4)
    logits[0, 0, 0, 0], logits[0, 0, 3, 3], logits[0, 0, 0, 3] = 2.0, 1.0, -1.0
    corners = torch.tensor([[[-0.75, -0.75], [0.75, 0.75], [0.75, -0.75]]])  # middles of the corner cells
    assert torch.allclose(sample(logits, corners), torch.tensor([[[2.0, 1.0, -1.0]]]), atol=1e-6)
    loss = click_bce(logits, corners, torch.tensor([[1.0, 0.0, 0.0]]))
    expected = (math.log1p(math.exp(-2)) + (math.log1p(math.exp(1)) + math.log1p(math.exp(-1))) / 2) / 2
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    only = click_bce(logits, corners[:, :1], torch.tensor([[1.0]]))
    assert float(only) == pytest.approx(math.log1p(math.exp(-2)), rel=1e-5)


def test_click_gradient_stays_at_the_click():
    logits = torch.zeros(1, 1, 8, 8, requires_grad=True)
    xy = torch.tensor([[[(2 * 3.0) / 8 - 1, (2 * 4.5) / 8 - 1]]])  # between columns 2 and 3, middle of row 4
    click_bce(logits, xy, torch.ones(1, 1)).sum().backward()
    touched = logits.grad[0, 0].nonzero().tolist()
    assert touched == [[4, 2], [4, 3]]
    assert torch.allclose(logits.grad[0, 0, 4, 2:4], torch.tensor([-0.25, -0.25]))


def test_sparse_bce_ignores_the_unknown_and_balances(case):
    logits, target, weight = case
    loss = sparse_bce(logits, target, weight)
    assert loss.shape == (2, 2)
    bce = F.binary_cross_entropy_with_logits(logits, target[:, None].expand_as(logits), reduction="none")
    expected = (bce[..., :4].mean((2, 3)) + bce[..., 4:7].mean((2, 3))) / 2
    assert torch.allclose(loss, expected, atol=1e-6)
    loss.sum().backward()
    assert (logits.grad[..., 7] == 0).all()
    assert (logits.grad[..., :7] != 0).all()


def test_balanced_counts_only_classes_that_occur():
    loss, ones = torch.tensor([[1.0, 3.0, 5.0]]), torch.ones(1, 3)
    assert float(balanced(loss, torch.tensor([[1.0, 0.0, 0.0]]), ones)) == pytest.approx(2.5)
    assert float(balanced(loss, ones, ones)) == pytest.approx(3.0)
    assert float(balanced(loss, ones, torch.zeros(1, 3))) == 0.0


def test_dice_and_focal_ignore_the_unknown(case):
    logits, target, weight = case
    for loss in (dice, focal):
        logits.grad = None
        loss(logits, target, weight).sum().backward()
        assert (logits.grad[..., 7] == 0).all()
        assert logits.grad[..., :7].abs().max() > 0
    perfect = torch.where(target[:, None].bool(), 40.0, -40.0)
    perfect[..., 7] = 40.0  # wrong, but unknown
    assert float(dice(perfect, target, weight).max()) == pytest.approx(0, abs=1e-5)
    assert float(focal(perfect, target, weight).max()) == pytest.approx(0, abs=1e-5)
    assert float(dice(-perfect, target, weight).min()) > 0.97
    by_hand = 1 - (2 * 16 + 1) / (28 + 32 + 1)  # all one half: 32 object cells, 24 known others
    half = torch.zeros(2, 2, 8, 8)
    assert torch.allclose(dice(half, target, weight)[0, 0], torch.tensor(1 - (2 * 16 + 1) / (28 + 32 + 1)))
    assert by_hand == pytest.approx(float(dice(half, target, weight)[0, 0]), rel=1e-6)


def test_focal_by_hand():
    logits = torch.tensor([[[[0.0, 2.0]]]])
    target, weight = torch.tensor([[[1.0, 0.0]]]), torch.ones(1, 1, 2)
    sigmoid = 1 / (1 + math.exp(-2))
    weights = (0.25, sigmoid**2)
    losses = (math.log(2), math.log1p(math.exp(2)))
    expected = sum(w * v for w, v in zip(weights, losses, strict=True)) / sum(weights)
    assert float(focal(logits, target, weight)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", [sparse_bce, focal])
def test_losses_take_a_cross_entropy_that_is_there_already(case, loss):
    logits, target, weight = case
    assert torch.equal(loss(logits, target, weight, bce=pixel_bce(logits, target)), loss(logits, target, weight))
    assert not torch.equal(loss(logits, target, weight, bce=torch.ones_like(logits)), loss(logits, target, weight))


def test_soft_iou_by_hand(case):
    _, target, weight = case
    logits = torch.full((2, 2, 8, 8), -1.0)
    logits[:, 0, :, 2:] = 1  # 16 of 32 object cells, 24 others known
    found = soft_iou(logits, target, weight)
    assert torch.allclose(found[:, 0], torch.tensor(16 / 56))
    assert (found[:, 1] == 0).all()
    assert (soft_iou(logits, torch.zeros(2, 8, 8), weight)[:, 1] == 1).all()
