from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from livesam.app.main import run
from livesam.embedding import find_images
from livesam.engine.files.hashing import image_hash
from livesam.engine.files.image import read_image
from livesam.engine.runtimes.base import PreparedEncoder
from livesam.engine.session.cache import EmbeddingCache
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
    import livesam.export.opening

    monkeypatch.setattr(livesam.export.opening, "open_encoder", lambda *_, **__: Toy())
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


def test_others_are_read_while_one_is_encoded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first image's encoder waits until the second is being read; progress is told in order all the same."""
    from livesam.embedding import embed_images
    from livesam.engine.files import image as files
    from livesam.export.opening import Opening

    second = threading.Event()
    read, run_toy = files.read_image, Toy._run

    def note(path: Path, **options: Any) -> npt.NDArray[np.uint8]:
        if path.name == "b.jpg":
            second.set()
        return read(path, **options)

    def wait(self: Toy, prepared: np.ndarray) -> np.ndarray:
        assert second.wait(20)
        return run_toy(self, prepared)

    monkeypatch.setattr(files, "read_image", note)
    monkeypatch.setattr(Toy, "_run", wait)
    told: list[tuple[int, int]] = []
    images = find_images([folder / "in"])
    done = embed_images(images, folder / "out", Opening(), progress=lambda *position: told.append(position))
    assert done.encoded == 3
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert list(json.loads((folder / "out" / "index.json").read_text())) == [str(path) for path in images]


def test_bad_images_are_named_and_cost_no_other(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "in" / "aa.png").write_bytes(b"\x89PNG broken")
    assert run(["embed", str(folder / "in"), "--out", str(folder / "out")]) == 1
    captured = capsys.readouterr()
    assert "3 encoded" in captured.out
    assert "1 of 4" in captured.err
    assert "aa.png" in captured.err
    assert len(list((folder / "out").glob("*.safetensors"))) == 3


def test_whatever_is_wrong_with_an_image_it_is_left_out_by_name(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inside = folder / "in"
    Image.new("L", (1100, 1)).save(inside / "thin_strip.png")  # nothing is left of it at the encoder's size
    (inside / "empty.tif").touch()
    (inside / "text.jpg").write_text("no image")
    tifffile.imwrite(inside / "five.tif", np.zeros((32, 40, 5), np.uint8), planarconfig="contig")
    tifffile.imwrite(inside / "nan.tif", np.full((32, 40), np.nan, np.float32))
    for _ in range(2):
        assert run(["embed", str(inside), "--out", str(folder / "out")]) == 1
        captured = capsys.readouterr()
        for name in ("thin_strip.png", "empty.tif", "text.jpg", "five.tif", "nan.tif"):
            assert sum(name in line for line in captured.err.splitlines()) == 1
        assert "5 of 8 images were left out" in captured.err
        assert captured.err.count("left out: ") == 5
    assert "0 encoded, 3 were there already" in captured.out
    index = json.loads((folder / "out" / "index.json").read_text())
    assert len(index) == 3
    # With bands, the one that is sound is read.
    assert run(["embed", str(inside / "five.tif"), "--out", str(folder / "out"), "--bands", "3,2,1"]) == 0


def test_files_that_begin_with_a_dot_are_no_images(folder: Path) -> None:
    inside = folder / "in"
    (inside / "._a.png").write_bytes(b"Mac OS X resource fork")
    (inside / ".thumbnails").mkdir()
    Image.new("L", (20, 20)).save(inside / ".thumbnails" / "a.png")
    assert [path.name for path in find_images([inside])] == ["a.png", "b.jpg", "c.png"]
    assert find_images([inside / "._a.png"]) == [inside / "._a.png"]  # named on purpose
    (folder / ".hidden").mkdir()
    Image.new("L", (20, 20)).save(folder / ".hidden" / "b.png")
    assert len(find_images([folder / ".hidden"])) == 1


def test_a_disk_that_takes_nothing_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    assert run(["embed", str(folder / "in"), "--out", str(folder / "out")]) == 1
    err = capsys.readouterr().err
    assert "could not be written" in err
    assert "No space left on device" in err
    assert err.count("\n") == 1
    assert list((folder / "out").iterdir()) == []


def test_images_are_found_once(folder: Path) -> None:
    inside = folder / "in"
    assert [path.name for path in find_images([inside, inside / "a.png"])] == ["a.png", "b.jpg", "c.png"]
    with pytest.raises(ValueError, match="no such file"):
        find_images([folder / "none"])
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match="no images"):
        find_images([folder / "empty"])


