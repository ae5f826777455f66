import collections
import io
import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile

import pytest
import torch
from livesam.engine.models import checkpoints, weight_files
from livesam.engine.models import loading as models
from livesam.engine.models.adapted import write_adapted
from livesam.engine.models.checkpoints import identify, read_checkpoint
from livesam.engine.values.adapted_info import AdaptedInfo
from livesam.engine.values.errors import CheckpointError
from safetensors.torch import save_file


@pytest.fixture(scope="module")
def state(small_sam):
    """A state dict as `sam.state_dict()` gives it, with the metadata that torch adds."""
    return small_sam.state_dict()


@pytest.fixture(scope="module")
def shapes(small_sam):
    return models.shapes_of(small_sam)


@pytest.fixture
def read(shapes):
    return lambda path: read_checkpoint(path, shapes, "vit_small")


@pytest.fixture(scope="module")
def plain_bytes(state):
    """What `torch.save` writes for a state dict."""
    out = io.BytesIO()
    torch.save(state, out)
    return out.getvalue()


def changed(state, **values):
    return collections.OrderedDict({**state, **values})


def test_every_layout_gives_the_same_tensors(state, shapes, read, tmp_path):
    torch.save(state, tmp_path / "a.pth")
    torch.save(dict(state), tmp_path / "b.pt")
    torch.save(collections.OrderedDict((k, torch.nn.Parameter(v)) for k, v in state.items()), tmp_path / "c.pth")
    save_file(dict(state), tmp_path / "d.safetensors")
    os.rename(tmp_path / "d.safetensors", tmp_path / "e")  # the content tells, not the name
    for name in ("a.pth", "b.pt", "c.pth", "e"):
        loaded = read(tmp_path / name)
        assert list(loaded) == list(shapes)
        for key, value in loaded.items():
            assert torch.equal(value, state[key])
            assert value.is_contiguous()
            assert not value.requires_grad


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_become_float32(state, read, tmp_path, dtype):
    save_file({key: value.to(dtype) for key, value in state.items()}, tmp_path / "w.safetensors")
    loaded = read(tmp_path / "w.safetensors")
    assert all(value.dtype == torch.float32 for value in loaded.values())
    assert all(torch.equal(value, state[key].to(dtype).float()) for key, value in loaded.items())


def test_a_loaded_model_can_be_trained_without_touching_the_file(small_sam, small_spec, read, plain_bytes, tmp_path):
    path = tmp_path / "w.pth"
    path.write_bytes(plain_bytes)
    with torch.device("meta"):
        empty = models.assemble(models.vit_encoder(96, 4, 3, (1, 3), small_spec.image_size, 7), small_spec.image_size)
    sam = models.fill(empty, read(path))
    assert all(parameter.requires_grad for parameter in sam.parameters())
    assert not any(value.is_meta for value in [*sam.state_dict().values(), sam.pixel_mean, sam.pixel_std])
    image = torch.full((3, 8, 8), 100.0)
    assert torch.equal(sam.preprocess(image), small_sam.preprocess(image))
    with torch.no_grad():
        for parameter in sam.parameters():
            parameter.add_(1)
    assert path.read_bytes() == plain_bytes


def test_counters_of_batch_normalisation_may_be_absent(nano_sam, tmp_path):
    state = nano_sam.state_dict()
    counters = [key for key in state if key.endswith("num_batches_tracked")]
    assert counters
    half = {key: value.half() for key, value in state.items() if key not in counters}
    save_file(half, tmp_path / "w.safetensors")
    loaded = models.load("nano", tmp_path / "w.safetensors")
    assert all(torch.equal(value, half[key].float()) for key, value in loaded.state_dict().items() if key in half)
    assert all(loaded.state_dict()[key].dtype == torch.int64 for key in counters)


# Faults. Each is one sentence of CheckpointError that names the file.


