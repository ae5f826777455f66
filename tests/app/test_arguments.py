from __future__ import annotations

from pathlib import Path

import pytest
from livesam.app.arguments import build_prompt, check_output, parse_bands, parse_box, parse_click
from livesam.engine.values.prompt import Box, Click


@pytest.mark.parametrize(
    ("text", "click"),
    [
        ("3,4", Click(3, 4)),
        (" 3.5 , 4 ", Click(3.5, 4)),
        ("3,4,+", Click(3, 4)),
        ("3,4,-", Click(3, 4, False)),
        ("-1,2", Click(-1, 2)),
    ],
)
def test_clicks(text: str, click: Click) -> None:
    assert parse_click(text) == click


@pytest.mark.parametrize("text", ["", "3", "3,4,5", "3,4,-,1", "a,b", "nan,3", "3,inf", "3;4"])
def test_malformed_clicks(text: str) -> None:
    with pytest.raises(ValueError, match="click"):
        parse_click(text)


def test_box() -> None:
    assert parse_box("1,2,30,40.5") == Box(1, 2, 30, 40.5)


@pytest.mark.parametrize("text", ["1,2,3", "30,2,1,40", "1,2,1,4", "1,2,nan,4", "x,2,3,4"])
def test_malformed_boxes(text: str) -> None:
    with pytest.raises(ValueError, match="box"):
        parse_box(text)


def test_bands() -> None:
    assert parse_bands(None) is None
    assert parse_bands("4") == (4,)
    assert parse_bands(" 3, 2,1") == (3, 2, 1)
    for text in ("", "0", "1,2", "1,2,3,4", "1,2,x", "-1", "1.0", "1,2,"):
        with pytest.raises(ValueError, match="--bands wants one or three numbers"):
            parse_bands(text)


def test_prompt_of_everything() -> None:
    prompt = build_prompt(["3,4", "5,6,-"], "0,0,9,9")
    assert prompt.clicks == (Click(3, 4), Click(5, 6, False))
    assert prompt.box == Box(0, 0, 9, 9)


def test_no_prompt() -> None:
    with pytest.raises(ValueError, match="at least one --click"):
        build_prompt([], None)


def test_outputs(tmp_path: Path) -> None:
    assert check_output(tmp_path / "mask.PNG", "--out", (".png",)) == tmp_path / "mask.PNG"
    with pytest.raises(ValueError, match=r"must end in \.png"):
        check_output(tmp_path / "mask.jpg", "--out", (".png",))
    with pytest.raises(ValueError, match="does not exist"):
        check_output(tmp_path / "no" / "mask.png", "--out", (".png",))
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ValueError, match="names a folder"):
        check_output(tmp_path / "folder.png", "--out", (".png",))
