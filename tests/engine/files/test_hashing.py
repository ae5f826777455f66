import hashlib

import numpy as np
import numpy.typing as npt
from livesam.engine.files.hashing import file_sha256, hashes_begun, image_hash, is_hash_of, weights_hash


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


def noise(*shape: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_an_images_hash_tells_pixels_and_shapes_apart() -> None:
    for image in (noise(6, 4, 3), noise(1200, 1200, 3)):
        other = image.copy()
        other[-1, -1, -1] ^= 1
        assert len({image_hash(image), image_hash(other), image_hash(image.swapaxes(0, 1).reshape(-1, 2, 3))}) == 3
        assert len({image_hash(image), image_hash(image.reshape(-1, 2, 3))}) == 2
        assert image_hash(image) == image_hash(np.asfortranarray(image))
        assert is_hash_of(image_hash(image), image)
        assert not is_hash_of(image_hash(image), other)


def test_large_images_are_hashed_in_pieces() -> None:
    image = noise(1500, 1000, 3)  # 4.3 MiB: the last piece is shorter
    data = image.tobytes()
    pieces = [hashlib.sha256(data[start : start + 2**20]).digest() for start in range(0, len(data), 2**20)]
    assert image_hash(image) == "tree-" + hashlib.sha256(b"(1500, 1000, 3)\n" + b"".join(pieces)).hexdigest()
    once = hashlib.sha256(b"(1500, 1000, 3)\n" + data).hexdigest()
    assert is_hash_of(once, image)  # what logs of sessions say that are older than this
    assert image_hash(image[:900]) == hashlib.sha256(b"(900, 1000, 3)\n" + image[:900].tobytes()).hexdigest()


def test_hashes_begun_together_are_those_of_each() -> None:
    sides = [4, 1300, 30, *[1300] * 40]  # more large ones, of 5 MB, than there are threads
    images = [np.full((side, side, 3), number, np.uint8) for number, side in enumerate(sides)]
    images.append(images[0][:, ::2])
    assert list(hashes_begun(images)) == [image_hash(image) for image in images]
    assert list(hashes_begun([])) == []