def refused(read, path, pattern):
    with pytest.raises(CheckpointError, match=pattern) as caught:
        read(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < 400


class Evil:
    """Pickled, it asks the reader to call a function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [2, 4])
def test_code_in_the_pickle_does_not_run(state, read, tmp_path, protocol):
    mark = tmp_path / "ran"
    evil = changed(state, bomb=Evil(os.system, f"touch {mark}"))
    torch.save(evil, tmp_path / "w.pth", pickle_protocol=protocol)
    refused(read, tmp_path / "w.pth", r"asks Python for .*, which may run code, so it was not opened: save the weights")
    assert not mark.exists()


def test_what_the_pickle_asks_for_is_named(state, read, tmp_path):
    torch.save(changed(state, bomb=Evil(eval, "1")), tmp_path / "w.pth")
    refused(read, tmp_path / "w.pth", r"asks Python for \w+\.eval,")


def test_memory_bombs_through_harmless_classes_are_refused(state, read, tmp_path):
    # torch's own weights_only unpickler would call bytearray(10**12).
    torch.save(changed(state, bomb=Evil(bytearray, 10**12)), tmp_path / "w.pth")
    refused(read, tmp_path / "w.pth", r"asks Python for \w+\.bytearray,")


def test_a_whole_module_is_refused(small_sam, read, tmp_path):
    torch.save(small_sam.mask_decoder, tmp_path / "w.pth")
    refused(read, tmp_path / "w.pth", r"asks Python for .*torch.save\(model.state_dict\(\), file\)")


def test_bare_and_old_pickles_are_refused(state, read, tmp_path):
    mark = tmp_path / "ran"
    (tmp_path / "a.pth").write_bytes(pickle.dumps(Evil(os.system, f"touch {mark}")))
    torch.save(state, tmp_path / "b.pth", _use_new_zipfile_serialization=False)
    for name in ("a.pth", "b.pth"):
        refused(read, tmp_path / name, "bare pickle, which may run code")
    assert not mark.exists()


@pytest.mark.parametrize("share", [0.0001, 0.3, 0.9, 0.9999])
def test_truncated(plain_bytes, state, read, tmp_path, share):
    (tmp_path / "w.pth").write_bytes(plain_bytes[: int(len(plain_bytes) * share)])
    refused(read, tmp_path / "w.pth", "truncated or damaged")
    save_file(dict(state), tmp_path / "w.safetensors")
    whole = (tmp_path / "w.safetensors").read_bytes()
    (tmp_path / "w.safetensors").write_bytes(whole[: int(len(whole) * share)])
    refused(read, tmp_path / "w.safetensors", "truncated or")


def test_damaged_index(plain_bytes, read, tmp_path):
    start = plain_bytes.index(b"collections\nOrderedDict")
    (tmp_path / "w.pth").write_bytes(plain_bytes[:start] + b"\xff" * 64 + plain_bytes[start + 64 :])
    refused(read, tmp_path / "w.pth", "damaged")


def test_files_without_weights(state, read, tmp_path):
    for content, pattern in [
        ({}, "holds nothing at all, but nowhere the tensors of a SAM"),
        ({"epoch": 3, "fc.weight": torch.zeros(3)}, r"holds 'epoch', 'fc.weight', but nowhere"),
        ({"model": {"epoch": 3}}, "holds 'model', but nowhere"),
        ([1, 2], "holds a list"),
        (torch.zeros(3), "holds a Tensor"),
    ]:
        torch.save(content, tmp_path / "w.pth")
        refused(read, tmp_path / "w.pth", pattern)


def test_what_lies_around_the_weights_is_passed_over(state, shapes, read, tmp_path):
    """What training programs save beside weights, generators' states and schedulers' counters among it."""
    torch.save(
        {
            "step": torch.tensor(9),
            "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-3}]},
            "scheduler": {"milestones": collections.Counter([3, 4])},
            "rng": torch.get_rng_state(),
            "model": {f"module.{key}": value for key, value in state.items()},
        },
        tmp_path / "w.pth",
    )
    loaded = read(tmp_path / "w.pth")
    assert list(loaded) == list(shapes)
    assert all(torch.equal(value, state[key]) for key, value in loaded.items())


def test_an_adapted_decoder_is_no_checkpoint(small_sam, read, tmp_path):
    base = models.decoder_weights(small_sam)
    write_adapted(tmp_path / "a.safetensors", base, base, AdaptedInfo(model="nano", method="live"))
    refused(read, tmp_path / "a.safetensors", "is an adapted decoder of livesam, no checkpoint: give it with --adapted")
    with pytest.raises(CheckpointError, match="give it with --adapted"):
        checkpoints.check_file(tmp_path / "a.safetensors", "nano")


def test_wrong_names_and_shapes(state, read, tmp_path):
    path = tmp_path / "w.safetensors"
    save_file({key: value for key, value in state.items() if key != "mask_decoder.iou_token.weight"}, path)
    refused(read, path, r"1 \(mask_decoder.iou_token.weight\) missing and none unknown")
    save_file(changed(state, adapter=torch.zeros(2)), path)
    refused(read, path, r"none missing and 1 \(adapter\) unknown")
    save_file(changed(state, **{"mask_decoder.iou_token.weight": torch.zeros(1, 255)}), path)
    refused(read, path, r"iou_token.weight has shape \(1, 255\) instead of \(1, 256\)")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_not_finite(state, read, tmp_path, value):
    spoilt = state["image_encoder.blocks.1.attn.qkv.weight"].clone()
    spoilt[5, 7] = value
    torch.save(changed(state, **{"image_encoder.blocks.1.attn.qkv.weight": spoilt}), tmp_path / "w.pth")
    refused(read, tmp_path / "w.pth", "NaN or infinity in image_encoder.blocks.1.attn.qkv.weight")


def test_large_finite_values_are_no_infinity(state, read, tmp_path):
    """Their sum overflows, they do not."""
    large = torch.full_like(state["image_encoder.blocks.1.attn.qkv.weight"], 3e38)
    torch.save(changed(state, **{"image_encoder.blocks.1.attn.qkv.weight": large}), tmp_path / "w.pth")
    assert torch.equal(read(tmp_path / "w.pth")["image_encoder.blocks.1.attn.qkv.weight"], large)


def test_integers_are_no_weights(state, read, tmp_path):
    save_file(
        changed(state, **{"mask_decoder.iou_token.weight": torch.zeros(1, 256, dtype=torch.int32)}), tmp_path / "w"
    )
    refused(read, tmp_path / "w", "iou_token.weight as torch.int32: float32, float16")


def test_huge_shapes_over_a_small_storage(state, read, tmp_path):
    huge = torch.zeros(1).expand(2**20, 2**20)
    torch.save(changed(state, **{"mask_decoder.iou_token.weight": huge}), tmp_path / "w.pth")
    assert (tmp_path / "w.pth").stat().st_size < 2**26
    refused(read, tmp_path / "w.pth", r"has shape \(1048576, 1048576\) instead of \(1, 256\)")


def test_zip_bombs(plain_bytes, read, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 50_000_000)
    with zipfile.ZipFile(io.BytesIO(plain_bytes)) as source, zipfile.ZipFile(tmp_path / "b.pth", "w") as archive:
        for entry in source.infolist():
            deflate = entry.filename.endswith("data/0")
            kind = zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED
            archive.writestr(entry.filename, source.read(entry), kind)
    for name in ("a.pth", "b.pth"):
        refused(read, tmp_path / name, "would unpack to more than its own size")


def test_too_many_parts(read, tmp_path):
    with zipfile.ZipFile(tmp_path / "w.pth", "w") as archive:
        for i in range(8193):
            archive.writestr(f"archive/data/{i}", b"")
    refused(read, tmp_path / "w.pth", "has 8193 parts")


def test_other_zip_archives(read, tmp_path):
    with zipfile.ZipFile(tmp_path / "w.pth", "w") as archive:
        archive.writestr("readme.txt", "hello")
    refused(read, tmp_path / "w.pth", "not one that torch.save wrote")
    with zipfile.ZipFile(tmp_path / "w.pth", "w") as archive:
        archive.writestr("code/constants.pkl", "")
    refused(read, tmp_path / "w.pth", "TorchScript program")


def test_hostile_safetensors_headers(read, tmp_path):
    def file(header: bytes, length: int | None = None) -> None:
        (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", len(header) if length is None else length) + header)

    many = {f"t{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(4098)}
    for header, length, pattern in [
        (b"{}", 2**60, "truncated or not safetensors"),
        (b"[" * 100_000, None, "truncated or damaged"),
        (b"not json", None, "truncated or damaged"),
        (b"[1]", None, "more entries|damaged"),
        (json.dumps(many).encode(), None, r"at most 4096 are allowed"),
        (b'{"a": {"dtype": "F32", "shape": [9999999999], "data_offsets": [0, 4]}}', None, "truncated or damaged"),
    ]:
        file(header, length)
        refused(read, tmp_path / "w.safetensors", pattern)


def test_missing_empty_and_foreign_files(read, tmp_path):
    refused(read, tmp_path / "nothing.pth", "there is no file")
    for content, pattern in [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer"),
        (b"\x89PNG\r\n\x1a\n", "is not a weights file"),
    ]:
        (tmp_path / "w.pth").write_bytes(content)
        refused(read, tmp_path / "w.pth", pattern)
    with pytest.raises(CheckpointError, match="not a regular file"):
        read(checkpoints.Path(os.devnull))


def test_folders(read, tmp_path):
    refused(read, tmp_path, "is a folder without model.safetensors")
    for content in ("{}", "[]", "nonsense", '{"weight_map": {"a": ["b"]}}'):
        (tmp_path / "model.safetensors.index.json").write_text(content)
        with pytest.raises(CheckpointError, match=r"is damaged|is a folder"):
            read(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../../secret.safetensors"}}')
    with pytest.raises(CheckpointError, match=r"names '../../secret.safetensors', which is not"):
        read(tmp_path)


def test_a_file_beyond_the_cap_is_not_opened(read, tmp_path):
    with open(tmp_path / "w.pth", "wb") as file:
        file.truncate(weight_files.MAX_FILE_BYTES + 1)  # sparse
    refused(read, tmp_path / "w.pth", "a SAM checkpoint has at most")


@pytest.mark.parametrize("name", ["nano", "vit_t", "vit_b", "vit_l", "vit_h"])
def test_each_model_is_recognised(name):
    assert identify(models.state_shapes(name)) == name


def test_other_models_are_recognised(state):
    base = models.state_shapes("vit_b")
    decoder = {key: shape for key, shape in base.items() if key.startswith("mask_decoder.")}
    assert identify({**base, "mask_decoder.hf_token.weight": (1, 256)}) == "SAM-HQ"
    assert identify({"image_encoder.trunk.pos_embed": (1, 96, 7, 7)}) == "SAM 2"
    assert identify(decoder) == "a mask decoder without its image encoder"
    assert identify({key.removeprefix("mask_decoder."): shape for key, shape in decoder.items()}) == identify(decoder)
    assert identify({"some.weight": (1,)}) is None
    assert identify({}) is None


def test_another_models_file_is_named(nano_sam, read, state, tmp_path):
    save_file(dict(nano_sam.state_dict()), tmp_path / "w")
    refused(read, tmp_path / "w", "holds weights of nano, but vit_small was asked for")
    save_file({key: value for key, value in state.items() if key.startswith("mask_decoder.")}, tmp_path / "w")
    refused(read, tmp_path / "w", "looks like a mask decoder without its image encoder")


def test_a_file_in_mobile_sams_format_loads_strictly(tmp_path):
    sam = models.build("vit_t")
    torch.save(sam.state_dict(), tmp_path / "mobile_sam.pt")
    loaded = models.load("vit_t", tmp_path / "mobile_sam.pt").state_dict()
    assert len(loaded) == 439
    assert all(torch.equal(value, loaded[key]) for key, value in sam.state_dict().items())


def test_refusals_that_need_no_torch_import_none(state, tmp_path):
    torch.save(changed(state, bomb=Evil(os.system, "true")), tmp_path / "evil.pth")
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "empty.pth").touch()
    (tmp_path / "short.safetensors").write_bytes(struct.pack("<Q", 1000) + b"{}")
    save_file({"image_encoder.pos_embed": torch.zeros(1, 2, 2, 1024)}, tmp_path / "large.safetensors")
    (tmp_path / "folder").mkdir()
    code = """
import sys
from pathlib import Path
from livesam.engine.values.errors import CheckpointError
from livesam.engine.models.loading import load
from livesam.export.graphs.graph_cache import GraphCache

for name in sys.argv[2:]:
    for attempt in (load, GraphCache):
        try:
            attempt("vit_b", Path(sys.argv[1], name))
        except CheckpointError as error:
            print(error)
        else:
            print(name, "was not refused by", attempt)
print("torch was imported" if "torch" in sys.modules else "no torch")
"""
    names = ["evil.pth", "text.pt", "empty.pth", "short.safetensors", "large.safetensors", "folder", "none.pth"]
    command = [sys.executable, "-c", code, str(tmp_path), *names]
    environment = {**os.environ, "LIVESAM_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=environment)
    lines = done.stdout.splitlines()
    words = ["may run code", "not a weights file", "is empty", "truncated", "of vit_l, but vit_b", "a folder without"]
    for i, word in enumerate([*words, "no file"]):
        assert all(word in line and names[i] in line for line in lines[2 * i : 2 * i + 2]), lines
    assert lines[-1] == "no torch"
