from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from livesam.app.jobs.embeddings import Embedder
from livesam.app.jobs.manifest import write
from livesam.app.jobs.shards import Record
from livesam.app.jobs.source import find
from livesam.app.jobs.worker import Made
from livesam.app.storage import Target
from livesam.benchmarks.scale.embedding import Run, check, rate
from livesam.benchmarks.scale.pictures import write_photos
from livesam.engine.files.hashing import image_hash
from livesam.engine.files.image import read_image
from livesam.engine.session.cache import EmbeddingCache
from livesam.engine.values.embedding import ImageEmbedding


def test_photos_differ(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 14, 80)
    images = [read_image(path) for path in sorted((tmp_path / "photos").iterdir())]
    assert len({image_hash(image) for image in images}) == 14
    assert {max(image.shape) for image in images} == {80}
    with pytest.raises(ValueError, match="can be moved 80 times"):
        write_photos(tmp_path / "more", 81, 80)


def test_a_rate_is_without_the_start() -> None:
    assert rate(Run("plain", 20, 5.0), Run("plain", 500, 29.0)) == 20.0


def test_what_is_missing_changed_twice_or_different_is_counted(tmp_path: Path) -> None:
    """Shards of a toy's embeddings, written by the job itself, and then damaged."""
    write_photos(tmp_path / "photos", 3, 60)
    source, target, cache = find([str(tmp_path / "photos")]), Target(str(tmp_path / "out")), EmbeddingCache(0, tmp_path)
    made = []
    for i, name in enumerate(source.names):
        one = ImageEmbedding(np.full((1, 256, 2, 2), i, np.float32), (60, 60), (60, 60), name)
        cache.put(one)
        made.append(Made(name, {"key": name}, one))
    embedder = Embedder(SimpleNamespace(key=lambda digest: "m", runtime="cpu"), 1, "parquet")  # type: ignore[arg-type]
    (tmp_path / "out" / "shards").mkdir(parents=True)
    for shard, content in (("a", made[:2]), ("b", made[1:2])):
        embedder.write(content, tmp_path / "out" / "shards" / f"{shard}.parquet")
    records = [Record(name, f"shards/{name}.parquet", "?", "m", "cpu", {}) for name in "ab"]
    write(target, "embeddings", source, records, {})
    found = check(tmp_path / "photos", tmp_path, tmp_path / "out")
    assert found == {"images": 3, "missing": 1, "twice": 1, "changed": 2, "different": 0}
    next(tmp_path.glob("*.safetensors")).unlink()
    assert check(tmp_path / "photos", tmp_path, tmp_path / "out")["different"] >= 1
