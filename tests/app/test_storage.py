from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pytest
from livesam.app.storage import Target, absolute, opened
from livesam.engine.values.errors import LivesamError


@pytest.fixture(params=["local", "memory"])
def target(request: pytest.FixtureRequest, tmp_path: Path, memory: str) -> Target:
    return Target(str(tmp_path / "out") if request.param == "local" else memory)


def test_files_are_written_read_listed_and_removed(target: Target) -> None:
    assert target.read("a.json") is None
    assert target.names("shards") == []
    target.write("shards/b.json", b"two")
    target.write("shards/a.json", b"one")
    target.write("shards/a.parquet", b"rows")
    assert target.names("shards") == ["a.json", "a.parquet", "b.json"]
    assert target.read_all("shards", ".json") == [b"one", b"two"]
    assert target.read_all("shards", ".parquet") == [b"rows"]
    target.remove("shards/a.json")
    assert target.read_all("shards", ".json") == [b"two"]


def test_of_two_writers_one_gets_the_name(target: Target) -> None:
    target.create("entries/1.json", b"first")
    with pytest.raises(FileExistsError):
        target.create("entries/1.json", b"second")
    assert target.read("entries/1.json") == b"first"
    assert target.names("entries") == ["1.json"]
    assert target.where("entries/1.json").endswith("out/entries/1.json")


def test_a_file_appears_whole_or_not_at_all(target: Target) -> None:
    with target.writing("shards/a.parquet") as path:
        path.write_bytes(b"first")

    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise KeyError

    with pytest.raises(KeyError), target.writing("shards/a.parquet") as path:
        fail(path)
    assert target.read("shards/a.parquet") == b"first"
    assert target.names("shards") == ["a.parquet"]


def test_targets_that_cannot_be_are_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="can be read only"):
        Target("https://example.org/out").check()
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="is a file"):
        Target(str(tmp_path / "file")).check()
    Target(str(tmp_path / "new")).check()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.split(".")[0] == "s3fs":
            raise ImportError("Install s3fs to access S3")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(LivesamError, match="pip install s3fs"):
        opened("s3://bucket/photos")


def test_relative_places_are_made_absolute_for_other_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute("photos") == str(tmp_path / "photos")
    assert absolute("s3://bucket/photos") == "s3://bucket/photos"
