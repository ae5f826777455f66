"""A disk that is full at every write in turn: it is named, and nothing that was saved before is harmed."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from livesam.app.server.problems import problem_of
from livesam.app.server.store import Store
from livesam.app.server.weights import WeightFiles
from livesam.engine.files.image import write_mask
from livesam.engine.models.adapted import write_adapted
from livesam.engine.session.cache import EmbeddingCache
from livesam.engine.session.log import SessionLog
from livesam.engine.values.adapted_info import AdaptedInfo
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.errors import ExportError, LivesamError
from livesam.engine.values.prompt import Click, Prompt
from livesam.engine.values.step import Step
from livesam.engine.values.window import Window
from stored import HW, accept, mask_of, objects_of


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


BASE = {name: noise(0, 64, 64) for name in ("a", "b")}


def session(folder: Path, turn: int) -> None:
    step = Step(Prompt((Click(3.0, 4.0, True),)), noise(turn, 64, 64), 0.9, turn, Window(0, 0, 80, 60))
    SessionLog("hash", HW, "key", "d", (step,)).write(folder / "s.safetensors")


def adapted(folder: Path, turn: int) -> None:
    weights = {name: value + np.float32(turn) for name, value in BASE.items()}
    write_adapted(folder / "d.safetensors", weights, BASE, AdaptedInfo(model="nano", method="live"))


def served(folder: Path, turn: int) -> None:
    WeightFiles(folder, BASE).write({**BASE, "b": noise(turn, 64, 64)})


def cached(folder: Path, turn: int) -> None:
    embedding = ImageEmbedding(noise(turn, 1, 256, 8, 8), (20, 30), (21, 32), f"key {turn}")
    EmbeddingCache(0, folder, required=True).put(embedding)


def mask(folder: Path, turn: int) -> None:
    write_mask(folder / "m.png", noise(turn, 300, 300) > 0)


def exported(format: str) -> Callable[[Path, int], None]:
    def write(folder: Path, turn: int) -> None:
        from livesam.engine.models import loading
        from livesam.engine.models.spec import spec
        from livesam.export.decoder_export import FORMATS, export_sam

        sam = MODEL.setdefault("nano", loading.load("nano"))
        weights = {key: value + np.float32(1e-3 * turn) for key, value in loading.decoder_weights(sam).items()}
        suffixes = FORMATS[format].suffixes
        out = folder / f"decoder{suffixes[0]}" if suffixes else folder / "decoder"
        export_sam(sam, spec("nano"), format=format, out=out, weights=weights)

    return write


MODEL: dict[str, Any] = {}
WRITERS: dict[str, Callable[[Path, int], None]] = {
    "session": session, "adapted": adapted, "served": served, "cached": cached, "mask": mask,
}  # fmt: skip


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".ballast"
    }  # fmt: skip


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_is_written_whole_or_not_at_all(disk, name: str) -> None:
    write = WRITERS[name]
    write(disk.path, 1)
    before, pages = content(disk.path), 0
    while True:
        disk.leave(pages)
        try:
            write(disk.path, 2)
        except (OSError, LivesamError) as error:
            assert str(disk.path) in str(error) or "space" in str(error)
            assert content(disk.path) == before
        else:
            break
        pages += 1
    assert pages > 1
    assert content(disk.path) != before
    assert [path for path in content(disk.path) if path.endswith(".tmp")] == []


@pytest.mark.slow
@pytest.mark.parametrize("disk", [256], indirect=True)
@pytest.mark.parametrize("format", ["sam-pth", "safetensors", "sam-onnx", "openvino", "x-anylabeling", "triton"])
def test_an_export_is_written_whole_or_not_at_all(disk, format: str) -> None:
    write = exported(format)
    write(disk.path / "first", 1)
    before = content(disk.path)
    failed = 0
    for pages in (0, 1, 8, 256, 1024):
        disk.leave(pages)
        try:
            write(disk.path / "second", 2)
        except (ExportError, OSError) as error:
            failed += 1
            assert "space" in str(error)
        else:
            break
        assert {name: data for name, data in content(disk.path).items() if data} == before
    assert failed >= 3
    disk.free()
    write(disk.path / "second", 2)


def test_an_object_is_accepted_or_refused(disk) -> None:
    """With every number of free pages until one fits; what was accepted before stays, and later ones are taken."""
    out = disk.path
    store = Store(out)
    store.note_image("0" * 20, "0.png", "h", HW)
    known = [accept(store, number) for number in range(1, 5)]
    refused = 0
    for pages in range(40):
        disk.leave(pages)
        number = known[-1] + 1
        try:
            known.append(accept(store, number))
        except sqlite3.Error as error:
            refused += 1
            problem = problem_of(error)
            assert (problem.code, problem.status) == ("disk", 507)
        with contextlib.suppress(sqlite3.Error):
            store.note_click("s", "0" * 20, {"op": "click"})
        assert list(objects_of(store)) == known
        if len(known) > 6:
            break
    assert refused >= 2
    disk.free()
    known.append(accept(store, known[-1] + 1))
    store.close()
    store = Store(out)
    assert list(objects_of(store)) == known
    assert all(np.array_equal(store.mask(number), mask_of(number)) for number in known)
    store.close()


def test_a_store_opens_and_closes_on_a_full_disk(disk, filled: Callable[[int], Path]) -> None:
    """A server that is killed leaves a log, which takes no room to be read."""
    (disk.path / "annotations.sqlite").write_bytes((filled(9) / "annotations.sqlite").read_bytes())
    opened = 0
    for pages in (0, 1, 2, 4, 8, 16, 32):
        disk.leave(pages)
        try:
            store = Store(disk.path)
        except LivesamError as error:
            assert str(disk.path) in str(error)
            continue
        opened += 1
        assert len(objects_of(store)) == 9
        store.close()
    assert opened >= 3
