"""The notebook runs from top to bottom."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "examples" / "learning.ipynb"


def test_it_runs_and_learns(capsys: pytest.CaptureFixture[str]) -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    names: dict[str, object] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    assert "'published'" in capsys.readouterr().out
    assert len(names["after"]) == len(names["before"]) == 6  # type: ignore[arg-type]


def test_it_shows_pictures() -> None:
    outputs = [o for cell in json.loads(NOTEBOOK.read_text())["cells"] for o in cell.get("outputs", [])]
    assert sum("image/png" in o.get("data", {}) for o in outputs) == 2
