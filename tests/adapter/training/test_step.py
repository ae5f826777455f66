"""One training step: what it learns from, in what precision, in which memory layout."""

import numpy as np
import pytest
import torch
from livesam.adapter.training import step
from livesam.adapter.training.click_loss import click_loss, shown
from livesam.adapter.training.crops import draw_batch
from livesam.adapter.training.image_store import ImageStore
from livesam.adapter.training.procedural import procedural_sources
from livesam.adapter.training.step import Sequence, batch_loss, decode, set_input_size
from livesam.engine.models.loading import build


def test_batched_decode_is_the_official_decoder_image_by_image() -> None:
    torch.manual_seed(0)
    sam = build("nano")
    set_input_size(sam, 64)
    features = torch.randn(2, 256, 4, 4)
    coords, labels = torch.rand(6, 2, 2) * 64, torch.tensor([[1.0, 0.0]]).expand(6, 2)
    logits = torch.randn(6, 1, 16, 16)
    with torch.no_grad():
        masks, ious = decode(sam, features, (coords, labels), None, logits)
        for i in range(2):
            part = slice(3 * i, 3 * i + 3)
            sparse, dense = sam.prompt_encoder((coords[part], labels[part]), None, logits[part])
            expected, expected_ious = sam.mask_decoder.predict_masks(
                features[i : i + 1], sam.prompt_encoder.get_dense_pe(), sparse, dense
            )
            assert torch.allclose(masks[part], expected, atol=1e-5)
            assert torch.allclose(ious[part], expected_ious, atol=1e-5)


def test_coordinates_stay_fp32_under_autocast() -> None:
    """In bf16 a coordinate of 500 is off by 2 pixels: then neighbouring clicks would read the same."""
    sam = build("nano")
    seen = []
    sam.prompt_encoder.register_forward_hook(lambda *call: seen.append(call[2][0]))
    features = torch.randn(1, 256, 32, 32)
    labels = torch.ones(1, 1)
    with torch.no_grad():
        decode(sam, features, (torch.tensor([[[500.0, 400.0]]]), labels), None, None)
        with torch.autocast("cpu", torch.bfloat16):
            decode(sam, features, (torch.tensor([[[500.0, 400.0]]]), labels), None, torch.randn(1, 1, 128, 128))
    assert seen[1].dtype == torch.float32
    assert torch.equal(seen[0], seen[1])


def test_the_encoder_gets_contiguous_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    store = ImageStore(list(procedural_sources(2, 0, 1, side=64)), torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    batch = draw_batch(store, np.random.default_rng(0), generator, 64, 2, 1)
    sam = build("nano")
    set_input_size(sam, 64)
    layouts = []
    sam.image_encoder.register_forward_pre_hook(lambda _, given: layouts.append(given[0].is_contiguous()))
    channels_last = batch.pixels.contiguous(memory_format=torch.channels_last)
    monkeypatch.setattr(batch.__class__, "pixels", property(lambda _: channels_last), raising=False)
    batch_loss(sam, batch, Sequence((1,), frozenset({0}), False), generator, half=False)
    assert layouts == [True]


def test_loss_prefers_the_truth_and_ignores_padding() -> None:
    target = torch.zeros(1, 8, 8)
    target[0, :4, :4] = 1
    valid = torch.ones(1, 8, 8, dtype=torch.bool)
    valid[0, :, 6:] = False
    right = (target[:, None] * 2 - 1).expand(1, 4, 8, 8) * 8
    wrong_in_padding = right.clone()
    wrong_in_padding[..., 6:] = 8
    clicks = torch.tensor([[[2.0, 2.0, 1.0], [5.0, 5.0, 0.0]]])

    def loss(masks: torch.Tensor, true_iou: float, first: bool) -> float:
        ious = torch.full((1, 4), true_iou)
        return click_loss(masks, ious, target, valid, clicks, first=first).item()

    for first in (True, False):
        assert loss(right, 1, first) < 0.1
        assert loss(wrong_in_padding, 1, first) == pytest.approx(loss(right, 1, first))
        assert loss(-right, 0, first) > 2
        assert loss(right, 0, first) > loss(right, 1, first) + 0.9  # the IoU head


def test_after_the_first_click_only_token_0_learns_and_most_near_the_clicks() -> None:
    target, valid = torch.zeros(1, 16, 16), torch.ones(1, 16, 16, dtype=torch.bool)
    target[0, :8] = 1
    clicks = torch.tensor([[[4.5, 4.5, 1.0], [4.5, 12.5, 0.0]]])

    def gradient(first: bool) -> torch.Tensor:
        masks = torch.zeros(1, 4, 16, 16, requires_grad=True)
        click_loss(masks, torch.zeros(1, 4), target, valid, clicks, first=first).sum().backward()
        assert masks.grad is not None
        return masks.grad[0].abs()

    assert gradient(True)[1:].sum() > 0
    later = gradient(False)
    assert later[1:].sum() == 0
    assert later[0, 4, 4] > 5 * later[0, 4, 15]
    assert gradient(True)[0, 4, 4] == pytest.approx(gradient(True)[0, 4, 15])


def test_first_last_and_a_round_in_between_are_learned_from() -> None:
    rng = np.random.default_rng(0)
    drawn = [Sequence.draw(rng, 12) for _ in range(200)]
    for sequence in drawn:
        last = len(sequence.rounds) - 1
        assert sequence.rounds[0] == 1
        assert sum(sequence.rounds) <= 12
        assert set(sequence.rounds) <= set(range(1, step.MOST_AT_ONCE + 1))
        assert {0, last} <= sequence.learned <= set(range(last + 1))
        assert len(sequence.learned) == min(3, last + 1)
    assert 0.05 < np.mean([s.box for s in drawn]) < 0.3


def test_shown_mask_follows_the_single_mask_rule() -> None:
    masks = torch.arange(4.0).view(1, 4, 1, 1).expand(1, 4, 2, 2)
    ious = torch.tensor([[0.9, 0.1, 0.8, 0.3]])
    assert shown(masks, ious, 1)[0, 0, 0] == 2
    assert shown(masks, ious, 2)[0, 0, 0] == 0
