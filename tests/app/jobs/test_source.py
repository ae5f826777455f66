from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest
from livesam.app.jobs.source import Source, find
from livesam.app.storage import read
from livesam.embedding import find_images

NAMES = ("0.png", "1.png", "2.png", "3.png", "5.png", "6.png", "7.png", "8.png", "below/4.png")


@pytest.fixture
def server(photos: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(photos))) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


def test_a_folder_gives_names_below_it_by_the_rule_of_the_plain_command(photos: Path) -> None:
    found = find([str(photos)])
    assert found == Source(str(photos), NAMES)
    assert {found.url(name) for name in found.names} == {str(path) for path in find_images([photos])}


def test_several_places_give_whole_names(photos: Path, tmp_path: Path) -> None:
    found = find([str(photos / "below"), str(photos / "0.png"), str(photos / "0.png")])
    assert found.root == ""
    assert found.names == (str(photos / "below" / "4.png"), str(photos / "0.png"))


def test_a_list_is_read_line_by_line(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos)
    (tmp_path / "list.txt").write_text("# two\n0.png\n\nhttps://example.org/a.jpg\n")
    found = find([str(tmp_path / "list.txt")])
    assert found == Source("", (str(photos / "0.png"), "https://example.org/a.jpg"))


def test_object_stores_are_folders_too(photos: Path, memory: str) -> None:
    files = fsspec.filesystem("memory")
    files.pipe_file("/bucket/photos/a/b.png", (photos / "0.png").read_bytes())
    files.pipe_file("/bucket/photos/c.txt", b"no image")
    found = find(["memory://bucket/photos/"])
    assert found == Source("memory://bucket/photos", ("a/b.png",))
    assert read(found.url("a/b.png")) == (photos / "0.png").read_bytes()


def test_a_web_server_is_read(photos: Path, server: str) -> None:
    assert read(find([f"{server}/below/4.png"]).names[0]) == (photos / "below" / "4.png").read_bytes()
    assert "0.png" in find([server]).names  # its listing has links
    with pytest.raises(FileNotFoundError):
        read(f"{server}/gone.png")


def test_what_is_not_there_is_said(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file or folder"):
        find([str(photos / "gone")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no images in"):
        find([str(tmp_path / "empty")])
    with pytest.raises(ValueError, match="no place that fsspec knows"):
        find(["nowhere://a/b"])
