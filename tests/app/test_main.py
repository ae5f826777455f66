from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import livesam
import numpy as np
import pytest
from livesam.app.main import run
from PIL import Image


@pytest.fixture
def picture(tmp_path: Path, photo: np.ndarray) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(photo).save(path)
    return path


def _fails(capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, *words: str) -> None:
    """The promise for every bad input: this exit code, one sentence on stderr, nothing on stdout."""
    assert run(arguments) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("livesam: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert "Traceback" not in err
    for word in words:
        assert word in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], ["nonsense", "--help"]),
        (["segment"], ["--help"]),
        (["segment", "photo.png", "--click", "1,1"], ["--out"]),
        (["segment", "photo.png", "--out", "m.png", "--nonsense"], ["--nonsense"]),
        (["segment", "photo.png", "--out", "m.png"], ["at least one --click"]),
        (["segment", "photo.png", "--out", "m.png", "--click", "1"], ["X,Y", "'1'"]),
        (["segment", "photo.png", "--out", "m.png", "--click", "nan,1"], ["finite"]),
        (["segment", "photo.png", "--out", "m.png", "--box", "9,9,1,1"], ["x0 < x1"]),
        (["segment", "photo.png", "--out", "m.png", "--box", "1,1,1,9"], ["x0 < x1"]),
        (["segment", "photo.png", "--out", "m.txt", "--click", "1,1"], ["--out", ".png"]),
        (["segment", "photo.png", "--out", "no/m.png", "--click", "1,1"], ["does not exist"]),
        (["segment", "photo.png", "--out", "m.png", "--click", "1,1", "--overlay", "no/o.png"], ["does not exist"]),
        (["segment", "photo.png", "--out", "photo.png", "--click", "1,1"], ["--out", "the image itself"]),
        (["segment", "photo.png", "--out", "m.png", "--click", "1,1", "--overlay", "./photo.png"], ["image itself"]),
        (["segment", "photo.png", "--out", "m.png", "--click", "1,1", "--runtime", "warp"], ["warp", "openvino"]),
        (["segment", "photo.png", "--out", "m.png", "--click", "1,1", "--precision", "fp8"], ["fp8", "bf16"]),
        (["segment", "photo.png", "--out", "m.png", "--click", "1,1", "--model", "vit_x"], ["vit_x", "vit_b"]),
        (["segment", "photo.png", "--out", "m.png", "--click", "512,1"], ["outside", "512"]),
        (["segment", "photo.png", "--out", "m.png", "--click=-1,1"], ["outside"]),
        (["bench"], ["--help"]),
        (["bench", "latency", "--clicks", "0"], ["--clicks"]),
        (["embed"], ["--help"]),
    ],
)
def test_bad_usage(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    picture: Path,
    arguments: list[str],
    words: list[str],
) -> None:
    monkeypatch.chdir(picture.parent)
    if arguments == ["bench"]:
        assert run(arguments) == 2  # a group without a command shows its help
        assert "latency" in capsys.readouterr().err
        return
    _fails(capsys, arguments, 2, *words)
    assert os.listdir() == ["photo.png"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ["No such file"]),
        (b"", ["empty"]),
        (b"no image at all, just words", ["no image"]),
        ("truncated", ["truncated"]),
        ("bomb", ["million"]),
    ],
)
def test_unreadable_images(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, picture: Path, content: bytes | str | None, words: list[str]
) -> None:
    path = tmp_path / "bad.png"
    if content == "truncated":
        path.write_bytes(picture.read_bytes()[:5000])
    elif content == "bomb":
        header = bytearray(picture.read_bytes()[:33])
        header[16:24] = (60000).to_bytes(4) + (60000).to_bytes(4)
        import zlib

        header[29:33] = zlib.crc32(bytes(header[12:29])).to_bytes(4)
        path.write_bytes(bytes(header) + picture.read_bytes()[33:])
    elif isinstance(content, bytes):
        path.write_bytes(content)
    _fails(capsys, ["segment", str(path), "--click", "1,1", "--out", str(tmp_path / "m.png")], 1, "bad.png", *words)
    assert not (tmp_path / "m.png").exists()


