"""`inspect`: honest about good files, and one sentence for hostile ones, without running them."""

import contextlib
import json
import os
import pickle
import struct
import zipfile

import numpy as np
import onnx
import pytest
import torch
from livesam.engine.files.hashing import file_sha256
from livesam.engine.models.adapted import base_hash, write_adapted
from livesam.engine.models.loading import decoder_weights
from livesam.engine.values.adapted_info import AdaptedInfo
from livesam.engine.values.errors import CheckpointError, ExportError
from livesam.export.decoder_export import export_sam
from livesam.export.foreign import child
from livesam.export.foreign.inspect import inspect_file
from livesam.export.foreign.inspect_child import look
from livesam.export.foreign.onnx_guard import read_onnx
from livesam.export.formats import probes
from livesam.export.formats.probes import PROBES
from livesam.export.formats.source import DecoderSource
from livesam.export.graphs.official_graph import build_official
from onnx import TensorProto, helper
from safetensors.numpy import save_file


@pytest.fixture(scope="module")
def graph(small_sam, small_spec):
    return build_official(DecoderSource.of(small_sam, small_spec).decoder_state(), 256)


@pytest.fixture
def one_probe(monkeypatch):
    defaults = probes.require_parity.__kwdefaults__
    monkeypatch.setattr(probes.require_parity, "__kwdefaults__", {**defaults, "probes": PROBES[:1]})


def adapted_file(sam, path, **options):
    base = decoder_weights(sam)
    weights = {key: value + np.float32(1e-3) for key, value in base.items()}
    info = AdaptedInfo(
        model="nano", method="live", domain="cells", counts={"accepted": 12}, metrics={"replay_iou": 0.91}
    )
    write_adapted(path, weights, base, info, **options)
    return base


def test_adapted_decoder_tells_base_method_and_objects(nano_sam, tmp_path):
    path = tmp_path / "cells.safetensors"
    base = adapted_file(nano_sam, path)
    found = inspect_file(path)
    assert (found.kind, found.model, found.method) == ("adapted decoder", "nano", "live")
    assert found.base_sha256 == base_hash(base)
    assert found.learned == {"domain": "cells", "accepted": 12}
    assert found.metrics == {"replay_iou": 0.91}
    assert found.sha256 == file_sha256(path)
    assert found.precision == "fp16"
    assert found.size_bytes == path.stat().st_size


def test_checkpoints_are_known_by_their_tensors(nano_sam, tmp_path):
    path = tmp_path / "nano.pth"
    torch.save(nano_sam.state_dict(), path)
    found = look(path)
    assert (found.kind, found.model, found.precision) == ("checkpoint", "nano", "fp32")
    decoder = tmp_path / "decoder.pth"
    torch.save(
        {"model": {f"mask_decoder.{k}": torch.from_numpy(v) for k, v in decoder_weights(nano_sam).items()}}, decoder
    )
    found = look(decoder)
    assert found.kind == "mask decoder"
    assert found.warnings == ("its weights are under 'model'",)


def test_our_exports_are_known_and_a_changed_one_is_noticed(small_sam, small_spec, tmp_path, one_probe):
    path = tmp_path / "decoder.onnx"
    export_sam(small_sam, small_spec, format="sam-onnx", out=path, single=True)
    found = look(path)
    assert found.summary == "SAM decoder of the official contract, one mask of a 256-px model"
    assert found.inputs["point_coords"] == "float32 (1, num_points, 2)"
    assert found.outputs["masks"] == "float32 (1, 1, height, width)"
    assert (found.model, found.method, found.precision) == ("vit_small", "base", "fp32")
    assert found.details["decoder tensors by official name"] == 120
    assert found.warnings == ()
    with open(path, "ab") as file:
        file.write(b"\x72\x00")  # an empty domain field: still a valid graph
    assert "changed since" in look(path).warnings[0]

    folder = tmp_path / "repository"
    export_sam(small_sam, small_spec, format="triton", out=folder, encoder=False)
    assert look(folder).summary == "triton export of vit_small, 3 files intact"
    (folder / "README.md").write_text("changed")
    with pytest.raises(ExportError, match="README"):
        look(folder)


