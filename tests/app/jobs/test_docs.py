"""What docs/scale.md shows is what the command takes, and what a target holds."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer
from livesam.app.main import app, run

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "scale.md").read_text().partition("## A million images")[2]
TEXT = TEXT.partition("\n## ")[0]
BLOCKS: list[tuple[str, str]] = re.findall(r"```(\w*)\n(.*?)```", TEXT, re.DOTALL)
LINES = [line.split("  #")[0].strip() for kind, block in BLOCKS for line in block.splitlines() if kind == "sh"]


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("livesam ")])
def test_commands_parse(line: str) -> None:
    name, *words = shlex.split(line)[1:]
    command = typer.main.get_command(app).get_command(None, name)  # type: ignore[attr-defined]
    command.make_context(name, words)


def test_the_examples_read_what_the_command_wrote(
    photos: Path, tmp_path: Path, toy: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["embed", "photos", "--out", "embeddings", "--format", "parquet"]) == 0
    names: dict[str, object] = {}
    for block in (block for kind, block in BLOCKS if kind == "python"):
        exec(block, names)
    assert names["features"].shape == (9, 256, 4, 4)  # type: ignore[attr-defined]
    assert names["shape"] == (1, 256, 4, 4)
    assert names["problems"] == []
    assert {path.name for path in Path("embeddings").iterdir()} == {"manifest.json", "shards", "records", "job.lock"}
