import json
import os
import struct
import zipfile

import numpy as np
import pytest
import torch
from livesam.engine.models import checkpoints, torch_file
from livesam.engine.models import loading as models
from livesam.engine.models.adapted import load_adapted, read_adapted, write_adapted
from livesam.engine.values.adapted_info import AdaptedInfo
from livesam.engine.values.errors import CheckpointError, ExportError
from livesam.export.foreign import child, import_child, importing
from livesam.export.foreign.importing import import_weights
from safetensors.torch import save_file


@pytest.fixture(scope="module")
def nano():
    return models.load("nano")


@pytest.fixture
def in_this_process(monkeypatch):
    """The child's own function without a process around it, which costs seconds; the last tests have one."""
    monkeypatch.setattr(importing, "checked_copy", import_child.take)


def fine_tuned(sam, key="mask_decoder.iou_token.weight"):
    state = {name: value.clone() for name, value in sam.state_dict().items()}
    state[key] += 0.5
    return state


def test_a_decoder_tuned_on_the_base_becomes_an_adapted_decoder(nano, in_this_process, tmp_path):
    out = tmp_path / "out.safetensors"
    torch.save(fine_tuned(nano), tmp_path / "theirs.pth")
    assert import_weights(tmp_path / "theirs.pth", "nano", out) == "decoder"
    base = models.decoder_weights(nano)
    weights = load_adapted(out, base)
    np.testing.assert_array_equal(weights["iou_token.weight"], base["iou_token.weight"] + np.float32(0.5))
    assert read_adapted(out).info.method == "imported"


@pytest.mark.parametrize("form", ["wrapped", "prefixed", "decoder", "bare decoder", "safetensors"])
def test_the_forms_in_which_others_save(nano, in_this_process, tmp_path, form):
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


def test_an_encoder_of_its_own_makes_it_a_base(nano, in_this_process, tmp_path):
    key = next(k for k in nano.state_dict() if k.startswith("image_encoder.") and k.endswith("weight"))
    torch.save(fine_tuned(nano, key), tmp_path / "theirs.pth")
    assert import_weights(tmp_path / "theirs.pth", "nano", tmp_path / "base.pth") == "base"
    loaded = models.load("nano", tmp_path / "base.pth")
    assert (loaded.state_dict()[key] - nano.state_dict()[key] == 0.5).all()
    with pytest.raises(CheckpointError, match="other encoders than this base"):
        import_weights(tmp_path / "theirs.pth", "nano", tmp_path / "b.safetensors", into="decoder")
    with pytest.raises(ValueError, match=r"\.safetensors or \.pth"):
        import_weights(tmp_path / "theirs.pth", "nano", tmp_path / "b.onnx")


def test_what_does_not_fit_is_refused(nano, in_this_process, tmp_path):
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


def test_an_adapted_decoder_of_ours_is_not_taken_for_weights(nano, in_this_process, tmp_path):
    base = models.decoder_weights(nano)
    write_adapted(tmp_path / "cells.safetensors", base, base, AdaptedInfo(model="nano", method="live"))
    with pytest.raises(CheckpointError, match="is an adapted decoder of livesam already"):
        import_weights(tmp_path / "cells.safetensors", "nano", tmp_path / "out.safetensors")


class Evil:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def hostile(folder):
    """Files by the sentence that refuses them."""
    marker = folder / "ran"
    torch.save({"model": {"a": Evil(marker)}}, folder / "code.pth")
    yield "code.pth", "may run code"
    with zipfile.ZipFile(folder / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 50_000_000)
    yield "bomb.pth", "unpack to more"
    entry = {"dtype": "F32", "shape": [2**40, 2**20], "data_offsets": [0, 2**62]}
    header = json.dumps({"mask_decoder.iou_token.weight": entry}).encode()
    (folder / "huge.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    yield "huge.safetensors", "truncated"
    # A view of one number that claims to be a tensor of 4 TB; the archive is small and plain.
    torch.save({"mask_decoder.iou_token.weight": torch.zeros(1).expand(2**20, 2**20)}, folder / "view.pth")
    yield "view.pth", "."


def test_hostile_files_are_refused_and_nothing_is_written(in_this_process, tmp_path):
    for name, reason in hostile(tmp_path):
        with pytest.raises((CheckpointError, ExportError), match=reason) as caught:
            import_weights(tmp_path / name, "nano", tmp_path / "out" / "base.pth")
        assert "\n" not in str(caught.value)
        assert list((tmp_path / "out").iterdir()) == [], name
    assert not (tmp_path / "ran").exists()


def test_this_process_opens_only_the_checked_copy(nano, tmp_path, monkeypatch):
    """With a real process for the file."""
    decoder = {k: v for k, v in fine_tuned(nano).items() if k.startswith("mask_decoder.")}
    torch.save({"model": {f"module.{key}": value for key, value in decoder.items()}}, tmp_path / "theirs.pth")
    opened = []
    read = checkpoints.read_checkpoint
    monkeypatch.setattr(
        checkpoints, "read_checkpoint", lambda path, *a, **k: opened.append(path) or read(path, *a, **k)
    )
    monkeypatch.setattr(torch_file, "load_torch_file", lambda path: pytest.fail("opened in this process"))
    assert import_weights(tmp_path / "theirs.pth", "nano", tmp_path / "out.safetensors") == "decoder"
    assert tmp_path / "theirs.pth" not in opened
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.safetensors", "theirs.pth"]


def test_a_small_file_that_claims_much_is_refused_by_its_shape(nano, in_this_process, tmp_path):
    """64 GB where it is copied: a view of one number, under names that have to be put right."""
    wide = {f"module.{key}": value for key, value in fine_tuned(nano).items() if key.startswith("mask_decoder.")}
    wide["module.mask_decoder.iou_token.weight"] = torch.zeros(1).expand(2**17, 2**17)
    torch.save(wide, tmp_path / "wide.pth")
    assert (tmp_path / "wide.pth").stat().st_size < 20e6
    with pytest.raises(CheckpointError, match=r"iou_token\.weight has shape \(131072, 131072\)"):
        import_weights(tmp_path / "wide.pth", "nano", tmp_path / "wide.safetensors")
    assert [p.name for p in tmp_path.iterdir()] == ["wide.pth"]


def test_a_copy_that_is_larger_than_the_model_is_not_read(tmp_path):
    (tmp_path / "checked.safetensors").write_bytes(b"\0" * (2 << 20))
    with pytest.raises(CheckpointError, match="needs less than"):
        importing._read(tmp_path / "checked.safetensors", {"a": (3,)}, "nano")


def test_a_reader_without_an_answer_is_an_error(tmp_path):
    with pytest.raises(ExportError, match="gave no answer"):
        child.ask("this", tmp_path)
