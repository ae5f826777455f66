"""The recipe: what a step learns, what a click is, and that a killed run goes on as if nothing had happened."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from livesam.adapter import pretrain
from livesam.adapter.click_training import (
    click_loss,
    decode,
    draw_rounds,
    mask_iou,
    near_clicks,
    set_input_size,
    shown,
    simulate_box,
    simulate_click,
)
from livesam.adapter.pretrain import Stage
from livesam.adapter.synthetic import procedural
from livesam.adapter.training_data import PERMISSIVE_SETS
from livesam.engine.models import build, load


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for i, name in enumerate(PERMISSIVE_SETS):
        (folder / name / "images").mkdir(parents=True)
        (folder / name / "masks").mkdir()
        image, ids = procedural(np.random.default_rng(i), 80, 96)
        cv2.imwrite(str(folder / name / "images" / "a.png"), image)
        cv2.imwrite(str(folder / name / "masks" / "a.png"), ids.astype(np.uint8))
    return folder


def test_stage_parses_and_its_rate_falls() -> None:
    stage = Stage.parse("128:100:4:2:3:4e-4:1e-5")
    assert (stage.size, stage.steps, stage.clicks) == (128, 100, 3)
    assert stage.rate(0) == pytest.approx(4e-4)
    assert stage.rate(100) == pytest.approx(1e-5)
    with pytest.raises(ValueError, match="size:steps"):
        Stage.parse("128:100")


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


def test_a_box_is_drawn_around_the_object() -> None:
    target = np.zeros((32, 32), bool)
    target[8:20, 4:24] = True
    boxes = np.stack([simulate_box(np.random.default_rng(i), target) for i in range(50)])
    assert np.abs(boxes.mean(0) - (4, 8, 24, 20)).max() < 1
    assert boxes.std(0).min() > 0.2


def test_clicks_fall_into_the_larger_error() -> None:
    target, mask = np.zeros((16, 16), bool), np.zeros((16, 16), bool)
    target[2:10, 2:10] = True
    for seed in range(20):
        x, y, label = simulate_click(np.random.default_rng(seed), target, mask, (16, 16))
        assert label == 1
        assert target[int(y), int(x)]
    mask[:, :] = True
    for seed in range(20):
        x, y, label = simulate_click(np.random.default_rng(seed), target, mask, (16, 12))
        assert label == 0
        assert not target[int(y), int(x)]
        assert x < 12
    assert simulate_click(np.random.default_rng(0), target, target, (16, 16))[2] == 1  # nothing wrong: confirm


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
    assert mask_iou(right[:, :1], target, valid).item() == 1


def test_after_the_first_click_only_token_0_learns_and_most_near_the_clicks() -> None:
    target, valid = torch.zeros(1, 16, 16), torch.ones(1, 16, 16, dtype=torch.bool)
    target[0, :8] = 1
    clicks = torch.tensor([[[4.5, 4.5, 1.0], [4.5, 12.5, 0.0]]])

    def gradient(first: bool) -> torch.Tensor:
        masks = torch.zeros(1, 4, 16, 16, requires_grad=True)
        click_loss(masks, torch.zeros(1, 4), target, valid, clicks, first=first).backward()
        assert masks.grad is not None
        return masks.grad[0].abs()

    assert gradient(True)[1:].sum() > 0
    later = gradient(False)
    assert later[1:].sum() == 0
    assert later[0, 4, 4] > 5 * later[0, 4, 15]
    assert gradient(True)[0, 4, 4] == pytest.approx(gradient(True)[0, 4, 15])


def test_pixels_near_a_click_by_hand() -> None:
    near = near_clicks(torch.tensor([[[2.5, 6.5, 1.0], [8.5, 6.5, 0.0]]]), 12)
    assert near.shape == (1, 12, 12)
    assert near[0, 6, 2] == near[0, 6, 8] == 1
    assert near[0, 6, 5] == pytest.approx(np.exp(-0.5))  # three cells away from either
    assert near[0, 0, 11] < near[0, 3, 11] < near[0, 6, 11] < 1


def test_corrections_come_one_to_three_at_a_time() -> None:
    rng = np.random.default_rng(0)
    for clicks in range(1, 21):
        rounds = draw_rounds(clicks, rng)
        assert sum(rounds) == clicks
        assert rounds[0] == 1
        assert set(rounds) <= {1, 2, 3}
    assert {n for _ in range(20) for n in draw_rounds(12, rng)} == {1, 2, 3}


def test_shown_mask_follows_the_single_mask_rule() -> None:
    masks = torch.arange(4.0).view(1, 4, 1, 1).expand(1, 4, 2, 2)
    ious = torch.tensor([[0.9, 0.1, 0.8, 0.3]])
    assert shown(masks, ious, 1)[0, 0, 0] == 2
    assert shown(masks, ious, 2)[0, 0, 0] == 0


def run(data: Path, out: Path, stages: list[Stage]) -> list[dict[str, float]]:
    lines: list[dict[str, float]] = []
    pretrain.train(data, out, stages, 3, torch.device("cpu"), 0, None, lines.append)
    return lines


def test_a_killed_run_goes_on_with_the_same_numbers(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrain, "REPORT_EVERY", 2)
    monkeypatch.setattr(pretrain, "SAVE_EVERY", 2)
    stages = [Stage(32, 4, 2, 2, 2, 1e-3, 1e-3), Stage(64, 2, 2, 2, 2, 1e-3, 1e-3)]
    whole = run(data, tmp_path / "whole", stages)
    steps = iter(range(3))
    original = pretrain.train_step

    def dying(*arguments: object) -> object:
        if next(steps) == 2:
            raise KeyboardInterrupt
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(pretrain, "train_step", dying)
    with pytest.raises(KeyboardInterrupt):
        run(data, tmp_path / "killed", stages)
    monkeypatch.setattr(pretrain, "train_step", original)
    rest = run(data, tmp_path / "killed", stages)
    assert [line["loss"] for line in rest] == pytest.approx([line["loss"] for line in whole[1:]], rel=1e-4)
    weights = [load("nano", tmp_path / name / "nano.safetensors").state_dict() for name in ("whole", "killed")]
    assert all(torch.allclose(weights[0][k], weights[1][k], atol=1e-3) for k in weights[0])
    log = [json.loads(line) for line in (tmp_path / "killed" / "log.jsonl").read_text().splitlines()]
    assert [line["done"] for line in log] == [2, 4, 6]


def test_a_few_steps_learn_to_see_one_picture(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrain, "REPORT_EVERY", 5)
    monkeypatch.setattr(pretrain, "WARM_UP", 5)
    lines = run(data, tmp_path, [Stage(64, 15, 2, 3, 1, 1e-3, 1e-3)])
    assert lines[-1]["loss"] < lines[0]["loss"]
