"""Clicks are obeyed, where the decoder heeded them nothing changes, and a correction stays near its click."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from livesam.engine.serving.slot import DecoderSlot
from livesam.engine.session.cache import EmbeddingCache
from livesam.engine.session.session import Session
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.prompt import Click, Prompt
from livesam.engine.values.result import DecoderOutput
from livesam.engine.values.window import Window
from livesam.engine.view.bumps import Colours
from livesam.engine.view.geometry import ResizeGeometry, postprocess
from livesam.engine.view.look import Look
from livesam.engine.view.obey import MARGIN, REACH, low_res_colours, obey
from livesam.engine.view.points import geometry_of
from livesam.engine.view.view import View

HW = (90, 120)
GEOMETRY = ResizeGeometry.of(HW, 512)  # low-res 128 x 128, of which 96 rows are image


def pixels() -> np.ndarray:
    """Left half dark, right half bright."""
    image = np.full((*HW, 3), 40, np.uint8)
    image[:, 60:] = 200
    return image


def embedding(hw: tuple[int, int]) -> ImageEmbedding:
    return ImageEmbedding(np.zeros((1, 256, 32, 32), np.float32), hw, ResizeGeometry.of(hw, 512).resized_hw, str(hw))


class Encoder:
    runtime = "fake"

    def key(self, digest: str) -> str:
        return str(HW)

    def encode(self, image: np.ndarray, digest: str | None = None) -> ImageEmbedding:
        return embedding((image.shape[0], image.shape[1]))

    def close(self) -> None: ...


class Refusing:
    """A decoder that sees no object anywhere."""

    runtime = "fake"
    concurrent = True
    painter = None

    @property
    def aside(self) -> Refusing:
        return self

    def decode(self, embedding: ImageEmbedding, prompts: Sequence[Prompt]) -> DecoderOutput:
        return DecoderOutput(
            np.full((len(prompts), 4, 128, 128), -3.0, np.float32), np.full((len(prompts), 4), 0.5, np.float32)
        )

    def load_weights(self, weights: Any) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def colours() -> Colours:
    return low_res_colours(pixels(), GEOMETRY)


def said(logits: np.ndarray, click: Click) -> float:
    """The logit at a click, as the mask at full size has it."""
    return float(postprocess(logits, GEOMETRY)[int(click.y), int(click.x)])


def test_an_ignored_click_becomes_part_of_the_mask(colours: Colours) -> None:
    logits = np.full((128, 128), -3.0, np.float32)
    click = Click(30, 45)
    result = obey(logits, colours, [click], GEOMETRY)
    assert said(result, click) == pytest.approx(MARGIN, abs=0.5)
    assert said(result, Click(30, 80)) == pytest.approx(-3.0, abs=1e-3), "far away nothing changes"
    assert (logits == -3.0).all(), "the decoder's own answer is not written to"


def test_a_negative_click_cuts_a_hole(colours: Colours) -> None:
    click = Click(30, 45, positive=False)
    result = obey(np.full((128, 128), 4.0, np.float32), colours, [click], GEOMETRY)
    assert said(result, click) < -1
    assert said(result, Click(50, 80)) == pytest.approx(4.0, abs=1e-3)


def test_a_correction_stops_where_the_colour_changes(colours: Colours) -> None:
    click = Click(57, 45)  # three pixels left of the edge
    result = obey(np.full((128, 128), -3.0, np.float32), colours, [click], GEOMETRY)
    same, other = said(result, Click(53, 45)), said(result, Click(62, 45))
    assert same > other + 1
    assert other == pytest.approx(-3.0, abs=0.2)


def test_heeded_clicks_change_nothing(colours: Colours) -> None:
    logits = np.full((128, 128), 5.0, np.float32)
    assert obey(logits, colours, [Click(30, 45), Click(80, 20)], GEOMETRY) is logits
    assert obey(logits, colours, [], GEOMETRY) is logits


def test_heeded_clicks_keep_what_they_have_next_to_ignored_ones(colours: Colours) -> None:
    logits = np.full((128, 128), -4.0, np.float32)
    ignored, heeded = Click(30, 45), Click(34, 45, positive=False)
    result = obey(logits, colours, [heeded, ignored], GEOMETRY)
    assert said(result, ignored) > 0
    assert said(result, heeded) < -2.5


@pytest.mark.parametrize("hw", [(480, 640), (640, 480), (90, 120)])
@pytest.mark.parametrize("logit", [-3.0, -12.0])
def test_all_of_many_clicks_on_a_busy_image_are_obeyed(hw: tuple[int, int], logit: float) -> None:
    """In the mask at full size, down to its last row and column."""
    rng = np.random.default_rng(0)
    geometry = ResizeGeometry.of(hw, 512)
    noise = rng.integers(0, 256, (hw[0] // 4, hw[1] // 4, 3), dtype=np.uint8)
    colours = low_res_colours(cv2.resize(noise, hw[::-1], interpolation=cv2.INTER_CUBIC), geometry)
    height, width = hw
    places = rng.integers(0, (width, height), (12, 2)).tolist()
    places += [(width - 1, 7), (9, height - 1), (width - 1, height - 1), (0, 0)]
    clicks = [Click(x, y, positive=index % 3 > 0) for index, (x, y) in enumerate(places)]
    logits = np.full((128, 128), logit, np.float32)
    logits[::2] *= -1  # stripes, so clicks of both signs are contradicted
    mask = postprocess(obey(logits, colours, clicks, geometry), geometry) > 0
    assert all(mask[int(c.y), int(c.x)] == c.positive for c in clicks)


def pieces(mask: np.ndarray) -> list[np.ndarray]:
    """Its connected components."""
    count, labels = cv2.connectedComponents(mask.astype(np.uint8))
    return [labels == label for label in range(1, count)]


SPECK = (REACH * 128) ** 2  # cells


@pytest.mark.parametrize("seed", range(8))
def test_a_correction_leaves_no_islands_and_holes_that_nobody_asked_for(seed: int) -> None:
    """On texture, where colours are alike and unlike from pixel to pixel, and logits are near 0."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    colours = low_res_colours(np.asarray(cv2.resize(noise, HW[::-1]), np.uint8), GEOMETRY)
    logits = cv2.GaussianBlur(rng.normal(0, 12, (128, 128)).astype(np.float32), (0, 0), 3) - 0.5
    places = rng.integers((5, 5), (115, 85), (8, 2)).tolist()
    clicks = [Click(x, y, positive=index % 2 == 0) for index, (x, y) in enumerate(places)]
    result = obey(logits, colours, clicks, GEOMETRY)
    assert np.array_equal(result, obey(logits, colours, clicks, GEOMETRY))
    asked = np.zeros((128, 128), np.bool_)
    for click in clicks:
        assert (said(result, click) > 0) == click.positive
        column, row = (int((at + 0.5) * 128 / 120 - 0.5) for at in (click.x, click.y))
        asked[row - 1 : row + 3, column - 1 : column + 3] = True
    seen = slice(len(colours)), slice(colours.shape[1])
    for sign in (1, -1):
        before = [piece.tobytes() for piece in pieces(sign * logits[seen] > 0)]
        after = pieces(sign * result[seen] > 0)
        assert all(piece.sum() >= SPECK or piece.tobytes() in before or (piece & asked[seen]).any() for piece in after)


