"""Every example does what its docstring says, and is short."""

from __future__ import annotations

import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
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


def run(example: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run it as a program; its variables."""
    monkeypatch.setattr(sys, "argv", [str(example), *command(example)])
    return runpy.run_path(str(example), run_name="__main__")


def all_masks(names: dict[str, Any], out: str) -> None:
    masks = [saved(f"mask{token}.png") for token in range(4)]
    sizes = [int(n) for n in re.findall(r"mask \d: (\d+) pixels", out)]
    assert sizes == [mask.sum() for mask in masks]
    assert len(set(sizes)) == 4
    assert masks[2][200, 320]


def embed_folder(names: dict[str, Any], out: str) -> None:
    assert "1 encoded, 0 were there, 0 left out" in out
    assert "(256, 256)" in out
    assert names["done"].found == 0
    assert len(list(Path("embeddings").glob("*.safetensors"))) == 1


def export(names: dict[str, Any], out: str) -> None:
    assert "gave PyTorch's answers" in out
    graph = onnx.load("decoder.onnx")
    assert [i.name for i in graph.graph.input][:3] == ["image_embeddings", "point_coords", "point_labels"]
    assert Path("decoder.onnx.json").is_file()
    assert learned(names) > 0


def hover(names: dict[str, Any], out: str) -> None:
    sizes = [int(n) for n in re.findall(r"\): (\d+) pixels", out)]
    assert len(sizes) == 9
    assert min(sizes) > 0
    assert len(set(sizes)) > 1  # the mouse moved
    assert names["result"].mask[names["result"].mask.shape[0] // 2, int(names["x"])]


def learn(names: dict[str, Any], out: str) -> None:
    counts = names["learner"].stats().counts
    assert str(counts) in out
    assert counts["published"] >= 1
    assert learned(names) > 0


def learn_and_keep(names: dict[str, Any], out: str) -> None:
    assert [path.name for path in Path("decoders").iterdir()] == ["mushrooms.livesam.safetensors"]
    assert learned(names) > 0


def many_prompts(names: dict[str, Any], out: str) -> None:
    assert "64 masks" in out
    results = names["results"]
    assert names["best"].iou == max(result.iou for result in results)
    assert len({int(result.mask.sum()) for result in results}) > 8
    assert saved("mask.png").sum() == names["best"].mask.sum() > 0


def one_click(names: dict[str, Any], out: str) -> None:
    mask = saved("mask.png")
    assert mask[200, 320]
    assert f"{mask.mean():.1%} of the image" in out
    with Image.open("overlay.png") as overlay:
        assert overlay.mode == "RGB"


def resume(names: dict[str, Any], out: str) -> None:
    served, went_on = (int(n) for n in re.findall(r"version (\d+)", out))
    assert served > 0
    assert went_on > 0
    assert learned(names) > 0  # without a click: from the file


def roll_back(names: dict[str, Any], out: str) -> None:
    slot = names["session"].slot
    assert f"version {slot.current} serves the base again" in out
    assert names["learner"].stats().counts["published"] >= 1
    assert any(distance(slot, version.number) > 0 for version in slot.versions())  # there was something to undo
    assert learned(names) == 0


def saved(name: str) -> np.ndarray:
    """A mask's file, bool."""
    with Image.open(name) as image:
        return np.array(image) > 0


def learned(names: dict[str, Any]) -> float:
    """How far what served last is from the base."""
    slot = names["session"].slot
    return distance(slot, slot.current)


def distance(slot: Any, version: int) -> float:
    """The largest difference between a version's weights and the base's."""
    base, other = slot.weights(0), slot.weights(version)
    assert base.keys() == other.keys()
    return max(float(np.abs(base[name] - other[name]).max()) for name in base)


CHECKS: dict[str, Callable[[dict[str, Any], str], None]] = {
    check.__name__: check
    for check in (
        all_masks, embed_folder, export, hover, learn, learn_and_keep, many_prompts, one_click, resume, roll_back,
    )
}  # fmt: skip


def test_each_has_a_check_and_at_most_20_lines() -> None:
    assert {e.stem for e in EXAMPLES} == set(CHECKS)
    assert {e.name: n for e in EXAMPLES if (n := len(e.read_text().splitlines())) > 20} == {}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.stem)
def test_it_does_what_it_says(
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
    capsys.readouterr()
    CHECKS[example.stem](run(example, monkeypatch), capsys.readouterr().out)
