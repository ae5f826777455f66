from __future__ import annotations

import json

import numpy as np
import pytest
from livesam.engine.values.prompt import Box, Click, Prompt

MASK = np.linspace(-1, 1, 64, dtype=np.float32).reshape(8, 8)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "3", None, [3], 1j, 10**400])
def test_coordinates_are_finite_numbers(value: object) -> None:
    for make in (lambda: Click(value, 1), lambda: Click(1, value)):  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="a click needs two finite coordinates"):
            make()
    with pytest.raises(ValueError, match="a box needs four finite coordinates"):
        Box(0, 0, value, 9)  # type: ignore[arg-type]


@pytest.mark.parametrize("positive", [-1, 2, "no", "yes", None, 0.5, [True]])
def test_positive_is_yes_or_no(positive: object) -> None:
    with pytest.raises(ValueError, match="positive is True"):
        Click(1, 2, positive)  # type: ignore[arg-type]


def test_numbers_of_numpy_and_sams_labels_become_pythons() -> None:
    click = Click(np.float32(1.5), np.int64(2), np.bool_(False))
    assert json.dumps([click.x, click.y, click.positive]) == "[1.5, 2.0, false]"
    assert Click(1, 2, 1) == Click(1, 2, np.int32(1)) == Click(1, 2)
    assert Click(1, 2, 0).positive is False
    assert type(Box(np.float64(1), 2, 3, 4).x0) is float


def test_prompts_hold_clicks_boxes_and_logits_alone() -> None:
    for clicks, words in (
        (((10, 20),), r"clicks are Click\(x, y, positive\), got \(10, 20\)"),
        ((Click(1, 2), None), "got None"),
        (Click(1, 2), "a sequence of Click"),
        ("12", "a sequence of Click"),
    ):
        with pytest.raises(ValueError, match=words):
            Prompt(clicks)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"box is a Box\(x0, y0, x1, y1\), got \(1, 2, 3, 4\)"):
        Prompt(box=(1, 2, 3, 4))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one"):
        Prompt(())
    with pytest.raises(ValueError, match="got None"):
        Prompt((Click(1, 2),)).with_click(None)  # type: ignore[arg-type]
    assert Prompt([Click(1, 2)]).clicks == (Click(1, 2),)  # type: ignore[arg-type]


def test_masks_are_no_logits() -> None:
    for mask, words in (
        (MASK > 0, "got bool: give an answer's low_res_logits, not its mask"),
        ((MASK > 0).astype(np.uint8), "got uint8"),
        (MASK.tolist(), "got list"),
        (MASK[0], "2-D"),
        (np.full((4, 4), np.nan, np.float32), "finite"),
    ):
        with pytest.raises(ValueError, match=words):
            Prompt(mask_logits=mask)  # type: ignore[arg-type]
    assert Prompt(mask_logits=MASK).mask_logits is MASK
    wide = Prompt(mask_logits=MASK.astype(np.float64)).mask_logits
    assert wide is not None
    assert wide.dtype == np.float32
