import numpy as np
import pytest
import torch
from livesam.engine import models
from livesam.engine.adapted import load_adapted, read_adapted
from livesam.engine.errors import CheckpointError
from livesam.export import importing
from livesam.export.importing import import_weights
from livesam.export.inspect_child import look
from safetensors.torch import save_file


@pytest.fixture(scope="module")
def nano():
    return models.load("nano")


@pytest.fixture(autouse=True)
def _look_in_this_process(monkeypatch):
    """Files are looked at by the same function in a process of its own; test_inspect does that."""
    monkeypatch.setattr(importing, "inspect_file", look)


def fine_tuned(sam, key="mask_decoder.iou_token.weight"):
    state = {name: value.clone() for name, value in sam.state_dict().items()}
    state[key] += 0.5
    return state


def test_a_decoder_tuned_on_the_base_becomes_an_adapted_decoder(nano, tmp_path):
    out = tmp_path / "out.safetensors"
    torch.save(fine_tuned(nano), tmp_path / "theirs.pth")
    assert import_weights(tmp_path / "theirs.pth", "nano", out) == "decoder"
    base = models.decoder_weights(nano)
    weights = load_adapted(out, base)
    np.testing.assert_array_equal(weights["iou_token.weight"], base["iou_token.weight"] + np.float32(0.5))
    assert read_adapted(out).info.method == "imported"


@pytest.mark.parametrize("form", ["wrapped", "prefixed", "decoder", "bare decoder", "safetensors"])
def test_the_forms_in_which_others_save(nano, tmp_path, form):
    state = fine_tuned(nano)
    path, out = tmp_path / "theirs.pth", tmp_path / "out.safetensors"
    decoder = {key: value for key, value in state.items() if key.startswith("mask_decoder.")}
    if form == "wrapped":
        torch.save({"model": state, "epoch": 3}, path)
    elif form == "prefixed":
        torch.save({f"module.{key}": value for key, value in state.items()}, path)
    elif form == "decoder":
        torch.save(decoder, path)
    elif form == "bare decoder":
        torch.save({key.removeprefix("mask_decoder."): value for key, value in decoder.items()}, path)
    else:
        path = tmp_path / "theirs.safetensors"
        save_file(state, path)
    assert import_weights(path, "nano", out) == "decoder"
    base = models.decoder_weights(nano)
    assert (load_adapted(out, base)["iou_token.weight"] - base["iou_token.weight"] == 0.5).all()


def test_an_encoder_of_its_own_makes_it_a_base(nano, tmp_path):
    key = next(k for k in nano.state_dict() if k.startswith("image_encoder.") and k.endswith("weight"))
    torch.save(fine_tuned(nano, key), tmp_path / "theirs.pth")
    assert import_weights(tmp_path / "theirs.pth", "nano", tmp_path / "base.pth") == "base"
    loaded = models.load("nano", tmp_path / "base.pth")
    assert (loaded.state_dict()[key] - nano.state_dict()[key] == 0.5).all()
    with pytest.raises(CheckpointError, match="other encoders than this base"):
        import_weights(tmp_path / "theirs.pth", "nano", tmp_path / "b.safetensors", into="decoder")
    with pytest.raises(ValueError, match=r"\.safetensors or \.pth"):
        import_weights(tmp_path / "theirs.pth", "nano", tmp_path / "b.onnx")


def test_what_does_not_fit_is_refused(nano, tmp_path):
    state = fine_tuned(nano)
    path, out = tmp_path / "theirs.pth", tmp_path / "out.safetensors"
    broken = dict(state)
    broken["mask_decoder.iou_token.weight"] = torch.zeros(2, 256)
    torch.save(broken, path)
    with pytest.raises(CheckpointError, match="iou_token"):
        import_weights(path, "nano", out)
    broken["mask_decoder.iou_token.weight"] = torch.full((1, 256), float("nan"))
    torch.save(broken, path)
    with pytest.raises(CheckpointError, match="NaN"):
        import_weights(path, "nano", out)
    torch.save({**state, "lora.A": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match=r"unknown.*lora\.A|lora\.A"):
        import_weights(path, "nano", out)
    assert not out.exists()