def test_a_wrong_choice_is_one_clean_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["segment", "photo.png", "--out", "m.png", "--click", "1,1", "--runtime", "foo"]
    _fails(capsys, arguments, 2, "--runtime", "'foo' is not one of 'auto', 'torch', 'onnxruntime', 'openvino'")
    assert run(arguments) == 2
    err = capsys.readouterr().err
    assert "Value error" not in err
    assert ". (" not in err


def test_corrupt_exif_is_not_worth_a_word(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    exif = b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01"  # five entries are promised, two bytes follow
    Image.new("RGB", (32, 32)).save(path, exif=exif)
    with pytest.warns(UserWarning, match="Corrupt EXIF"):
        Image.open(path).close()
    words = ["segment", str(path), "--click", "99,1", "--out", str(tmp_path / "m.png")]  # beside the image: soon over
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    command = [sys.executable, "-m", "livesam.app.main", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment)
    assert done.returncode == 2
    assert "outside" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_folder_is_no_image(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    _fails(capsys, ["segment", str(tmp_path), "--click", "1,1", "--out", str(tmp_path / "m.png")], 1)


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    out = capsys.readouterr().out
    for command in ("doctor", "demo", "download", "segment", "embed", "bench", "export"):
        assert command in out


def test_segment_json_is_pure_and_the_mask_has_the_images_size(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, picture: Path
) -> None:
    mask, overlay = tmp_path / "m.png", tmp_path / "o.jpg"
    arguments = ["segment", str(picture), "--click", "150,260", "--click", "20,20,-", "--box", "10,10,400,500"]
    assert run([*arguments, "--out", str(mask), "--overlay", str(overlay), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert set(answer) == {"mask", "iou", "decoder_version", "timings_ms", "runtime"}
    assert answer["mask"] == str(mask)
    assert answer["timings_ms"]["total"] > answer["timings_ms"]["encode"] > 0
    pixels = np.asarray(Image.open(mask))
    assert pixels.shape == (512, 512)
    assert set(np.unique(pixels)) <= {0, 255}
    with Image.open(overlay) as drawn:
        assert drawn.format == "JPEG"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_full_or_read_only_disk_leaves_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, picture: Path, code: int
) -> None:
    assert run(["segment", str(picture), "--click", "150,260", "--out", str(tmp_path / "m.png")]) == 0  # engines cached
    (tmp_path / "m.png").unlink()
    capsys.readouterr()

    def fail(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    _fails(
        capsys, ["segment", str(picture), "--click", "150,260", "--out", str(tmp_path / "m.png")], 1, os.strerror(code)
    )
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


@pytest.mark.parametrize(
    "words",
    [
        ["segment", "photo.png", "--click", "150,260", "--out", "m.png"],
        ["export", "encoder", "--out", "e.onnx"],
        ["bench", "throughput", "--json", "t.json"],
    ],
)
def test_a_folder_that_takes_nothing_is_told_before_the_work(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, picture: Path, words: list[str]
) -> None:
    monkeypatch.chdir(picture.parent)
    monkeypatch.setattr(os, "access", lambda path, mode, **_: mode != os.W_OK)
    monkeypatch.setattr("livesam.engine.runtimes.selection.select", lambda *_, **__: pytest.fail("it began to work"))
    monkeypatch.setattr("livesam.engine.models.loading.load", lambda *_: pytest.fail("it began to work"))
    _fails(capsys, words, 1, "cannot be written to")


def test_no_overlay_without_its_mask(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, picture: Path
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "m.png")

    monkeypatch.setattr("livesam.engine.files.image.write_mask", full)
    arguments = ["segment", str(picture), "--click", "150,260", "--out", str(tmp_path / "m.png")]
    _fails(capsys, [*arguments, "--overlay", str(tmp_path / "o.png")], 1, "m.png")
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]
    _fails(capsys, [*arguments, "--overlay", str(tmp_path / "m.png")], 2, "same file")


def test_checkpoints_that_are_no_checkpoints(capsys: pytest.CaptureFixture[str], tmp_path: Path, picture: Path) -> None:
    base = ["segment", str(picture), "--click", "1,1", "--out", str(tmp_path / "m.png"), "--model", "vit_t"]
    _fails(capsys, base, 1, "vit_t", "checkpoint")
    _fails(capsys, [*base, "--checkpoint", str(tmp_path / "none.pt")], 1, "none.pt")
    _fails(capsys, [*base, "--checkpoint", str(tmp_path)], 1)
    (tmp_path / "text.pt").write_text("hello")
    _fails(capsys, [*base, "--checkpoint", str(tmp_path / "text.pt")], 1, "text.pt")
    assert not (tmp_path / "m.png").exists()


def test_asking_for_a_gpu_that_is_not_there_fails(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, picture: Path
) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    arguments = ["segment", str(picture), "--click", "1,1", "--out", str(tmp_path / "m.png"), "--device", "cuda"]
    _fails(capsys, arguments, 1, "cuda")


def test_unforeseen_errors_are_one_sentence_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def explode(*_: object, **__: object) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr("livesam.engine.files.image.read_image", explode)
    arguments = ["segment", "photo.png", "--click", "1,1", "--out", str(tmp_path / "m.png")]
    _fails(capsys, arguments, 1, "RuntimeError", "LIVESAM_DEBUG")
    monkeypatch.setenv("LIVESAM_DEBUG", "1")
    with pytest.raises(RuntimeError, match="two"):
        run(arguments)


def test_segment_replays_what_a_session_does(picture: Path, tmp_path: Path) -> None:
    pixels = np.asarray(Image.open(picture).convert("RGB"))
    session = livesam.open_session(runtime="torch")
    session.set_image(pixels)
    session.box(60, 40, 400, 480)
    session.click(150, 260)
    wanted = session.click(20, 20, positive=False)
    session.close()
    base = ["segment", str(picture), "--runtime", "torch", "--box", "60,40,400,480", "--click", "150,260"]
    arguments = [*base, "--click", "20,20,-", "--out", str(tmp_path / "m.png")]
    masks = []
    for more in (["--replay"], [], ["--plain"]):
        assert run([*arguments, *more]) == 0
        masks.append(np.asarray(Image.open(tmp_path / "m.png")) > 0)
    assert np.array_equal(masks[0], wanted.mask)
    assert not np.array_equal(masks[1], masks[0])
    assert not np.array_equal(masks[2], masks[1])


@pytest.mark.parametrize(
    ("more", "said"),
    [(["--zoom"], "--replay"), (["--plain", "--obey"], "--obey"), (["--adapted", "no.safetensors"], "no.safetensors")],
)
def test_segment_says_what_does_not_go_together(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], said: str
) -> None:
    assert run(["segment", str(picture), "--click", "9,9", "--out", str(tmp_path / "m.png"), *more]) != 0
    assert said in capsys.readouterr().err


def test_segment_obeys_every_click_when_asked_to(picture: Path, tmp_path: Path) -> None:
    clicks = [(200 + 16 * i, 250, i % 2 == 0) for i in range(8)]  # no decoder's mask has such teeth
    arguments = ["segment", str(picture), "--runtime", "torch"]
    for x, y, positive in clicks:
        arguments += ["--click", f"{x},{y}" + ("" if positive else ",-")]
    heeded = []
    for option in ("--no-obey", "--obey"):
        assert run([*arguments, option, "--out", str(tmp_path / "m.png")]) == 0
        mask = np.asarray(Image.open(tmp_path / "m.png")) > 0
        heeded.append([mask[y, x] == positive for x, y, positive in clicks])
    assert not all(heeded[0])
    assert all(heeded[1])
