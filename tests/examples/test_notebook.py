"""The notebook runs from top to bottom."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "examples" / "learning.ipynb"


def test_it_runs_and_learns(capsys: pytest.CaptureFixture[str]) -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    names: dict[str, Any] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    assert "'published'" in capsys.readouterr().out
    before, after = names["before"], names["after"]
    assert len(after) == len(before) == 6
    assert np.mean([result.iou for result in after]) > np.mean([result.iou for result in before]) + 0.05
    assert np.mean([roundness(one.mask) for one in after]) > np.mean([roundness(one.mask) for one in before])
    assert sum(result.mask[y, x] for result, (x, y) in zip(after, names["UNSEEN"], strict=True)) == 6


def roundness(mask: np.ndarray) -> float:
    """The share of the circle around a mask that it fills: near 1 for a coin, little for a coin and what is beside."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    (_, _), radius = cv2.minEnclosingCircle(np.concatenate(contours))
    return float(mask.sum() / (np.pi * (radius + 0.5) ** 2))


def test_it_shows_pictures() -> None:
    outputs = [o for cell in json.loads(NOTEBOOK.read_text())["cells"] for o in cell.get("outputs", [])]
    assert sum("image/png" in o.get("data", {}) for o in outputs) == 2
