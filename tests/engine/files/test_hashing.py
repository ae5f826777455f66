import hashlib

import numpy as np
from livesam.engine.files.hashing import file_sha256, weights_hash


def test_file_hash_is_the_sha256_of_its_bytes(tmp_path, rng):
    data = rng.bytes(3_000_001)
    (tmp_path / "file").write_bytes(data)
    assert file_sha256(tmp_path / "file") == hashlib.sha256(data).hexdigest()


def test_weights_hash_ignores_order_and_memory_layout(rng):
    a, b = rng.normal(size=(4, 6)).astype(np.float32), rng.normal(size=3).astype(np.float32)
    reference = weights_hash({"a": a, "b": b})
    assert weights_hash({"b": b, "a": a}) == reference
    assert weights_hash({"a": np.asfortranarray(a), "b": b}) == reference
    assert weights_hash({"a": a.astype(">f4"), "b": b}) == reference


def test_weights_hash_sees_name_shape_dtype_and_every_bit(rng):
    a, b = rng.normal(size=(4, 6)).astype(np.float32), rng.normal(size=3).astype(np.float32)
    changed = a.copy()
    changed[2, 3] = np.nextafter(changed[2, 3], np.float32(np.inf))
    variants = [
        {"a": a, "b": b},
        {"a": b, "b": a},
        {"a": a, "c": b},
        {"a": a.reshape(6, 4), "b": b},
        {"a": a.view(np.int32), "b": b},
        {"a": changed, "b": b},
        {"a": a},
        {"a": a, "b": b, "c": np.zeros(0, np.float32)},
        {"a": a, "b": -b},
    ]
    assert len({weights_hash(variant) for variant in variants}) == len(variants)


def test_weights_hash_is_stable_across_versions():
    weights = {"x": np.arange(6, dtype=np.float32).reshape(2, 3), "y": np.array(1.5, np.float16)}
    header_x, header_y = b"'x'|<f4|(2, 3)\n", b"'y'|<f2|()\n"
    expected = hashlib.sha256(header_x + weights["x"].tobytes() + header_y + weights["y"].tobytes()).hexdigest()
    assert weights_hash(weights) == expected