def refused(path, match):
    with pytest.raises((CheckpointError, ExportError), match=match) as caught:
        look(path)
    assert "\n" not in str(caught.value)


class Evil:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def test_pickles_with_code_are_not_opened(tmp_path):
    marker = tmp_path / "ran"
    torch.save({"weights": Evil(marker)}, tmp_path / "new.pth")
    with pytest.raises(CheckpointError, match=r"posix\.system, which may run code"):
        inspect_file(tmp_path / "new.pth")
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(Evil(marker)))
    refused(tmp_path / "bare.pth", "bare pickle")
    torch.save({"weights": Evil(marker)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    refused(tmp_path / "old.pth", "bare pickle")
    assert not marker.exists()


def test_archives_that_unpack_to_more_than_they_are(tmp_path):
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 50_000_000)
    refused(path, "unpack to more")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
def test_truncated_files(nano_sam, graph, tmp_path, share):
    sources = {"a.pth": None, "b.safetensors": None, "c.onnx": None}
    torch.save(dict(nano_sam.mask_decoder.state_dict()), tmp_path / "a.pth")
    adapted_file(nano_sam, tmp_path / "b.safetensors")
    (tmp_path / "c.onnx").write_bytes(graph.SerializeToString())
    for name in sources:
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[: int(len(data) * share)])
        with pytest.raises((CheckpointError, ExportError)):
            look(tmp_path / name)


def test_safetensors_with_lying_headers(tmp_path):
    def write(name, header, data=b""):
        text = json.dumps(header).encode()
        (tmp_path / name).write_bytes(struct.pack("<Q", len(text)) + text + data)
        return tmp_path / name

    (tmp_path / "huge.safetensors").write_bytes(struct.pack("<Q", 2**62) + b"{}")
    refused(tmp_path / "huge.safetensors", "header claims")
    entry = {"dtype": "F32", "shape": [2**40, 2**20], "data_offsets": [0, 2**62]}
    refused(write("sizes.safetensors", {"mask_decoder.iou_token.weight": entry}), "truncated")
    refused(write("entries.safetensors", {f"t{i}": entry for i in range(6000)}), "more entries")
    refused(write("strange.safetensors", {"a": {"dtype": "F32"}}), "damaged")
    (tmp_path / "deep.safetensors").write_bytes(struct.pack("<Q", 100_000) + b"[" * 100_000)
    refused(tmp_path / "deep.safetensors", "damaged")


def test_weights_of_something_else(tmp_path):
    save_file({"fc.weight": np.zeros((3, 3), np.float32)}, tmp_path / "other.safetensors")
    refused(tmp_path / "other.safetensors", "nowhere the tensors of a SAM")
    (tmp_path / "page.pth").write_text("<html>")
    refused(tmp_path / "page.pth", "no weights file")
    refused(tmp_path, "folder without manifest")
    with pytest.raises(CheckpointError, match="there is no file"):
        inspect_file(tmp_path / "absent")


def changed(graph, path, change):
    model = onnx.ModelProto()
    model.CopyFrom(graph)
    change(model)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("location", ["/etc/passwd", "../secret.bin", "..\\secret.bin", "sub/weights.bin", "", ".."])
def test_external_data_outside_of_the_folder(graph, tmp_path, location):
    (tmp_path / "sub").mkdir()
    for name in ("secret.bin", "sub/weights.bin"):
        (tmp_path / name).write_bytes(b"\0" * 1024)

    def externalise(model):
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)

    refused(changed(graph, tmp_path / "sub" / "a.onnx", externalise), "not a plain file beside it")


