import hashlib
import os
import re
import threading
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from livesam.engine.models import download as module
from livesam.engine.models.download import OFFICIAL_FILES, OfficialFile, download
from livesam.engine.values.errors import DownloadError

SIZE = 3 * module.CHUNK_BYTES + 12_345


@dataclass
class Server:
    """A file server on loopback whose behaviour a test sets."""

    data: bytes
    url: str = ""
    ranges: bool = True  # honours Range
    wrong_range: bool = False  # answers 206 with another range than asked for
    break_after: int | None = None  # closes the connection after so many body bytes
    status: int | None = None  # answers nothing but this
    requests: list[str | None] = field(default_factory=list)  # the Range header of each

    def file(self, **changes) -> OfficialFile:
        digest = hashlib.sha256(self.data).hexdigest()
        return replace(OfficialFile("weights.pth", self.url, digest, len(self.data)), **changes)


@pytest.fixture
def server(rng):
    state = Server(rng.bytes(SIZE))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            state.requests.append(asked)
            if state.status is not None:
                self.send_error(state.status)
                return
            start = int(re.fullmatch(r"bytes=(\d+)-", asked).group(1)) if asked and state.ranges else 0
            if start > len(state.data):
                self.send_error(416)
                return
            body = state.data[start:]
            self.send_response(206 if start else 200)
            if start:
                told = start + 1 if state.wrong_range else start
                self.send_header("Content-Range", f"bytes {told}-{len(state.data) - 1}/{len(state.data)}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body if state.break_after is None else body[: state.break_after])

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        state.url = f"http://127.0.0.1:{http.server_port}/weights.pth"
        yield state
        http.shutdown()
        thread.join()


def test_fetches_with_progress_and_not_twice(server, tmp_path):
    seen = []
    path = download(server.file(), tmp_path / "new" / "folder", lambda done, size: seen.append((done, size)))
    assert path == tmp_path / "new" / "folder" / "weights.pth"
    assert path.read_bytes() == server.data
    assert os.listdir(path.parent) == ["weights.pth"]
    assert seen[0] == (0, SIZE)
    assert seen[-1] == (SIZE, SIZE)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert download(server.file(), path.parent) == path
    assert server.requests == [None]


def test_goes_on_where_it_broke_off(server, tmp_path):
    server.break_after = module.CHUNK_BYTES + 7
    with pytest.raises(DownloadError, match=rf"broke off after {server.break_after} of {SIZE} bytes.*run it again"):
        download(server.file(), tmp_path)
    assert os.listdir(tmp_path) == ["weights.pth.part"]
    kept = (tmp_path / "weights.pth.part").stat().st_size
    server.break_after = None
    seen = []
    path = download(server.file(), tmp_path, lambda done, _: seen.append(done))
    assert server.requests == [None, f"bytes={kept}-"]
    assert seen[0] == kept
    assert path.read_bytes() == server.data
    assert os.listdir(tmp_path) == ["weights.pth"]


def test_a_complete_part_needs_no_request(server, tmp_path):
    (tmp_path / "weights.pth.part").write_bytes(server.data)
    assert download(server.file(), tmp_path).read_bytes() == server.data
    assert server.requests == []


@pytest.mark.parametrize("behaviour", [{"ranges": False}, {"wrong_range": True}])
def test_a_server_without_proper_ranges_sends_everything_again(server, tmp_path, behaviour):
    for name, value in behaviour.items():
        setattr(server, name, value)
    (tmp_path / "weights.pth.part").write_bytes(server.data[:1000])
    assert download(server.file(), tmp_path).read_bytes() == server.data


def test_a_refused_range_begins_again(server, tmp_path):
    file = server.file()
    (tmp_path / "weights.pth.part").write_bytes(server.data[: SIZE - 10])
    whole, server.data = server.data, server.data[:100]  # now the range lies beyond the file
    with pytest.raises(DownloadError, match="broke off after 100 of"):
        download(file, tmp_path)
    assert server.requests == [f"bytes={SIZE - 10}-", None]
    server.data = whole
    assert download(file, tmp_path).read_bytes() == whole


@pytest.mark.parametrize("length", [1000, SIZE, SIZE + 1])
def test_a_part_of_something_else_is_replaced(server, tmp_path, length):
    (tmp_path / "weights.pth.part").write_bytes(b"x" * length)
    assert download(server.file(), tmp_path).read_bytes() == server.data
    assert os.listdir(tmp_path) == ["weights.pth"]


def test_a_wrong_hash_leaves_nothing(server, tmp_path):
    with pytest.raises(DownloadError, match=f"has SHA-256 [0-9a-f]{{64}} instead of {'0' * 64}"):
        download(server.file(sha256="0" * 64), tmp_path)
    assert os.listdir(tmp_path) == []
    assert len(server.requests) == 1


def test_a_longer_file_is_refused_before_it_fills_the_disk(server, tmp_path):
    with pytest.raises(DownloadError, match="sends more than the 1000 bytes"):
        download(server.file(size=1000), tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("status", [403, 404, 503])
def test_an_error_answer_is_told(server, tmp_path, status):
    server.status = status
    with pytest.raises(DownloadError, match=f"answers {status}"):
        download(server.file(), tmp_path)
    assert os.listdir(tmp_path) == []


def test_no_server(server, tmp_path):
    with pytest.raises(DownloadError, match="cannot be reached"):
        download(server.file(url="http://127.0.0.1:9/weights.pth"), tmp_path)


def test_another_file_of_that_name_is_not_touched(server, tmp_path):
    (tmp_path / "weights.pth").write_text("mine")
    with pytest.raises(DownloadError, match="move it away"):
        download(server.file(), tmp_path)
    assert (tmp_path / "weights.pth").read_text() == "mine"
    assert server.requests == []


def test_a_folder_that_cannot_be(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DownloadError, match="cannot be written"):
        download(server.file(), tmp_path / "file")


def test_too_little_room_is_told_before_the_first_byte(server, tmp_path):
    with pytest.raises(DownloadError, match=r"MiB free, but weights.pth needs \d+ MiB more"):
        download(server.file(size=2**62), tmp_path)
    assert server.requests == []


@pytest.mark.parametrize("url", ["http://example.org/weights.pth", "file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_only_https_and_loopback(server, tmp_path, url):
    with pytest.raises(ValueError, match="https only"):
        download(server.file(url=url), tmp_path)


def test_the_table_names_the_official_files():
    assert set(OFFICIAL_FILES) == {"vit_t", "vit_b", "vit_l", "vit_h"}
    for file in OFFICIAL_FILES.values():
        assert file.url.startswith("https://")
        assert file.url.endswith("/" + file.filename)
        assert re.fullmatch("[0-9a-f]{64}", file.sha256)
