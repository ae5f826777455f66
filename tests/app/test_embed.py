from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from livesam.app.embed import find_images
from livesam.app.main import run
from livesam.engine.cache import EmbeddingCache
from livesam.engine.image import image_hash, read_image
from livesam.engine.runtimes.base import PreparedEncoder
from PIL import Image

ENCODED: list[float] = []


class Toy(PreparedEncoder):
    """The mean colour as an embedding; tells how often it ran."""

    def __init__(self) -> None:
        super().__init__(64, "toy", "toy:cpu:fp32")

    def _run(self, prepared: np.ndarray) -> np.ndarray:
        ENCODED.append(float(prepared.mean()))
        return np.full((1, 256, 4, 4), prepared.mean(), np.float32)

    def _free(self) -> None:
        pass


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import livesam.export.serving

    monkeypatch.setattr(livesam.export.serving, "open_encoder", lambda *_, **__: Toy())
    ENCODED.clear()
    (tmp_path / "in" / "below").mkdir(parents=True)
    for i, name in enumerate(("a.png", "b.jpg", "below/c.png")):
        Image.new("RGB", (20 + i, 10), (40 * i, 9, 9)).save(tmp_path / "in" / name)
    (tmp_path / "in" / "notes.txt").write_text("no image")
    return tmp_path


def test_embeddings_are_what_a_sessions_cache_finds(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / "out"
    assert run(["embed", str(folder / "in"), "--out", str(out)]) == 0
    assert "3 encoded, 0 were there" in capsys.readouterr().out
    cache, encoder = EmbeddingCache(0, out), Toy()
    for path in (folder / "in").rglob("*.??g"):
        image = read_image(path)
        found = cache.get(encoder.key(image_hash(image)))
        assert found is not None
        assert found.original_hw == image.shape[:2]
        assert np.array_equal(found.numpy(), encoder.encode(image).numpy())
    index = json.loads((out / "index.json").read_text())
    assert len(index) == 3
    assert all((out / entry["file"]).is_file() for entry in index.values())


def test_a_second_run_encodes_only_what_is_missing_or_damaged(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["embed", str(folder / "in"), "--out", str(folder / "out")]
    assert run(arguments) == 0
    files = sorted((folder / "out").glob("*.safetensors"))
    files[0].write_bytes(files[0].read_bytes()[:100])
    files[1].unlink()
    ENCODED.clear()
    capsys.readouterr()
    assert run(arguments) == 0
    assert "2 encoded, 1 were there" in capsys.readouterr().out
    assert len(ENCODED) == 2


def test_bad_images_are_named_and_cost_no_other(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "in" / "aa.png").write_bytes(b"\x89PNG broken")
    assert run(["embed", str(folder / "in"), "--out", str(folder / "out")]) == 1
    captured = capsys.readouterr()
    assert "3 encoded" in captured.out
    assert "1 of 4" in captured.err
    assert "aa.png" in captured.err
    assert len(list((folder / "out").glob("*.safetensors"))) == 3


def test_a_disk_that_takes_nothing_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    assert run(["embed", str(folder / "in"), "--out", str(folder / "out")]) == 1
    assert "could not be written" in capsys.readouterr().err
    assert list((folder / "out").iterdir()) == []


def test_images_are_found_once(folder: Path) -> None:
    inside = folder / "in"
    assert [path.name for path in find_images([inside, inside / "a.png"])] == ["a.png", "b.jpg", "c.png"]
    with pytest.raises(ValueError, match="no such file"):
        find_images([folder / "none"])
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match="no images"):
        find_images([folder / "empty"])
