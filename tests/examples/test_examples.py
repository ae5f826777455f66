"""Every example runs as its docstring says, and is short."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

FOLDER = Path(__file__).resolve().parents[2] / "examples"
EXAMPLES = sorted(FOLDER.glob("*.py"))
NEEDS = {"resume": ["learn_and_keep"]}


def command(example: Path) -> list[str]:
    """The arguments in the example's docstring."""
    found = re.search(rf"python examples/{example.name}((?: [\w.]+)*)", example.read_text())
    assert found is not None, f"{example.name} does not say how to run it"
    return found.group(1).split()


def run(example: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(example), *command(example)])
    runpy.run_path(str(example), run_name="__main__")


def test_there_are_ten_and_each_is_at_most_20_lines() -> None:
    assert len(EXAMPLES) == 10
    assert {e.name: n for e in EXAMPLES if (n := len(e.read_text().splitlines())) > 20} == {}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.stem)
def test_it_runs(
    example: Path,
    tmp_path: Path,
    photo: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(photo).save("photo.jpg", quality=95)
    Path("photos").mkdir()
    Image.fromarray(photo[::2, ::2]).save("photos/small.png")
    for before in NEEDS.get(example.stem, ()):
        run(FOLDER / f"{before}.py", monkeypatch)
    run(example, monkeypatch)
    assert capsys.readouterr().out or any(tmp_path.rglob("*.safetensors"))
