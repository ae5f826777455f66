from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from livesam.engine.files.atomic import atomic_write


def test_the_file_appears_whole_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    with atomic_write(target) as file:
        file.write(b"new")
        assert not target.exists()
        assert Path(file.name).parent == tmp_path
    assert target.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")

    def write_half() -> None:
        with atomic_write(target) as file:
            file.write(b"half")
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        write_half()
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    with atomic_write(tmp_path / "atomic") as file:
        file.write(b"x")
    assert (tmp_path / "atomic").stat().st_mode == plain.stat().st_mode


def test_a_missing_folder_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "no" / "a.bin") as file:
        file.write(b"x")


def test_a_target_that_is_a_folder_leaves_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"), atomic_write(tmp_path / "folder") as file:
        file.write(b"x")
    assert os.listdir(tmp_path) == ["folder"]


def test_the_file_is_also_a_path_for_writers_that_open_it_themselves(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    values = np.arange(5, dtype=np.float32)
    with atomic_write(tmp_path / "a.safetensors") as file:
        save_file({"a": values}, file)
    np.testing.assert_array_equal(load_file(tmp_path / "a.safetensors")["a"], values)
    assert os.listdir(tmp_path) == ["a.safetensors"]


def test_an_error_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    target = tmp_path / "missing" / "mask.png"
    with pytest.raises(FileNotFoundError) as caught, atomic_write(target):
        pass
    assert caught.value.filename == str(target)
    assert ".tmp" not in str(caught.value)


@pytest.mark.parametrize("named", [True, False])
def test_a_full_disk_names_the_file_that_was_asked_for(tmp_path: Path, named: bool) -> None:
    def write_to_a_full_disk() -> None:
        with atomic_write(tmp_path / "mask.png") as file:
            raise OSError(28, "No space left on device", *([os.fspath(file)] if named else []))

    with pytest.raises(OSError, match="No space left") as caught:
        write_to_a_full_disk()
    assert caught.value.filename == str(tmp_path / "mask.png")
    assert os.listdir(tmp_path) == []
