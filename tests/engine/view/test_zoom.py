"""Where zoom looks, and logits carried from one window to another."""

from __future__ import annotations

import numpy as np
import pytest
from livesam.engine.values.prompt import Box, Click, Prompt
from livesam.engine.values.window import Window
from livesam.engine.view.geometry import ResizeGeometry, postprocess
from livesam.engine.view.view import carried
from livesam.engine.view.zoom import MARGIN, ROOM, next_window

HW = (600, 800)
WHOLE = Window.whole(HW)
AT = Prompt((Click(110, 110),))


def shown(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    mask = np.zeros(HW, bool)
    mask[y0:y1, x0:x1] = True
    return mask


def test_a_window_has_room_around_a_small_object() -> None:
    window = next_window(shown(200, 200, 300, 260), Prompt((Click(250, 230),)), WHOLE)
    side = ROOM * 100
    assert window.hw == pytest.approx((side, side), abs=2)
    assert (window.x0 + window.x1) / 2 == pytest.approx(250, abs=1)
    assert (window.y0 + window.y1) / 2 == pytest.approx(230, abs=1)


def test_a_window_ends_at_the_image() -> None:
    window = next_window(shown(0, 0, 100, 100), Prompt((Click(50, 50),)), WHOLE)
    assert (window.x0, window.y0) == (0, 0)
    assert window.within(HW)
    window = next_window(shown(700, 500, 800, 600), Prompt((Click(750, 550),)), WHOLE)
    assert (window.x1, window.y1) == (800, 600)


@pytest.mark.parametrize(
    "mask", [shown(0, 0, 0, 0), shown(100, 50, 600, 500)], ids=["nothing is shown", "the object is large"]
)
def test_the_whole_image_is_looked_at(mask: np.ndarray) -> None:
    assert next_window(mask, AT, WHOLE) == WHOLE
    assert next_window(mask, AT, Window(100, 100, 250, 250)) == WHOLE


def test_positive_clicks_the_newest_click_and_the_box_are_in_the_window() -> None:
    mask = shown(200, 200, 260, 260)
    away, far = Click(330, 210), Click(400, 400, positive=False)
    both = next_window(mask, Prompt((away, far)), WHOLE)
    assert both.clicks((away, far)) == (
        Click(330 - both.x0, 210 - both.y0),
        Click(400 - both.x0, 400 - both.y0, positive=False),
    )
    older = next_window(mask, Prompt((far, away)), WHOLE)
    assert len(older.clicks((far, away))) == 1, "a negative click of before pulls no more"
    boxed = next_window(mask, Prompt(box=Box(150, 180, 320, 300)), WHOLE)
    assert boxed.x0 <= 150
    assert boxed.x1 >= 320


def test_a_window_stays_until_it_is_left_or_much_too_large() -> None:
    first = next_window(shown(200, 200, 300, 300), Prompt((Click(250, 250),)), WHOLE)
    grown = int(first.x1 - MARGIN * 120) - 1
    assert next_window(shown(grown - 100, 200, grown, 300), Prompt((Click(250, 250),)), first) == first
    moved = next_window(shown(first.x1 - 50, 200, first.x1, 300), Prompt((Click(first.x1 - 20, 250),)), first)
    assert moved != first
    assert moved.x1 > first.x1
    smaller = next_window(shown(240, 240, 270, 270), Prompt((Click(250, 250),)), first)
    assert max(smaller.hw) < 0.7 * max(first.hw)


def test_a_window_at_the_border_need_not_leave_a_margin_there() -> None:
    first = next_window(shown(0, 200, 100, 300), Prompt((Click(50, 250),)), WHOLE)
    assert first.x0 == 0
    assert next_window(shown(0, 200, 100, 300), Prompt((Click(50, 250),)), first) == first


def blob(x: float, y: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[: HW[0], : HW[1]]
    return (radius - np.hypot(columns - x, rows - y)).astype(np.float32)


def low_res(logits: np.ndarray, size: int = 256) -> np.ndarray:
    import cv2

    height, width = (-(-side // 4) for side in ResizeGeometry.of(logits.shape, size).resized_hw)
    result = np.full((size // 4, size // 4), -8, np.float32)
    result[:height, :width] = cv2.resize(logits, (width, height), interpolation=cv2.INTER_AREA)
    return result


def test_logits_are_carried_into_a_window_and_back() -> None:
    truth = blob(300, 250, 60)
    window = Window(200, 150, 420, 360)
    inside = carried(low_res(truth), WHOLE, window, 256)
    assert inside.shape == (64, 64)
    fine = postprocess(inside, ResizeGeometry.of(window.hw, 256)) > 0
    overlap = (fine & (truth[window.part] > 0)).sum() / (fine | (truth[window.part] > 0)).sum()
    assert overlap > 0.9
    back = postprocess(carried(inside, window, WHOLE, 256), ResizeGeometry.of(HW, 256)) > 0
    assert not back[:140].any()
    assert (back & (truth > 0)).sum() / (back | (truth > 0)).sum() > 0.85


def test_what_no_window_saw_is_background() -> None:
    everything = np.full((64, 64), 5, np.float32)
    result = carried(everything, Window(100, 100, 200, 200), Window(150, 100, 250, 200), 256)
    assert (result[:, :30] > 0).all()
    assert (result[:, 34:] < 0).all()
    assert (carried(everything, Window(0, 0, 50, 50), Window(60, 0, 110, 50), 256) < 0).all()


def test_the_same_window_changes_nothing() -> None:
    logits = np.zeros((64, 64), np.float32)
    assert carried(logits, WHOLE, WHOLE, 256) is logits


@pytest.mark.parametrize("corners", [(5, 0, 5, 9), (0, 4, 9, 2), (-1, 0, 5, 5)])
def test_an_empty_window_is_refused(corners: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="x0 < x1"):
        Window(*corners)