def test_what_a_correction_cuts_off_goes_and_what_the_decoder_drew_stays(colours: Colours) -> None:
    logits = np.full((128, 128), -3.0, np.float32)
    logits[30:60, 10:30] = 4.0  # the object, in the dark half
    logits[44:46, 30:50] = 1.0  # an arm
    logits[43:46, 46:49] = 6.0  # and its hand
    logits[20:22, 40:42] = 4.0  # a speck
    result = obey(logits, colours, [Click(37, 41.5, positive=False)], GEOMETRY)
    assert len(pieces(logits > 0)) == 2
    whole, speck = sorted(pieces(result > 0), key=np.sum, reverse=True)
    assert whole.sum() >= 20 * 30
    assert not (result[:, 40:] > 0)[40:50].any(), "the hand went with the arm"
    assert np.array_equal(speck, (logits > 0) & (np.arange(128)[:, None] < 22))


def test_a_small_mask_is_not_turned_over_as_a_whole(colours: Colours) -> None:
    """A box may have asked for it."""
    logits = np.full((128, 128), -3.0, np.float32)
    logits[40:43, 40:43] = 20.0
    logits[40:43, 43:46] = 1.0
    result = obey(logits, colours, [Click(44 * 120 / 128, 41 * 120 / 128, positive=False)], GEOMETRY)
    assert 0 < (result > 0).sum() <= 9


