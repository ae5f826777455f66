"""Red and green squares on black; encoder and decoder tell them by their colours, so what is found can be known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from livesam.app.annotations.coco import read as read_coco
from livesam.app.annotations.coco import write_rle
from livesam.app.annotations.values import Annotated, AnnotatedImage, Dataset
from livesam.app.jobs.manifest import verify
from livesam.app.main import run
from livesam.app.storage import Target
from livesam.engine.runtimes.base import PreparedEncoder
from livesam.engine.serving.slot import DecoderSlot
from livesam.engine.session.session import Session
from livesam.engine.values.result import DecoderOutput
from PIL import Image

HW = (256, 256)
RED, GREEN = (255, 0, 0), (0, 255, 0)
PLACES = {  # by image: colour, x, y
    "a.png": [(RED, 16, 16), (RED, 160, 160), (GREEN, 160, 16)],
    "below/b.png": [(RED, 96, 96), (GREEN, 16, 176)],
    "c.png": [],
}
SIDE = 64


class Colours(PreparedEncoder):
    """Which colour each cell has."""

    def __init__(self) -> None:
        super().__init__(512, "colours", "toy:cpu:fp32")

    def _run(self, prepared: np.ndarray) -> np.ndarray:
        cells = prepared.reshape(1, 3, 32, 16, 32, 16).mean(axis=(3, 5))
        features = np.random.default_rng(0).normal(0, 0.02, (1, 256, 32, 32)).astype(np.float32)
        features[:, :3] += cells > 0
        return features

    def _free(self) -> None: ...


class Squares:
    """Answers a click on a colour with all cells of that colour that are joined to it."""

    concurrent, runtime, painter = True, "toy:cpu:fp32", None

    def decode(self, embedding: Any, prompts: Any) -> DecoderOutput:
        logits = np.full((len(prompts), 4, 128, 128), -5, np.float32)
        ious = np.zeros((len(prompts), 4), np.float32)
        red, green = (embedding.numpy()[0, i] > 0.5 for i in range(2))
        for i, prompt in enumerate(prompts):
            x, y = int(prompt.clicks[0].x / 8), int(prompt.clicks[0].y / 8)
            for colour in (red, green):
                _, parts = cv2.connectedComponents(colour.astype(np.uint8))
                if parts[y, x]:
                    inside = cv2.resize((parts == parts[y, x]).astype(np.uint8), (128, 128), interpolation=0) > 0
                    logits[i, 2], ious[i, 2] = np.where(inside, 5, -5), 0.9
        return DecoderOutput(logits, ious)

    def close(self) -> None: ...


def square(x: int, y: int) -> np.ndarray:
    mask = np.zeros(HW, bool)
    mask[y : y + SIDE, x : x + SIDE] = True
    return mask


@pytest.fixture
def squares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import livesam.export.opening

    def open_session(*_: Any, **options: Any) -> Session:
        slot = DecoderSlot(lambda weights: Squares(), {"w": np.zeros(1, np.float32)})  # type: ignore[arg-type, return-value]
        return Session(Colours(), slot, look=options["look"])

    monkeypatch.setattr(livesam.export.opening, "open_session", open_session)
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    for name, places in PLACES.items():
        pixels = np.zeros((*HW, 3), np.uint8)
        for colour, x, y in places:
            pixels[square(x, y)] = colour
        Image.fromarray(pixels).save(folder / name)
    return folder


def found_in(out: Path) -> dict[str, list[tuple[str, tuple[int, int, int, int]]]]:
    images = read_coco((out / "annotations.json").read_bytes()).images
    return {one.name: sorted((it.label, it.box) for it in one.objects) for one in images}


def boxes(name: str, *colours: tuple[int, int, int]) -> list[tuple[int, int, int, int]]:
    return [(x, y, x + SIDE, y + SIDE) for colour, x, y in PLACES[name] if colour in colours]


def test_a_grid_finds_all_and_each_once(squares: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run(["label", str(squares), "--out", str(out), "--grid", "8", "--name", "square"]) == 0
    assert "3 labelled, 0 were there already, 3 shards and annotations.json, 5 masks" in capsys.readouterr().out
    found = found_in(out)
    assert list(found) == ["a.png", "below/b.png", "c.png"]
    for name, objects in found.items():
        assert {label for label, _ in objects} <= {"square"}
        wanted = sorted(boxes(name, RED, GREEN))
        assert np.abs(np.subtract([box for _, box in objects], wanted)).max(initial=0) <= 2
        assert len(objects) == len(wanted)
    assert verify(Target(str(out))) == []


def test_examples_of_one_image_find_their_kinds_in_the_others(squares: Path, tmp_path: Path) -> None:
    examples = [Annotated.of("red", square(16, 16)), Annotated.of("green", square(160, 16))]
    with open(squares / "examples.json", "wb") as file:
        known = AnnotatedImage("a.png", HW, tuple(one for one in examples if one is not None))
        write_rle(Dataset(("green", "red"), [known]), file)
    out = tmp_path / "out"
    assert run(["label", str(squares), "--out", str(out), "--like", str(squares / "examples.json")]) == 0
    assert [label for label, _ in found_in(out)["a.png"]] == ["green", "red", "red"]
    assert [label for label, _ in found_in(out)["below/b.png"]] == ["green", "red"]
    assert found_in(out)["c.png"] == []
    (red,) = [box for label, box in found_in(out)["below/b.png"] if label == "red"]
    assert np.abs(np.subtract(red, boxes("below/b.png", RED)[0])).max() <= 2


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools on NumPy 2
def test_parquet_has_a_row_a_mask_and_a_second_run_does_nothing(
    squares: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pyarrow import parquet
    from pycocotools import mask as tools

    arguments = ["label", str(squares), "--out", str(tmp_path / "out"), "--format", "parquet"]
    assert run(arguments) == 0
    assert not (tmp_path / "out" / "annotations.json").exists()
    rows = parquet.read_table(tmp_path / "out" / "shards").to_pylist()
    assert len(rows) == 5
    for row in rows:
        mask = tools.decode({"size": [row["height"], row["width"]], "counts": row["counts"].encode()})
        assert mask.shape == HW
        assert int(mask.sum()) == row["area"]
        assert mask[row["y0"] : row["y1"], row["x0"] : row["x1"]].sum() == row["area"]
    capsys.readouterr()
    assert run(arguments) == 0
    assert "0 labelled, 3 were there already" in capsys.readouterr().out
    assert run([*arguments, "--min-iou", "0.8"]) == 0  # nothing is left to do, so nothing is compared
    Image.fromarray(np.zeros((*HW, 3), np.uint8)).save(squares / "d.png")
    assert run([*arguments, "--min-iou", "0.8"]) == 1
    assert "give the options of then, or another --out" in capsys.readouterr().err


def test_wrong_examples_are_said(squares: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(name: str, hw: tuple[int, int]) -> str:
        one = Annotated.of("red", np.ones(hw, bool))
        assert one is not None
        with open(tmp_path / "examples.json", "wb") as file:
            write_rle(Dataset(("red",), [AnnotatedImage(name, hw, (one,))]), file)
        arguments = ["label", str(squares), "--out", str(tmp_path / "out"), "--like", str(tmp_path / "examples.json")]
        assert run(arguments) in (1, 2)
        return capsys.readouterr().err

    assert "is in none of" in refused("gone.png", HW)
    assert "has (256, 256)" in refused("a.png", (10, 10))
    (tmp_path / "examples.json").write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    assert run(["label", str(squares), "--out", "out", "--like", str(tmp_path / "examples.json")]) == 2
    assert "no object that could be an example" in capsys.readouterr().err
