"""Late clicks near a mask's border move that border, and what earlier clicks gained stays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from livesam.engine.session.question import Question, corrects, moved
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.painted import Painted
from livesam.engine.values.prompt import Box, Click, Prompt
from livesam.engine.values.step import Step
from livesam.engine.values.window import Window
from livesam.engine.view.border import FEWEST, FROM_CLICK, NEAR, moves_border
from livesam.engine.view.geometry import ResizeGeometry
from livesam.engine.view.look import Look
from livesam.engine.view.obey import low_res_colours, obey
from livesam.engine.view.view import View

HW = (512, 512)  # a low-res cell is 4 x 4 pixels
GEOMETRY = ResizeGeometry.of(HW, 512)
PIXELS = np.full((*HW, 3), 90, np.uint8)
EARLIER = (Click(256, 256), *(Click(20 + 9 * i, 20, positive=False) for i in range(FROM_CLICK - 2)))


def at_cell(x: float, y: float, positive: bool = True) -> Click:
    return Click(4 * x + 2, 4 * y + 2, positive)


@pytest.fixture
def last() -> np.ndarray:
    """A square of 60 x 60 cells of which the right 4 columns are missing."""
    logits = np.full((128, 128), -6.0, np.float32)
    logits[34:94, 34:90] = 6.0
    return logits


@pytest.fixture
def view() -> View:
    return View.whole(ImageEmbedding(np.zeros((1, 256, 32, 32), np.float32), HW, HW, "key"), PIXELS)


def test_a_click_near_the_border_that_contradicts_the_mask_moves_it(last: np.ndarray) -> None:
    assert moves_border(last, (*EARLIER, at_cell(92, 64)), GEOMETRY)
    assert moves_border(last, (*EARLIER, at_cell(87, 64, positive=False)), GEOMETRY)


@pytest.mark.parametrize(
    ("newest", "why"),
    [
        (at_cell(87, 64), "the mask has it already"),
        (at_cell(92, 64, positive=False), "nothing is there to be taken away"),
        (at_cell(110, 64), "far outside: another part of the object"),
        (at_cell(62, 64, positive=False), "far inside: a hole"),
    ],
)
def test_other_clicks_are_the_decoders(last: np.ndarray, newest: Click, why: str) -> None:
    assert not moves_border(last, (*EARLIER, newest), GEOMETRY), why


def test_so_are_early_clicks_specks_and_broken_answers(last: np.ndarray) -> None:
    newest = at_cell(92, 64)
    assert not moves_border(last, (*EARLIER, newest)[1 - FROM_CLICK :], GEOMETRY)
    speck = np.where(np.add.outer(np.arange(128), np.arange(128)) < 5, 6.0, -6.0).astype(np.float32)
    assert (speck > 0).sum() < FEWEST
    assert not moves_border(speck, (*EARLIER, at_cell(3, 3)), GEOMETRY)
    assert not moves_border(np.full_like(last, np.nan), (*EARLIER, newest), GEOMETRY)


def test_how_near_is_measured_in_the_masks_own_thickness(last: np.ndarray) -> None:
    reach = NEAR * 56 / 2
    inside, outside = (at_cell(89 + cells, 64) for cells in (int(reach), int(reach) + 2))
    assert moves_border(last, (*EARLIER, inside), GEOMETRY)
    assert not moves_border(last, (*EARLIER, outside), GEOMETRY)


def test_a_leaf_as_large_is_thin(last: np.ndarray) -> None:
    leaf = np.full_like(last, -6.0)
    leaf[34:42, 4:124] = 6.0
    assert not moves_border(leaf, (*EARLIER, at_cell(60, 44)), GEOMETRY)
    assert moves_border(leaf, (*EARLIER, at_cell(60, 42)), GEOMETRY)


def test_one_click_in_the_middle_of_a_missing_piece_brings_back_all_of_its_width(last: np.ndarray) -> None:
    colours = low_res_colours(PIXELS, GEOMETRY)
    result = obey(last, colours, (*EARLIER, at_cell(91.5, 64)), GEOMETRY)
    row = np.flatnonzero(result[64] > 0)
    assert 92 <= row.max() <= 95, "the click is 2 cells out, so the border belongs 4 cells out"
    gained = (result > 0) & ~(last > 0)
    assert 30 < gained.sum() < 4 * 60, "more than the click's own cells, less than beyond the side"
    far = np.ones((128, 128), np.bool_)
    far[30:98, 70:] = False
    assert np.array_equal(result[far] > 0, last[far] > 0)
    assert not ((last > 0) & ~(result > 0)).any(), "nothing is lost"


def test_a_negative_click_takes_as_much_away(last: np.ndarray) -> None:
    colours = low_res_colours(PIXELS, GEOMETRY)
    result = obey(last, colours, (*EARLIER, at_cell(87.5, 64, positive=False)), GEOMETRY)
    row = np.flatnonzero(result[64] > 0)
    assert 84 <= row.max() <= 87
    assert not ((result > 0) & ~(last > 0)).any()


def test_the_images_own_edges_are_no_borders(last: np.ndarray) -> None:
    """On all four sides alike: a wide image is padded below, a tall one on the right."""
    geometry = ResizeGeometry.of((300, 512), 512)  # 75 rows of cells
    for rows, y in ((slice(0, 60), 2), (slice(15, 75), 72)):
        logits = np.full((128, 128), -6.0, np.float32)
        logits[rows, 30:90] = 6.0
        assert not moves_border(logits, (*EARLIER, at_cell(60, y, positive=False)), geometry), "deep inside"


def test_a_border_moves_as_far_as_a_click_may_be_from_it_on_finer_grids_too() -> None:
    geometry = ResizeGeometry.of((1024, 1024), 1024)
    logits = np.full((256, 256), -6.0, np.float32)
    logits[38:218, 8:188] = 6.0
    colours = low_res_colours(np.full((1024, 1024, 3), 90, np.uint8), geometry)
    for depth in range(4, 60, 4):
        clicks = (*EARLIER, at_cell(188 + depth, 128))
        if moves_border(logits, clicks, geometry):
            result = obey(logits, colours, clicks, geometry)
            assert np.flatnonzero(result[128] > 0).max() > 188 + 1.5 * depth
    assert moves_border(logits, (*EARLIER, at_cell(208, 128)), geometry)
    deep = (at_cell(250, 250), at_cell(208, 128))  # the first is another object: it must not hold back the second
    assert np.flatnonzero(obey(logits, colours, deep, geometry)[128] > 0).max() > 218


def asked(view: View, last: np.ndarray, *clicks: Click, painted: bool = False) -> tuple[Prompt, Step]:
    """The next prompt, and the step before it."""
    mask = Painted.of(view.mask(last)[0]) if painted else None
    step = Step(Prompt(clicks[:-1]), last, 0.9, 3, view.window, painted=mask)
    return Prompt(clicks, mask_logits=last), step


def test_which_questions_correct_the_last_answer(view: View, last: np.ndarray) -> None:
    obeying = Look(obey=True)
    prompt, step = asked(view, last, *EARLIER, at_cell(91.5, 64))
    assert corrects(view, prompt, step, obeying)
    assert not corrects(view, prompt, step, Look())
    assert not corrects(view, prompt.with_mask(None), step, obeying), "nothing is fed back"
    assert not corrects(view, *asked(view, last, *EARLIER, at_cell(91.5, 64), painted=True), obeying)
    same = replace(step, prompt=prompt.with_mask(None))
    boxed = replace(prompt, box=Box(100, 100, 400, 400))
    assert not corrects(view, boxed, same, obeying), "a box is new, and the click an old one"
    assert not corrects(replace(view, colours=None), prompt, step, obeying)
    window = replace(view, window=Window(0, 0, 300, 300))
    assert not corrects(window, prompt, step, obeying), "the click is beyond the window"


def test_what_is_shown_then_is_the_last_mask_corrected_and_not_a_new_one(view: View, last: np.ndarray) -> None:
    before = last.copy()
    prompt, step = asked(view, last, *EARLIER, at_cell(91.5, 64))
    for look in (Look(obey=True), Look(obey=True, edges=True)):
        shown = moved(Question(view, prompt, corrects=True), step, look)
        assert shown.mask[4 * 40, 4 * 60], "what was there stays"
        assert shown.mask[4 * 64 + 2, 4 * 92], "and the piece is there"
        assert shown.iou == step.iou
    assert np.array_equal(last, before)


def test_a_painted_mask_is_fed_back_as_finely_as_the_window_sees(view: View) -> None:
    mask = np.zeros(HW, np.bool_)
    mask[100:121, 200:207] = True
    window = replace(view, window=Window(190, 90, 220, 130))
    step = Step(
        Prompt((Click(203, 110),)), np.zeros((128, 128), np.float32), 1.0, 0, view.window, painted=Painted.of(mask)
    )
    wanted = mask[window.window.part]
    got = window.mask(window.fed_back(step))[0][window.window.part]
    assert (got & wanted).sum() / (got | wanted).sum() > 0.95
