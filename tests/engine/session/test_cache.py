from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from livesam.engine.session.cache import EmbeddingCache
from livesam.engine.values.embedding import ImageEmbedding

SIZE = 256 * 4 * 4


def embedding(key: str) -> ImageEmbedding:
    features = np.random.default_rng(len(key)).standard_normal((1, 256, 2, 2), dtype=np.float32)
    return ImageEmbedding(features, (20, 30), (21, 32), key)


def test_the_longest_unused_makes_room() -> None:
    cache = EmbeddingCache(2 * SIZE)
    for key in ("a", "b"):
        cache.put(embedding(key))
    assert cache.get("a") is not None
    cache.put(embedding("c"))
    assert cache.get("b") is None
    assert cache.get("a") is not None
    assert cache.ram_used == 2 * SIZE
    cache.put(embedding("c"))
    assert (len(cache), cache.ram_used) == (2, 2 * SIZE)
    cache.clear()
    assert (len(cache), cache.ram_used) == (0, 0)


def test_what_is_larger_than_the_cache_is_not_kept() -> None:
    cache = EmbeddingCache(SIZE - 1)
    cache.put(embedding("a"))
    assert cache.get("a") is None
    assert cache.ram_used == 0
    with pytest.raises(ValueError, match="negative"):
        EmbeddingCache(-1)


def test_the_folder_outlives_the_process(tmp_path: Path) -> None:
    first = embedding("a")
    EmbeddingCache(0, tmp_path / "new").put(first)
    found = EmbeddingCache(SIZE, tmp_path / "new").get("a")
    assert found is not None
    np.testing.assert_array_equal(found.numpy(), first.numpy())
    assert (found.original_hw, found.resized_hw, found.key) == ((20, 30), (21, 32), "a")


def test_damaged_and_foreign_files_count_as_absent(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = EmbeddingCache(0, tmp_path)
    cache.put(embedding("a"))
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for damage in (b"", whole[:40], whole[:-8], b"\xff" * 64, whole.replace(b'\\"a\\"', b'\\"b\\"')):
        path.write_bytes(damage)
        with caplog.at_level(logging.WARNING):
            assert cache.get("a") is None
        cache.put(embedding("a"))
        assert cache.get("a") is not None
    assert len(caplog.records) == 5


def test_a_folder_that_cannot_be_written_is_reported_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = EmbeddingCache(4 * SIZE, tmp_path / "file")
    for key in ("a", "b"):
        cache.put(embedding(key))
        assert cache.get(key) is not None
    assert len(caplog.records) == 1