def test_external_data_through_links_or_beyond_the_end(graph, tmp_path):
    outside = tmp_path / "outside.bin"
    outside.write_bytes(b"\0" * 10_000_000)
    folder = tmp_path / "model"
    folder.mkdir()

    def externalise(model):
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="weights.bin")

    path = changed(graph, folder / "a.onnx", externalise)
    refused(path, "missing or a link")
    (folder / "weights.bin").symlink_to(outside)
    refused(path, "missing or a link")
    (folder / "weights.bin").unlink()
    os.link(outside, folder / "weights.bin")
    refused(path, "hard link")
    (folder / "weights.bin").unlink()
    (folder / "weights.bin").write_bytes(b"\0")
    refused(path, "does not hold them")
    (folder / "weights.bin").write_bytes(b"\0" * 10_000_000)
    with pytest.raises(ExportError, match="does not hold them"):  # a length that is not the tensor's
        look(
            changed(
                graph,
                path,
                lambda m: (externalise(m), m.graph.initializer[0].external_data.add(key="length", value="8")),
            )
        )


def test_declared_sizes_that_are_not_there(graph, tmp_path):
    path = tmp_path / "a.onnx"

    def huge(model):
        model.graph.initializer[0].dims[:] = [2**40, 2**20]

    def empty(model):
        model.graph.initializer.add(name="x", data_type=TensorProto.FLOAT, dims=[2**50])

    def negative(model):
        model.graph.initializer[0].dims[:] = [-5]

    def constant(model):
        tensor = TensorProto(name="c", data_type=TensorProto.FLOAT, dims=[2**45], raw_data=b"1234")
        model.graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor))

    refused(changed(graph, path, huge), "but holds")
    refused(changed(graph, path, empty), "does not hold as many values")
    refused(changed(graph, path, negative), "impossible shape")
    refused(changed(graph, path, constant), "but holds 4")


def test_names_that_are_no_text(graph, tmp_path):
    """protobuf reads them, and hands them over as bytes."""
    path = tmp_path / "a.onnx"
    for mark in (b"ai.onnx.mark", b"mark of a tensor"):
        model = onnx.load_model_from_string(graph.SerializeToString())
        model.producer_name = "ai.onnx.mark"
        model.graph.initializer[0].name = "mark of a tensor"
        path.write_bytes(model.SerializeToString().replace(mark, mark[:-1] + b"\xff"))
        with pytest.raises(ExportError, match="names that are no text"):
            read_onnx(path)


def test_operators_beyond_the_list(graph, tmp_path):
    path = tmp_path / "a.onnx"

    def custom(model):
        model.graph.node[0].domain = "evil"

    def loop(model):
        body = helper.make_graph([], "body", [], [])
        model.graph.node.append(helper.make_node("If", ["x"], ["y"], then_branch=body, else_branch=body))

    def hidden(model):
        model.graph.node[0].attribute.append(helper.make_attribute("g", helper.make_graph([], "b", [], [])))

    def function(model):
        model.functions.append(helper.make_function("d", "f", ["x"], ["y"], [], [helper.make_opsetid("", 17)]))

    refused(changed(graph, path, custom), "operators that are not allowed: evil::")
    refused(changed(graph, path, loop), "not allowed: If")
    refused(changed(graph, path, hidden), "operators that are not allowed")
    refused(changed(graph, path, function), "functions of its own")


def test_a_reader_that_hangs_or_dies_is_given_up(tmp_path, monkeypatch):
    path = tmp_path / "a.onnx"
    path.write_bytes(b"\x08")
    with pytest.raises(ExportError, match=r"within 0\.01 s"):
        inspect_file(path, timeout_s=0.01)


def test_the_readers_memory_is_bounded(tmp_path):
    import subprocess
    import sys

    script = (
        "from livesam.export.foreign.child import limit; limit(1000)\n"
        "try: bytearray(8 << 30)\nexcept MemoryError: print('bounded')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "bounded"
    assert child.MEMORY_BYTES < 8 << 30


def test_a_module_planted_in_the_current_folder_is_not_run(tmp_path, monkeypatch):
    for name in ("onnx", "torch", "json"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()")
    save_file({"weight": np.ones(3, np.float32)}, tmp_path / "some.safetensors")
    monkeypatch.chdir(tmp_path)
    with contextlib.suppress(CheckpointError):
        inspect_file(tmp_path / "some.safetensors")
    assert not (tmp_path / "ran").exists()