@pytest.fixture
def embedded(tmp_path: Path, photo: np.ndarray, capsys: pytest.CaptureFixture[str]) -> Path:
    """A photo, and its embedding by nano's real encoder in ``embeddings``."""
    Image.fromarray(photo).save(tmp_path / "photo.png")
    assert run(["embed", str(tmp_path / "photo.png"), "--out", str(tmp_path / "embeddings")]) == 0
    capsys.readouterr()
    return tmp_path


def _segment(folder: Path, *words: str, picture: str = "photo.png") -> list[str]:
    return ["segment", str(folder / picture), "--click", "150,260", "--out", str(folder / "m.png"), *words]


def test_segment_takes_the_stored_embedding(
    embedded: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(_segment(embedded)) == 0
    want = (embedded / "m.png").read_bytes()
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(PreparedEncoder, "encode", lambda *_: pytest.fail("the image was encoded"))
        assert run(_segment(embedded, "--embeddings", str(embedded / "embeddings"), "--json")) == 0
        timings = json.loads(capsys.readouterr().out)["timings_ms"]
        assert "encode" not in timings
        assert timings["total"] > timings["read_embedding"] > 0
        assert (embedded / "m.png").read_bytes() == want
        assert run(_segment(embedded, "--embeddings", str(embedded / "embeddings"))) == 0
        assert "stored embedding" in capsys.readouterr().out


def test_what_does_not_match_is_encoded_and_kept(
    embedded: Path, photo: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = embedded / "embeddings"
    (file,) = folder.glob("*.safetensors")
    changed = photo.copy()
    changed[0, 0, 0] ^= 1  # another image by one bit
    Image.fromarray(changed).save(embedded / "other.png")
    words = ["--embeddings", str(folder)]
    assert run(_segment(embedded, *words, picture="other.png")) == 0
    assert "encoded: " in capsys.readouterr().out
    assert len(list(folder.glob("*.safetensors"))) == 2
    for runtime in ("auto", "onnxruntime"):  # of one precision, so they share it
        assert run(_segment(embedded, *words, "--runtime", runtime, picture="other.png")) == 0
        assert "stored embedding" in capsys.readouterr().out
    assert len(list(folder.glob("*.safetensors"))) == 2
    file.write_bytes(file.read_bytes()[:500])  # damaged: as if it were not there
    assert run(_segment(embedded, *words)) == 0
    assert "encoded: " in capsys.readouterr().out


def test_a_folder_of_embeddings_that_is_none(
    tmp_path: Path, photo: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    from livesam.export.opening import Opening, open_session

    Image.fromarray(photo).save(tmp_path / "photo.png")
    for name in ("none", "photo.png"):
        assert run(_segment(tmp_path, "--embeddings", str(tmp_path / name))) == 2
        err = capsys.readouterr().err
        assert name in err
        assert "`livesam embed`" in err
        with pytest.raises(ValueError, match="`livesam embed`"):
            open_session(Opening(), embeddings=tmp_path / name)
    assert not (tmp_path / "m.png").exists()


def test_segment_reads_what_is_asked_for(tmp_path: Path, photo: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(photo).save(tmp_path / "photo.png")
    assert run(_segment(tmp_path, "--box=-0.5,0,400,512.5")) == 0
    want = (tmp_path / "m.png").read_bytes()
    blue_first = np.concatenate([photo[..., ::-1], photo[..., :2]], 2)
    tifffile.imwrite(tmp_path / "photo.tif", blue_first, planarconfig="contig", photometric="minisblack")
    words = ["--box", "0,0,400,512"]
    assert run(_segment(tmp_path, *words, picture="photo.tif")) == 1
    assert "5 bands of 8-bit unsigned integers" in capsys.readouterr().err
    assert run(_segment(tmp_path, *words, "--bands", "3,2,1", picture="photo.tif")) == 0
    assert (tmp_path / "m.png").read_bytes() == want
    assert run(_segment(tmp_path, *words, "--bands", "1,2", picture="photo.tif")) == 2
    assert run(_segment(tmp_path, "--box=-1.5,0,400,512")) == 2
    assert "outside of the image" in capsys.readouterr().err
