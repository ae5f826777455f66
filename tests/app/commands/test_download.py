from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from livesam.app.main import run
from livesam.engine.models.download import OfficialFile
from livesam.engine.models.loading import downloaded, state_shapes
from livesam.engine.models.spec import MODELS


@pytest.fixture
def data(rng: np.random.Generator) -> bytes:
    return rng.bytes(30_000)


@pytest.fixture
def asked(data: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str | None]]:
    """vit_b's official file on loopback, an empty cache; the Range header of each request."""
    requests: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            requests.append(wanted)
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.end_headers()
            self.wfile.write(data[start:])

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setenv("LIVESAM_CACHE", str(tmp_path / "cache"))
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = f"http://127.0.0.1:{http.server_port}/b.pth"
        file = OfficialFile("b.pth", url, hashlib.sha256(data).hexdigest(), len(data))
        monkeypatch.setitem(MODELS, "vit_b", replace(MODELS["vit_b"], checkpoint=file))
        yield requests
        http.shutdown()
        thread.join()


def test_to_the_cache_once_and_models_find_it(
    asked: list[str | None], data: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cache" / "checkpoints" / "b.pth"
    assert downloaded("vit_b") is None
    for _ in range(2):
        assert run(["download", "vit_b"]) == 0
        out, err = capsys.readouterr()
        assert out.startswith(f"{path}: ")
        assert err == ""
    assert path.read_bytes() == data
    assert asked == [None]
    assert downloaded("vit_b") == path
    assert downloaded("vit_l") is None
    assert downloaded("nano") is None


COMMANDS = {
    "segment": ["segment", "photo.png", "--click", "1,1", "--out", "m.png"],
    "demo": ["demo", "--out", "demo"],
    "embed": ["embed", "photo.png", "--out", "embeddings"],
    "eval": ["eval", "set"],
    "bench": ["bench", "throughput"],
    "export encoder": ["export", "encoder", "--out", "e.onnx"],
    "export decoder": ["export", "decoder", "--format", "safetensors", "--out", "d.safetensors"],
    "merge": ["merge", "a.safetensors", "b.safetensors", "--out", "c.safetensors"],
    "import": ["import", "adapted.safetensors", "--out", "i.safetensors"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_finds_the_downloaded_file(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    photo: np.ndarray,
) -> None:
    from PIL import Image
    from safetensors.numpy import save_file

    monkeypatch.setenv("LIVESAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    Image.fromarray(photo).save("photo.png")
    (tmp_path / "set" / "images").mkdir(parents=True)
    (tmp_path / "set" / "masks").mkdir()
    Image.fromarray(photo).save("set/images/photo.png")
    Image.fromarray(np.eye(512, dtype=np.uint8) * 255).save("set/masks/photo.png")
    shapes = {key[13:]: value for key, value in state_shapes("vit_b").items() if key.startswith("mask_decoder.")}
    save_file({key: np.zeros(shape, np.float32) for key, shape in shapes.items()}, "adapted.safetensors")
    words = [*COMMANDS[name], "--model", "vit_b"]
    assert run(words) == 1
    told = capsys.readouterr().err
    assert "`livesam download vit_b`" in told or "give the checkpoint of vit_b" in told
    path = tmp_path / "cache" / "checkpoints" / "sam_vit_b_01ec64.pth"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"spoilt since it was fetched")
    assert run(words) == 1  # it was found, opened, and refused by its path
    assert str(path) in capsys.readouterr().err


def test_another_folder_and_goes_on_where_it_broke_off(
    asked: list[str | None], data: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "b.pth.part").write_bytes(data[:1000])
    assert run(["download", "vit_b", "--out", str(folder)]) == 0
    assert asked == ["bytes=1000-"]
    assert [path.name for path in folder.iterdir()] == ["b.pth"]
    assert (folder / "b.pth").read_bytes() == data
    assert f"--checkpoint {folder / 'b.pth'}" in capsys.readouterr().out


def test_wrong_bytes_are_a_failure(
    asked: list[str | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = MODELS["vit_b"].checkpoint
    assert file is not None
    monkeypatch.setitem(MODELS, "vit_b", replace(MODELS["vit_b"], checkpoint=replace(file, sha256="0" * 64)))
    assert run(["download", "vit_b"]) == 1
    assert "SHA-256" in capsys.readouterr().err
    assert list((tmp_path / "cache" / "checkpoints").iterdir()) == []


@pytest.mark.parametrize(("words", "told"), [(["nano"], "bundled"), (["vit_x"], "vit_b"), ([], "MODEL")])
def test_bad_usage(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["download", *words]) == 2
    assert told in capsys.readouterr().err


def test_out_that_is_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert run(["download", "vit_b", "--out", str(tmp_path / "file")]) == 2
    assert "a folder is wanted" in capsys.readouterr().err
