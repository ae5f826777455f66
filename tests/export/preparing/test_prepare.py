"""All that a session needs is there afterwards, whatever came between; nano, whose graphs were exported once."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from livesam.engine.files.lock import exclusive
from livesam.engine.values.errors import ExportError, ParityError
from livesam.export.files.manifest import manifest_path
from livesam.export.graphs import memory
from livesam.export.graphs.graph_cache import GraphCache
from livesam.export.opening import Opening
from livesam.export.preparing import prepare as prepare_module
from livesam.export.preparing.prepare import prepare
from livesam.export.preparing.record import FOLDER, Prepared, find, installed


@pytest.fixture
def cache(prepared: Path, tmp_path: Path) -> Path:
    """A cache with graphs of which nobody says that their engines were checked."""
    copy = tmp_path / "cache"
    shutil.copytree(prepared, copy)
    shutil.rmtree(GraphCache("nano", cache_dir=copy).folder / FOLDER)
    return copy


def test_it_is_done_once_and_says_what_it_did(cache: Path) -> None:
    told: list[str] = []
    opening = Opening("nano", cache_dir=cache)
    made = prepare(opening, told.append)
    assert (made.model, made.size) == ("nano", 512)
    assert made.encoder == "openvino:cpu:fp32"
    assert made.decoder == "onnxruntime:cpu:fp32"
    assert 0 < made.difference < 1e-4
    assert made.peak_mib > 100
    assert any("comparing the encoder of nano with PyTorch" in stage for stage in told)
    assert not any("exporting" in stage for stage in told)  # it went on where the one before had stopped
    told.clear()
    assert prepare(opening, told.append) == made
    assert told == []
    names = {Path(name).name for name in made.files}
    assert {"encoder-fp32-bias.onnx", "decoder-fp32.onnx", "decoder-fp32.onnx.json"} <= names
    assert all((cache / name).is_file() for name in made.files)


def test_an_engine_that_answers_otherwise_is_not_prepared(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = prepare_module.encoder_for

    def wrong(*args, **options):
        encoder = real(*args, **options)
        run = encoder._run
        encoder._run = lambda prepared: run(prepared) * np.float32(1.01)
        return encoder

    monkeypatch.setattr(prepare_module, "encoder_for", wrong)
    opening = Opening("nano", cache_dir=cache)
    with pytest.raises(ParityError, match="the encoder of nano on openvino:cpu:fp32: embedding differs"):
        prepare(opening)
    assert not (opening.graphs().folder / FOLDER).exists()


def test_what_a_killed_build_left_goes_and_what_it_had_finished_stays(cache: Path) -> None:
    graphs = GraphCache("nano", cache_dir=cache)
    encoder, decoder = graphs.encoder(), graphs.decoder()
    before = encoder.stat().st_mtime_ns
    manifest_path(decoder).unlink()  # killed before the last step
    staging = graphs.folder / f".{decoder.name}.abc.tmp"
    staging.mkdir()
    (staging / decoder.name).write_bytes(b"half")
    told: list[str] = []
    prepare(Opening("nano", cache_dir=cache), told.append)
    assert [stage for stage in told if "exporting" in stage] == ["exporting the decoder of nano (fp32)"]
    assert encoder.stat().st_mtime_ns == before
    assert not staging.exists()


def test_who_comes_second_waits_and_builds_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opening, asked, go_on, opened = Opening("nano", cache_dir=cache), threading.Event(), threading.Event(), []
    real = prepare_module.encoder_for

    def slow(*args, **options):
        opened.append(True)
        assert go_on.wait(60)
        return real(*args, **options)

    monkeypatch.setattr(prepare_module, "encoder_for", slow)
    answers: list[object] = []
    first = threading.Thread(target=lambda: answers.append(prepare(opening)))
    first.start()
    while not opened:
        first.join(0.01)

    def told(stage: str) -> None:
        assert stage == "waiting for another process that prepares it"
        asked.set()
        go_on.set()

    second = threading.Thread(target=lambda: answers.append(prepare(opening, told)))
    second.start()
    first.join()
    second.join()
    assert asked.is_set()
    assert opened == [True]
    assert answers[0] == answers[1]


def test_a_start_that_finds_all_imports_no_torch(prepared: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom livesam.export.opening import Opening, open_session\n"
        "open_session(Opening('nano', cache_dir=Path(sys.argv[1])), missing='beside')\n"
        "print('torch' in sys.modules, 'onnx' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(prepared)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_memory_is_asked_for_even_if_the_encoder_was_exported(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_mib", lambda: 100)
    with pytest.raises(ExportError, match=r"to build nano takes 1\.2 GiB of memory, 0\.1 GiB are free"):
        prepare(Opening("nano", cache_dir=cache))


def test_photos_make_int8_anew_under_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opening = Opening("nano", runtime="openvino", precision="int8", cache_dir=tmp_path / "cache")
    graphs, choices = opening.graphs(), (opening.choice("encoder"), opening.choice("decoder"))
    made = Prepared("nano", 512, "openvino:cpu:int8", "openvino:cpu:fp32", 0.1, 9, 1024, installed(), (), "")
    made.write(graphs.folder, *choices)

    def refuse_to_wait() -> None:
        raise LookupError

    def refuse(graphs: GraphCache, photos: Path | None = None) -> Path:
        assert photos == tmp_path
        assert find(graphs.folder, *choices) is None
        with pytest.raises(LookupError), exclusive(graphs.folder / "prepare.lock", refuse_to_wait):
            pass
        raise ParityError("masks differ")

    monkeypatch.setattr(GraphCache, "int8_encoder", refuse)
    assert prepare(opening) == made
    with pytest.raises(ParityError, match="masks differ"):
        prepare(opening, photos=tmp_path)
    assert find(graphs.folder, *choices) is None
    with pytest.raises(ValueError, match="calibrate int8"):
        prepare(Opening("nano", cache_dir=tmp_path), photos=tmp_path)
