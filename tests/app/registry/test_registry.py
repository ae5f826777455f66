"""A registry: content addressed, atomic, for several writers, with a history that can be gone back in."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from pathlib import Path

import pytest

pytest.importorskip("fsspec")
from livesam.app.registry.registry import Registry
from livesam.engine.values.errors import CheckpointError


@pytest.fixture(params=["folder", "memory"])
def url(request, tmp_path):
    if request.param == "folder":
        yield str(tmp_path / "registry")
        return
    from fsspec.implementations.memory import MemoryFileSystem

    yield f"memory://{tmp_path.name}"
    MemoryFileSystem.store.clear()


def blob_of(registry, digest):
    return Path(registry.url) / "blobs" / digest[:2] / digest


def test_what_is_published_is_found_by_its_label_in_any_process(url):
    registry = Registry(url)
    assert (registry.find("cells").version, registry.labels("cells")) == (0, {"base": 0})
    first = registry.publish("cells", b"one", note={"objects": 3})
    assert (first.version, first.digest) == (1, hashlib.sha256(b"one").hexdigest())
    assert registry.find("cells", "stable").blob is None  # a candidate serves nobody
    registry.promote("cells", 1)
    second = registry.publish("cells", b"two", ("candidate", "stable"))
    other = Registry(url)
    found = other.find("cells")
    assert (found.version, found.blob, found.damaged) == (second.version, b"two", ())
    assert other.labels("cells") == {"base": 0, "candidate": second.version, "stable": second.version}
    assert other.read("cells", 1) == b"one"
    assert other.history("cells")[0].note == {"objects": 3}
    assert other.find("roads").version == 0  # domains know nothing of each other


def test_a_rollback_is_one_more_entry_and_the_history_stays(url):
    registry = Registry(url)
    for blob in (b"one", b"two"):
        registry.publish("cells", blob, ("candidate", "stable"))
    entry = registry.promote("cells", 1)
    assert (entry.number, entry.version, entry.published) == (3, 1, False)
    assert registry.find("cells").blob == b"one"
    assert registry.labels("cells") == {"base": 0, "candidate": 2, "stable": 1}
    third = registry.publish("cells", b"three", ("candidate", "stable"))
    assert third.version == 4  # no number is given twice
    registry.promote("cells", 0)
    assert registry.find("cells").blob is None
    assert [(one.version, one.labels) for one in Registry(url).history("cells")] == [
        (1, ("candidate", "stable")), (2, ("candidate", "stable")), (1, ("stable",)),
        (4, ("candidate", "stable")), (0, ("stable",)),
    ]  # fmt: skip


def test_what_served_without_a_registry_is_adopted_once_and_counted_on_from(url):
    registry = Registry(url)
    entry = registry.adopt("cells", b"seven", 7)
    assert (entry.number, entry.version, entry.published) == (1, 7, True)
    assert Registry(url).adopt("cells", b"seven", 7) is None
    assert registry.publish("cells", b"eight", ("stable",)).version == 8
    registry.promote("cells", 7)
    assert registry.publish("cells", b"ten", ("stable",)).version == 10
    other = Registry(url)
    assert (other.last("cells"), other.read("cells", 7), other.find("cells").version) == (10, b"seven", 10)
    assert [one.version for one in other.history("cells") if one.published] == [7, 8, 10]


def test_what_is_not_there_is_refused_with_what_is(url):
    registry = Registry(url)
    registry.publish("cells", b"one")
    registry.promote("cells", 1)
    for call in (registry.promote, registry.read):
        with pytest.raises(ValueError, match=r"has no version 2 in .*: it has 1"):
            call("cells", 2)
    with pytest.raises(ValueError, match="unknown label 'base': choose candidate or stable"):
        registry.promote("cells", 1, "base")
    assert len(registry.history("cells")) == 2


def test_writers_at_once_get_a_version_each(url):
    def write(number):
        mine = Registry(url)
        for turn in range(5):
            versions.append(mine.publish("cells", f"{number} {turn}".encode(), ("stable",)).version)

    versions: list[int] = []
    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    assert sorted(versions) == list(range(1, 21))
    registry = Registry(url)
    assert len({entry.digest for entry in registry.history("cells")}) == 20
    assert registry.find("cells").version == 20


def test_a_damaged_blob_is_named_and_the_version_before_serves(tmp_path):
    registry = Registry(str(tmp_path))
    for text in (b"one", b"two", b"three"):
        registry.publish("cells", text, ("stable",))
    two, three = (entry.digest for entry in registry.history("cells")[1:])
    blob_of(registry, three).write_bytes(b"thr")
    blob_of(registry, two).unlink()
    found = Registry(str(tmp_path)).find("cells")
    assert (found.version, found.blob) == (1, b"one")
    assert [digest in said for digest, said in zip((three, two), found.damaged, strict=True)] == [True, True]
    with pytest.raises(CheckpointError, match=f"{three} is damaged"):
        registry.read("cells", 3)
    registry.publish("cells", b"three", ("stable",))  # the same content mends it
    assert registry.find("cells").blob == b"three"
    assert registry.read("cells", 3) == b"three"


def test_a_damaged_entry_moves_no_label_and_its_number_is_not_given_again(tmp_path, caplog):
    registry = Registry(str(tmp_path))
    for text in (b"one", b"two"):
        registry.publish("cells", text, ("stable",))
    last = max((tmp_path / "domains").rglob("*.json"))
    last.write_text(last.read_text()[:20])
    other = Registry(str(tmp_path))
    assert other.find("cells").blob == b"one"
    assert str(last) in caplog.text
    assert other.publish("cells", b"three", ("stable",)).version == 3


@pytest.mark.parametrize("call", ["fsync", "link"])
def test_nothing_is_published_by_a_writer_that_fails(tmp_path, monkeypatch, call):
    registry = Registry(str(tmp_path))
    registry.publish("cells", b"one", ("stable",))

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(OSError, match="No space left"):
            registry.publish("cells", b"two", ("stable",))
    assert Registry(str(tmp_path)).find("cells").blob == b"one"
    assert [path.name for path in tmp_path.rglob("*.tmp")] == []
    assert registry.publish("cells", b"two", ("stable",)).version == 2


def test_names_of_domains_are_no_paths(tmp_path):
    registry = Registry(str(tmp_path / "in"))
    for domain in ("../out", "a/b", "x" * 100, "é@anna"):
        registry.publish(domain, domain.encode(), ("stable",))
        assert registry.find(domain).blob == domain.encode()
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    said = [json.loads(path.read_text())["domain"] for path in (tmp_path / "in" / "domains").rglob("*.json")]
    assert sorted(said) == sorted(["../out", "a/b", "x" * 100, "é@anna"])


def test_a_place_that_nobody_knows(tmp_path):
    with pytest.raises(ValueError, match="'nowhere://there' is no place that fsspec knows"):
        Registry("nowhere://there")
