"""The adapted decoder's file: exact round trip, base check, and no trust in what is read."""

import json
import struct
from dataclasses import replace

import numpy as np
import pytest
from livesam.engine.models.adapted import base_hash, load_adapted, read_adapted, write_adapted
from livesam.engine.models.loading import decoder_weights
from livesam.engine.values.adapted_info import AdaptedInfo
from livesam.engine.values.errors import CheckpointError
from safetensors.numpy import load, save

INFO = AdaptedInfo(
    model="nano",
    method="live",
    domain="steel",
    settings={"lr": 1e-4},
    counts={"accepted": 3},
    metrics={"gate_iou": 0.8},
    versions={"stable": 4},
)


@pytest.fixture
def base(rng):
    return {
        "a.weight": rng.normal(size=(4, 3)).astype(np.float32),
        "b.bias": rng.normal(size=7).astype(np.float32),
    }


@pytest.fixture
def learned(base, rng):
    return {k: v + 1e-3 * rng.normal(size=v.shape).astype(np.float32) for k, v in base.items()}


@pytest.mark.parametrize("kind", ["difference", "weights"])
@pytest.mark.parametrize("precision", ["float16", "float32"])
def test_round_trip(tmp_path, base, learned, kind, precision):
    path = tmp_path / "d.safetensors"
    write_adapted(path, learned, base, INFO, kind=kind, precision=precision)
    decoder = read_adapted(path)
    assert decoder.info == INFO
    assert decoder.kind == kind
    assert {v.dtype.name for v in decoder.tensors.values()} == {precision}
    loaded = load_adapted(path, base)
    tolerance = {("weights", "float16"): 2e-3, ("difference", "float16"): 4e-6}.get((kind, precision), 3e-7)
    assert loaded.keys() == base.keys()
    for key, value in loaded.items():
        assert value.dtype == np.float32
        np.testing.assert_allclose(value, learned[key], rtol=0, atol=tolerance)
        assert not np.array_equal(value, base[key])


def test_another_base_is_refused(tmp_path, base, learned):
    path = tmp_path / "d.safetensors"
    write_adapted(path, learned, base, INFO)
    other = {k: v.copy() for k, v in base.items()}
    other["b.bias"][3] += 1e-6
    assert base_hash(other) != base_hash(base)
    with pytest.raises(CheckpointError, match="another base") as caught:
        load_adapted(path, other)
    sentence = str(caught.value)
    assert str(path) in sentence
    assert base_hash(base)[:16] in sentence
    assert base_hash(other)[:16] in sentence
    assert sentence.endswith(
        "open it with the livesam, or the nano checkpoint, that it was learned with, or learn it anew on this one"
    )
    write_adapted(path, learned, base, replace(INFO, model="vit_b"))
    with pytest.raises(CheckpointError, match="give the checkpoint of vit_b that it was learned on, or learn it anew"):
        load_adapted(path, other)


def test_a_decoder_learned_on_an_earlier_nano_is_refused_by_a_session(nano_sam, tmp_path):
    """The bundled weights are other ones than those that it was learned on."""
    from livesam.export.opening import Opening, open_session

    earlier = decoder_weights(nano_sam)
    write_adapted(tmp_path / "mine.safetensors", earlier, earlier, replace(INFO, model="nano"))
    with pytest.raises(CheckpointError, match=r"mine\.safetensors: .*another base.* or learn it anew on this one"):
        open_session(Opening("nano", runtime="torch", cache_dir=tmp_path), adapted=tmp_path / "mine.safetensors")


def test_writing_refuses_what_cannot_be_read_back(tmp_path, base, learned):
    path = tmp_path / "d.safetensors"
    learned["b.bias"][0] = 1e9
    with pytest.raises(ValueError, match=r"b\.bias is not finite as float16"):
        write_adapted(path, learned, base, INFO)
    write_adapted(path, learned, base, INFO, precision="float32")
    learned["b.bias"][0] = np.nan
    before = path.read_bytes()
    with pytest.raises(ValueError, match="not finite"):
        write_adapted(path, learned, base, INFO, precision="float32")
    with pytest.raises(ValueError, match="same names"):
        write_adapted(path, {"a.weight": base["a.weight"]}, base, INFO)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_every_damage_is_noticed(tmp_path, base, learned):
    path = tmp_path / "d.safetensors"
    write_adapted(path, learned, base, INFO)
    whole = path.read_bytes()
    for position in range(0, len(whole), 29):
        if whole[position : position + 1] == b" ":
            continue  # JSON white space
        damaged = bytearray(whole)
        damaged[position] ^= 0x15
        path.write_bytes(damaged)
        try:
            read = read_adapted(path)
        except CheckpointError:
            continue
        # A flip inside a free text (a name, the date) is legal; the numbers must be whole.
        assert {k: v.tobytes() for k, v in read.tensors.items()} == {k: v.tobytes() for k, v in load(whole).items()}
    for length in (0, 5, 8, 100, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            read_adapted(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "something"}, "no adapted decoder"),
        ({"format_version": "2"}, "version '2'"),
        ({"kind": "lora"}, "kind"),
        ({"counts": "[1]"}, "JSON object"),
        ({"counts": '{"a": 1.5}'}, "integers"),
        ({"metrics": '{"a": NaN}'}, "finite"),
        ({"image_size": "large"}, "damaged"),
        ({"tensors_sha256": "0"}, "checksum"),
    ],
)
def test_wrong_metadata_are_refused(tmp_path, base, learned, change, message):
    path = tmp_path / "d.safetensors"
    write_adapted(path, learned, base, INFO)
    blob = path.read_bytes()
    (length,) = struct.unpack("<Q", blob[:8])
    header = json.loads(blob[8 : 8 + length])["__metadata__"]
    path.write_bytes(save(load(blob), {**header, **change}))
    with pytest.raises(CheckpointError, match=message):
        read_adapted(path)


def test_other_dtypes_missing_files_and_huge_headers_are_refused(tmp_path, base):
    path = tmp_path / "d.safetensors"
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_adapted(path)
    path.write_bytes(struct.pack("<Q", 1 << 40) + b"{}")
    with pytest.raises(CheckpointError, match="claims"):
        read_adapted(path)
    write_adapted(path, base, base, INFO)
    blob = path.read_bytes()
    (length,) = struct.unpack("<Q", blob[:8])
    header = json.loads(blob[8 : 8 + length])["__metadata__"]
    path.write_bytes(save({k: v.astype(np.int32) for k, v in base.items()}, header))
    with pytest.raises(CheckpointError, match="float16 or float32"):
        read_adapted(path)


def test_metrics_and_counts_are_checked_when_made():
    with pytest.raises(ValueError, match="finite"):
        AdaptedInfo(model="nano", method="live", metrics={"x": float("nan")})
    with pytest.raises(ValueError, match="integers"):
        AdaptedInfo(model="nano", method="live", counts={"x": True})
