from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from livesam.app.main import run
from livesam.app.photos import PHOTOS
from PIL import Image


def test_demo_writes_pictures_and_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("skimage")
    out = tmp_path / "new" / "demo"
    assert run(["demo", "--out", str(out)]) == 0
    table = capsys.readouterr().out
    report = json.loads((out / "report.json").read_text())
    assert [photo["name"] for photo in report["photos"]] == [photo.name for photo in PHOTOS]
    for photo, shown in zip(PHOTOS, report["photos"], strict=True):
        assert photo.name in table
        assert shown["encode_ms"] > 1  # the warm-up image was another one: nothing came from the cache
        with Image.open(out / shown["picture"]) as picture:
            assert np.asarray(picture).std() > 5
        for item, answered in zip(photo.objects, shown["objects"], strict=True):
            assert answered["name"] == item.name
            assert len(answered["answers"]) == len(item.clicks) + (item.box is not None)
            assert 0 < answered["area"] < 1
    assert {path.name for path in out.iterdir()} == {
        *(f"{photo.name}.png" for photo in PHOTOS),
        "overview.jpg",
        "report.json",
    }


def test_demo_into_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert run(["demo", "--out", str(tmp_path / "file")]) == 2
    assert "names a file" in capsys.readouterr().err
