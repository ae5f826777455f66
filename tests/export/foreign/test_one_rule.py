"""What inspect says of a checkpoint, `segment` and the other commands open and import takes, or each says why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from livesam.engine.models import loading as models
from livesam.engine.models.adapted import load_adapted
from livesam.engine.values.errors import CheckpointError
from livesam.export.foreign import import_child, importing
from livesam.export.foreign.importing import import_weights
from livesam.export.foreign.inspect_child import look
from safetensors.torch import save_file


@pytest.fixture(scope="module")
def nano() -> Any:
    return models.load("nano")


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child's own function without a process around it, which costs seconds; test_importing has one."""
    monkeypatch.setattr(importing, "checked_copy", import_child.take)


def fine_tuned(sam: Any) -> dict[str, torch.Tensor]:
    state = {name: value.clone() for name, value in sam.state_dict().items()}
    state["mask_decoder.iou_token.weight"] += 0.5
    return state


def under(prefix: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {prefix + name: value for name, value in state.items()}


OPTIMISER = {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-3}]}

WHOLE = {
    "plain": lambda state, worse: state,
    "step first": lambda state, worse: {"step": torch.tensor(9), "model": state},
    "optimizer first": lambda state, worse: {"optimizer": OPTIMISER, "model": state},
    "config and metrics": lambda state, worse: {"config": {"lr": 1.0}, "metrics": {"iou": 0.7}, "network": state},
    "ema first": lambda state, worse: {"ema": worse, "model": state},
    "ema last": lambda state, worse: {"model": state, "ema": worse, "epoch": 3},
    "ema by prefix": lambda state, worse: {"state_dict": {**under("ema_model.", worse), **under("model.", state)}},
    "module": lambda state, worse: under("module.", state),
    "compiled": lambda state, worse: under("_orig_mod.", state),
    "nested prefixes": lambda state, worse: {"state_dict": under("net.module._orig_mod.sam.", state)},
    "with constants": lambda state, worse: {**state, "pixel_mean": torch.zeros(3, 1, 1), "epoch": torch.tensor(2)},
}


@pytest.mark.parametrize("form", WHOLE)
def test_whole_checkpoints(nano: Any, form: str, tmp_path: Path) -> None:
    state = fine_tuned(nano)
    worse = {name: value + 1 if value.dtype.is_floating_point else value for name, value in state.items()}
    path, out = tmp_path / "theirs.pth", tmp_path / "out.safetensors"
    torch.save(WHOLE[form](state, worse), path)
    found = look(path)
    assert (found.kind, found.model) == ("checkpoint", "nano")
    assert found.summary.startswith("full checkpoint of nano, 473 tensors")
    opened = models.load("nano", path).state_dict()
    assert all(torch.equal(value, state[name]) for name, value in opened.items())
    assert import_weights(path, "nano", out) == "decoder"
    base = models.decoder_weights(nano)
    np.testing.assert_array_equal(load_adapted(out, base)["iou_token.weight"], base["iou_token.weight"] + 0.5)


@pytest.mark.parametrize(("wrap", "prefix"), [(None, ""), ("model", "module."), ("ema", "net.")])
@pytest.mark.parametrize("form", ["decoder", "bare decoder", "with its prompt encoder"])
def test_decoders(nano: Any, form: str, prefix: str, wrap: str | None, tmp_path: Path) -> None:
    state = fine_tuned(nano)
    keep = ("mask_decoder.", "prompt_encoder.") if form == "with its prompt encoder" else ("mask_decoder.",)
    part = {name: value for name, value in state.items() if name.startswith(keep)}
    if form == "bare decoder":
        part = {name.removeprefix("mask_decoder."): value for name, value in part.items()}
    part = under(prefix, part)
    path, out = tmp_path / "theirs.pth", tmp_path / "out.safetensors"
    torch.save({"epoch": 3, wrap: part} if wrap else part, path)
    found = look(path)
    assert (found.kind, found.model) == ("mask decoder", None)
    assert ("prompt encoder" in found.summary) == (form == "with its prompt encoder")
    with pytest.raises(CheckpointError, match="without its image encoder, and nano needs all: `livesam import --model"):
        models.load("nano", path)
    assert import_weights(path, "nano", out) == "decoder"
    base = models.decoder_weights(nano)
    np.testing.assert_array_equal(load_adapted(out, base)["iou_token.weight"], base["iou_token.weight"] + 0.5)


def test_safetensors_are_known_by_their_header(nano: Any, tmp_path: Path) -> None:
    state = fine_tuned(nano)
    path = tmp_path / "theirs.safetensors"
    save_file({**under("net._orig_mod.", state), "step": torch.tensor([3])}, path)
    assert look(path).summary.startswith("full checkpoint of nano")
    assert look(path).warnings == ("its weights are under 'net'",)
    assert torch.equal(
        models.load("nano", path).state_dict()["mask_decoder.iou_token.weight"], state["mask_decoder.iou_token.weight"]
    )
    assert import_weights(path, "nano", tmp_path / "out.safetensors") == "decoder"
    save_file(under("model.", {k: v for k, v in state.items() if k.startswith("mask_decoder.")}), path)
    assert look(path).kind == "mask decoder"
    with pytest.raises(CheckpointError, match="livesam import"):
        models.load("nano", path)


@pytest.mark.parametrize("form", ["extra layer", "a tensor short", "another shape"])
def test_what_cannot_be_opened_is_not_called_whole_by_inspect(nano: Any, form: str, tmp_path: Path) -> None:
    state = fine_tuned(nano)
    if form == "extra layer":
        state["lora.A"] = torch.zeros(4, 4)
    elif form == "a tensor short":
        del state["mask_decoder.mask_tokens.weight"]
    else:
        state["mask_decoder.iou_token.weight"] = torch.zeros(2, 256)
    path = tmp_path / "theirs.pth"
    torch.save({"model": state}, path)
    (_, warning) = look(path).warnings
    assert "does not fit nano, so it cannot be opened or imported" in warning
    for work in (lambda: models.load("nano", path), lambda: import_weights(path, "nano", tmp_path / "o.safetensors")):
        with pytest.raises(CheckpointError, match="does not fit nano"):
            work()


def test_a_prompt_encoder_of_its_own_makes_a_decoder_useless(nano: Any, tmp_path: Path) -> None:
    state = {k: v for k, v in fine_tuned(nano).items() if not k.startswith("image_encoder.")}
    state["prompt_encoder.no_mask_embed.weight"] = state["prompt_encoder.no_mask_embed.weight"] + 1
    torch.save(state, tmp_path / "theirs.pth")
    for into in ("auto", "decoder"):
        with pytest.raises(
            CheckpointError, match=r"other encoders than this base.*give the checkpoint that it was made"
        ):
            import_weights(tmp_path / "theirs.pth", "nano", tmp_path / "out.safetensors", into=into)
    with pytest.raises(CheckpointError, match="a base needs the encoders too"):
        import_weights(tmp_path / "theirs.pth", "nano", tmp_path / "out.safetensors", into="base")
    torch.save({k: v for k, v in fine_tuned(nano).items() if k.startswith("image_encoder.")}, tmp_path / "theirs.pth")
    assert "nano without its prompt encoder and mask decoder" in look(tmp_path / "theirs.pth").summary
    with pytest.raises(CheckpointError, match="holds no mask decoder, only image encoder"):
        import_weights(tmp_path / "theirs.pth", "nano", tmp_path / "out.safetensors")