def test_contradicting_clicks_stay_finite_and_the_later_one_counts(colours: Colours) -> None:
    logits = np.full((128, 128), -3.0, np.float32)
    both = [Click(30, 45, positive=False), Click(30, 45)]
    assert np.array_equal(obey(logits, colours, both, GEOMETRY), obey(logits, colours, both[1:], GEOMETRY))
    nearly = [Click(30, 45, positive=False), Click(30.2, 45)]
    assert said(obey(logits, colours, nearly, GEOMETRY), nearly[1]) > 0, "in one cell"
    beside = obey(logits, colours, [Click(30, 45), Click(31, 45, positive=False)], GEOMETRY)
    assert np.isfinite(beside).all()
    assert np.abs(beside).max() < 60


def test_logits_that_are_not_finite_come_back_as_they_are(colours: Colours) -> None:
    logits = np.full((128, 128), np.nan, np.float32)
    assert obey(logits, colours, [Click(30, 45)], GEOMETRY) is logits


def test_clicks_at_the_corners_and_the_padding(colours: Colours) -> None:
    logits = np.full((128, 128), -3.0, np.float32)
    corners = [Click(x, y) for x in (0, 119.9) for y in (0, 89.9)]
    result = obey(logits, colours, corners, GEOMETRY)
    assert all(said(result, corner) > 0 for corner in corners)
    assert (result[colours.shape[0] :] == -3.0).all(), "but for one row the padding is nobody's"


def test_large_images_are_thinned_before_they_are_scaled() -> None:
    geometry = ResizeGeometry.of((900, 4096), 512)
    image = np.zeros((900, 4096, 3), np.uint8)
    image[:, 2048:] = 200
    colours = low_res_colours(image, geometry)
    assert colours.shape == (-(-geometry.resized_hw[0] // 4) + 1, 128, 3)
    assert colours[:, :61].max() == 0
    assert colours[:, 67:].min() == 200


def test_a_view_obeys_in_its_window_and_not_without_pixels() -> None:
    whole = View.whole(embedding(HW), pixels())
    window = whole.part(Window(10, 10, 110, 80), lambda part: embedding((part.shape[0], part.shape[1])))
    logits = np.full(whole.low_res_hw, -3.0, np.float32)
    inside, beyond = Click(30, 45), Click(2, 2)
    assert np.array_equal(window.obeyed(logits, [inside, beyond]), window.obeyed(logits, [inside]))
    assert not np.array_equal(window.obeyed(logits, [inside]), whole.obeyed(logits, [inside]))
    assert window.obeyed(logits, [beyond]) is logits
    assert View.whole(embedding(HW), None).obeyed(logits, [inside]) is logits
    assert geometry_of(window.embedding).original_hw == (70, 100)


@pytest.mark.parametrize("zoom", [False, True])
def test_a_session_obeys_when_told_to(zoom: bool) -> None:
    """And only then; all four masks of ``predict_all`` are the decoder's own."""
    session = Session(
        Encoder(), DecoderSlot(lambda _: Refusing(), {"w": np.zeros(3, np.float32)}), look=Look(zoom=zoom)
    )
    session.set_image(pixels())
    assert not session.click(20, 20).mask.any()
    session.reset()
    session.look = Look(zoom=zoom, obey=True)
    session.click(20, 20)
    second = session.click(90, 20)
    assert second.mask[20, 20]
    assert second.mask[20, 90]
    assert not second.mask[60].any()
    third = session.click(90, 20, positive=False)
    assert not third.mask[20, 90]
    again = session.answer()
    assert again is not None
    assert np.array_equal(again.mask, third.mask)
    first = Prompt((Click(20, 20),))
    assert session.predict(first).mask[20, 20]
    assert not any(result.mask.any() for result in session.predict_all(first))


def test_a_restored_session_obeys_only_where_it_has_the_pixels(tmp_path: Path) -> None:
    slot = DecoderSlot(lambda _: Refusing(), {"w": np.zeros(3, np.float32)})
    saved = Session(Encoder(), slot, look=Look(obey=True))
    saved.set_image(pixels())
    assert saved.click(20, 20).mask[20, 20]
    saved.save(tmp_path / "log")
    cache = EmbeddingCache(2**20)
    cache.put(embedding(HW))
    for given, obeyed in ((pixels(), True), (None, False)):
        session = Session(Encoder(), slot, cache, look=Look(obey=True))
        before = session.restore(tmp_path / "log", given)
        assert before is not None
        assert before.mask[20, 20], "an answer that was given stays"
        assert session.click(90, 20).mask[20, 90] == obeyed
