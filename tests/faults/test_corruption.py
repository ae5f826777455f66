"""Files that are damaged anywhere: each is found and named, and nothing wrong is read from it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import numpy as np
import pytest
from livesam.app.server.salvage import salvage
from livesam.app.server.soundness import check_log
from livesam.app.server.store import Store
from livesam.app.server.weights import WeightFiles
from livesam.engine.models.adapted import read_adapted, write_adapted
from livesam.engine.session.cache import EmbeddingCache
from livesam.engine.session.log import SessionLog
from livesam.engine.values.adapted_info import AdaptedInfo
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.errors import CheckpointError, LivesamError, SessionError
from livesam.engine.values.prompt import Click, Prompt
from livesam.engine.values.step import Step
from livesam.engine.values.window import Window
from stored import HW, accept, mask_of, objects_of

SEEDS = range(12)


def damaged(whole: bytes, seed: int) -> bytes:
    """A bit turned, a run of noise, or the end cut off, at an offset that the seed decides."""
    random = Random(seed)
    data, at = bytearray(whole), random.randrange(len(whole))
    if seed % 3 == 0:
        data[at] ^= 1 << random.randrange(8)
    elif seed % 3 == 1:
        length = min(random.randrange(1, 6000), len(data) - at)
        data[at : at + length] = random.randbytes(length)
    else:
        del data[at:]
    return bytes(data)


def each_damage(path: Path) -> Iterator[None]:
    """The file damaged in one way after the other."""
    whole = path.read_bytes()
    for seed in SEEDS:
        path.write_bytes(damaged(whole, seed))
        yield
    path.write_bytes(whole)


def test_a_cached_embedding_is_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    features = np.random.default_rng(0).standard_normal((1, 256, 8, 8), dtype=np.float32)
    cache = EmbeddingCache(0, tmp_path)
    cache.put(ImageEmbedding(features, (20, 30), (21, 32), "key"))
    (path,) = tmp_path.iterdir()
    for _ in each_damage(path):
        caplog.clear()
        assert cache.get("key") is None
        assert str(path) in caplog.text
    found = cache.get("key")
    assert found is not None
    assert np.array_equal(found.numpy(), features)


def test_a_session_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "session.safetensors"
    logits = np.random.default_rng(0).standard_normal((32, 32), dtype=np.float32)
    step = Step(Prompt((Click(3.0, 4.0, True),)), logits, 0.9, 1, Window(0, 0, 80, 60))
    SessionLog("hash", HW, "key", "d", (step,)).write(path)
    for _ in each_damage(path):
        with pytest.raises(SessionError, match=str(path)):
            SessionLog.read(path)
    assert np.array_equal(SessionLog.read(path).steps[0].low_res_logits, logits)


def test_an_adapted_decoder_is_refused_or_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    base = {name: rng.standard_normal((16, 16), dtype=np.float32) for name in ("a", "b")}
    weights = {name: value + np.float32(0.25) for name, value in base.items()}
    path = tmp_path / "d.livesam.safetensors"
    write_adapted(path, weights, base, AdaptedInfo(model="nano", method="live", domain="d"), precision="float32")
    right = read_adapted(path).resolve(base)
    for _ in each_damage(path):
        try:
            found = read_adapted(path).resolve(base)  # a letter of the method's name may be another one
        except CheckpointError as error:
            assert str(path) in str(error)
        else:
            assert all(np.array_equal(found[name], right[name]) for name in base)


def test_a_served_decoder_is_refused(tmp_path: Path) -> None:
    base = {name: np.ones((32, 32), np.float32) for name in ("a", "b")}
    files = WeightFiles(tmp_path, base)
    digest = files.write({**base, "b": np.random.default_rng(0).standard_normal((32, 32), dtype=np.float32)})
    for _ in each_damage(files.path(digest)):
        with pytest.raises(CheckpointError, match=digest):
            files.read(digest)


def test_a_domain_goes_on_with_the_decoder_before(studio, client) -> None:
    """One published version is readable, the newer one is not."""
    decoder = client("two versions", None).seat._decoder
    name = next(iter(studio.engine.base))
    older = {**studio.engine.base, name: studio.engine.base[name] + np.float32(1e-3)}
    newer = {**studio.engine.base, name: studio.engine.base[name] + np.float32(2e-3)}
    digests = [studio._files.write(weights) for weights in (older, newer)]
    for number, digest in enumerate(digests, 1):
        studio.store.note_version("damaged", number, digest)
    path = studio._files.path(digests[1])
    path.write_bytes(damaged(path.read_bytes(), 0))
    one = client("damaged")
    state = one.seat.learning()
    assert "version 2 is lost" in state["last_error"]
    assert state["version"] == 3  # a number that nobody has used
    assert np.array_equal(one.seat._decoder.slot.weights(3)[name], older[name])
    assert one.ask("click", x=44, y=54)["box"] is not None
    assert decoder.state()["last_error"] is None


def test_a_database_is_named_and_salvaged(tmp_path: Path, filled: Callable[..., Path]) -> None:
    """Whatever is still read is what was accepted; where nothing is, it is said."""
    whole = (filled() / "annotations.sqlite").read_bytes()
    right, read = objects_of(Store(tmp_path / "filled")), 0
    for seed in SEEDS:
        out = tmp_path / str(seed)
        out.mkdir()
        (out / "annotations.sqlite").write_bytes(damaged(whole, seed))
        try:
            store = Store(out)
        except LivesamError as error:
            assert str(out / "annotations.sqlite") in str(error)
            try:
                salvage(out)
            except LivesamError as nothing:
                assert "nothing of" in str(nothing)
                continue
            store = Store(out)
        for number, one in objects_of(store).items():
            assert one == right[number]
            assert np.array_equal(store.mask(number), mask_of(number))
            read += 1
        store.close()
    assert read > len(SEEDS) * len(right) / 3


def test_values_that_changed_are_set_aside(filled: Callable[..., Path], caplog: pytest.LogCaptureFixture) -> None:
    """SQLite sees nothing wrong in a letter that is another."""
    out = filled(9)
    with contextlib.closing(sqlite3.connect(out / "annotations.sqlite")) as database, database:
        database.execute("UPDATE objects SET label = 'lable 1' WHERE id = 4")
        database.execute("UPDATE objects SET iou = iou + 1e-12 WHERE id = 5")
    store = Store(out)
    assert sorted(objects_of(store)) == [1, 2, 3, 6, 7, 8, 9]
    assert [number in caplog.text for number in ("object 4", "object 5", "object 6")] == [True, True, False]
    store.relabel(6, "another")
    store.close()
    caplog.clear()
    store = Store(out)
    assert len(objects_of(store)) == 7
    assert caplog.text == ""
    store.close()


def test_an_earlier_version_gets_its_sums(filled: Callable[..., Path]) -> None:
    out = filled(5)
    with contextlib.closing(sqlite3.connect(out / "annotations.sqlite")) as database, database:
        database.execute("ALTER TABLE objects DROP COLUMN sum")
        database.execute("PRAGMA user_version = 1")
    store = Store(out)
    assert len(objects_of(store)) == 5
    assert accept(store, 6) == 6
    store.close()
    Store(out).close()


def test_a_log_is_read_up_to_its_damage_and_the_rest_is_named(tmp_path: Path) -> None:
    """SQLite reads a write-ahead log up to the first damage, and says nothing of what lay behind."""
    out = tmp_path / "out"
    out.mkdir()
    store = Store(out)
    store.note_image("0" * 20, "a.png", "h", HW)
    for number in range(1, 9):
        accept(store, number)
    whole = {path.name: path.read_bytes() for path in out.iterdir()}  # as a kill leaves it
    store.close()
    named = 0
    for seed in (None, *SEEDS):
        killed = tmp_path / f"killed{seed}"
        killed.mkdir()
        for name, data in whole.items():
            hit = name.endswith("-wal") and seed is not None and seed % 3 != 2  # a lost end was never committed
            (killed / name).write_bytes(damaged(data, seed) if hit else data)
        said = check_log(killed / "annotations.sqlite")
        store = Store(killed)
        left = objects_of(store)
        assert all(np.array_equal(store.mask(number), mask_of(number)) for number in left)
        store.close()
        assert len(left) == 8 or said is not None
        if said is not None:
            named += 1
            assert (killed / "annotations.sqlite-wal.damaged").is_file()
    assert named >= 5
