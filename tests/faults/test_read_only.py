"""Folders that may not be written to: it is said which, and what only reads goes on."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from livesam.app.main import run as livesam_command
from livesam.engine.session.cache import EmbeddingCache
from livesam.engine.values.embedding import ImageEmbedding


def test_commands_on_a_read_only_disk(disk, filled: Callable[[int], Path], tmp_path: Path, capsys) -> None:
    shutil.copytree(filled(9), disk.path / "out")
    (disk.path / "photos").mkdir()
    disk.read_only()
    where = str(disk.path)
    assert livesam_command(["serve", f"{where}/photos", "--port", "0"]) == 1
    assert "Read-only file system" in capsys.readouterr().err
    assert livesam_command(["serve", f"{where}/photos", "--out", f"{where}/out", "--port", "0"]) == 1
    assert "Read-only file system" in capsys.readouterr().err
    out = tmp_path / "coco.json"
    assert livesam_command(["export", "annotations", f"{where}/out", "-f", "coco", "-o", str(out)]) == 0
    assert out.is_file()
    assert livesam_command(["export", "annotations", f"{where}/out", "-f", "coco", "-o", f"{where}/coco.json"]) == 1
    assert "cannot be written to" in capsys.readouterr().err
    assert livesam_command(["salvage", f"{where}/out"]) == 1
    assert "Read-only file system" in capsys.readouterr().err


def test_a_cache_that_cannot_be_written_costs_time_only(disk, caplog: pytest.LogCaptureFixture) -> None:
    embedding = ImageEmbedding(np.ones((1, 256, 4, 4), np.float32), (20, 30), (21, 32), "key")
    EmbeddingCache(0, disk.path / "cache").put(embedding)
    disk.read_only()
    cache = EmbeddingCache(1 << 20, disk.path / "cache")
    assert cache.get("key") is not None
    with caplog.at_level(logging.WARNING):
        cache.put(ImageEmbedding(embedding.features, (20, 30), (21, 32), "other"))
    assert "Read-only file system" in caplog.text
    assert cache.get("other") is not None
    with pytest.raises(OSError, match="Read-only"):
        EmbeddingCache(0, disk.path / "cache", required=True).put(
            ImageEmbedding(embedding.features, (1, 1), (1, 1), "x")
        )
