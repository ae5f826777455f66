"""What the README shows works as it stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import typer
from livesam.app.main import app, run
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS: list[tuple[str, str]] = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    line.split("#")[0].strip()
    for kind, block in BLOCKS
    if kind == "sh"
    for line in block.splitlines()
    if line.startswith("livesam ")
]
QUICK = [line for line in COMMANDS if line.split()[1] in ("segment", "embed", "doctor") and "vit_" not in line]


@pytest.fixture
def folder(tmp_path: Path, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(photo).save("photo.jpg", quality=95)
    Path("photos").mkdir()
    Path("embeddings").mkdir()
    Image.fromarray(photo[::2, ::2]).save("photos/small.jpg")
    return tmp_path


def test_the_python_examples(folder: Path) -> None:
    first, *others = [text for kind, text in BLOCKS if kind == "python"]
    assert len([line for line in first.splitlines() if line.strip()]) == 6
    names: dict[str, object] = {"__name__": "readme"}
    for block in (first, *others):  # each goes on from the one before
        exec(compile(block, "README.md", "exec"), names)
    assert np.asarray(Image.open("mask.png")).shape == (512, 512)
    assert names["session"].slot.current > 0  # type: ignore[attr-defined]
    assert Path("decoder.onnx").is_file()
    assert list(Path("decoders").iterdir())


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_parse(line: str) -> None:
    command = typer.main.get_command(app)
    words = shlex.split(line)[1:]
    context = command.make_context("livesam", words)
    while hasattr(command, "resolve_command"):
        _, command, words = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(command.name, words, parent=context)


@pytest.mark.parametrize("line", QUICK)
def test_quick_commands_run(line: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(shlex.split(line)[1:]) == 0, capsys.readouterr().err


def test_first_screen_has_the_picture_and_the_two_commands() -> None:
    first = README.splitlines()[:40]
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", "\n".join(first))
    assert pictures
    assert all((ROOT / name).is_file() for name in pictures)
    assert any(line.startswith("make run") for line in first)
    assert any(line.startswith("make test") for line in first)


def test_every_path_that_the_readme_names_exists() -> None:
    for name in re.findall(r"`((?:api|engine|export|adapter|benchmarks|app|docs|examples)/[\w./]*)`", README):
        assert (ROOT / name).exists(), name
