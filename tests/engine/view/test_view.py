"""Sessions that zoom, on a decoder that sees what is bright, as finely as its cells allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from livesam.engine.files.hashing import image_hash
from livesam.engine.serving.slot import DecoderSlot
from livesam.engine.session.session import Session
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.errors import SessionError
from livesam.engine.values.interaction import Interaction
from livesam.engine.values.prompt import Box, Click, Prompt
from livesam.engine.values.result import DecoderOutput, MaskResult
from livesam.engine.values.window import Window
from livesam.engine.view.edges import EdgeFilter
from livesam.engine.view.geometry import ResizeGeometry
from livesam.engine.view.look import Look
from livesam.engine.view.obey import low_res_colours
from livesam.engine.view.view import View

SIDE = 128  # the model's input; its masks have 32 x 32 cells
HW = (300, 400)
WHOLE = Window.whole(HW)
ZOOM = Look(zoom=True)


class Encoder:
    """Features are the grey values of the cells."""

    runtime = "fake"

    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []

    def key(self, digest: str) -> str:
        return digest

    def encode(self, image: np.ndarray, digest: str | None = None) -> ImageEmbedding:
        self.seen.append(image.shape[:2])
        geometry = ResizeGeometry.of(image.shape[:2], SIDE)
        height, width = (-(-side // 4) for side in geometry.resized_hw)
        cells = np.zeros((SIDE // 4, SIDE // 4), np.float32)
        cells[:height, :width] = cv2.resize(image[..., 0], (width, height), interpolation=cv2.INTER_AREA)
        features = np.zeros((1, 256, SIDE // 16, SIDE // 16), np.float32)
        features[0, :16] = cells.reshape(SIDE // 16, 4, SIDE // 16, 4).transpose(1, 3, 0, 2).reshape(16, 8, 8)
        return ImageEmbedding(features, image.shape[:2], geometry.resized_hw, image_hash(image))

    def close(self) -> None: ...


class Decoder:
    runtime = "fake"
    concurrent = True
    painter = None

    def __init__(self) -> None:
        self.prompts: list[Prompt] = []
        self.threshold, self.broken, self.ious = 127.5, False, (0.5, 0.5, 0.5, 0.5)

    def decode(self, embedding: ImageEmbedding, prompts: Sequence[Prompt]) -> DecoderOutput:
        self.prompts += prompts
        cells = embedding.numpy()[0, :16].reshape(4, 4, 8, 8).transpose(2, 0, 3, 1).reshape(32, 32)
        logits = np.broadcast_to((cells - self.threshold) / 20, (len(prompts), 4, 32, 32)).astype(np.float32)
        if self.broken:
            logits[:] = np.nan
        return DecoderOutput(logits, np.tile(np.array(self.ious, np.float32), (len(prompts), 1)))

    @property
    def aside(self) -> Decoder:
        return self

    def load_weights(self, weights: Any) -> None: ...

    def close(self) -> None: ...


def disk() -> np.ndarray:
    rows, columns = np.mgrid[: HW[0], : HW[1]]
    return np.hypot(columns - 240, rows - 170) < 14


@pytest.fixture
def image() -> np.ndarray:
    return np.repeat(np.where(disk(), 255, 0).astype(np.uint8)[..., None], 3, axis=2)


def open_session(**options: Any) -> tuple[Session, Encoder, Decoder]:
    encoder, decoder = Encoder(), Decoder()
    session = Session(encoder, DecoderSlot(lambda _: decoder, {"w": np.zeros(3, np.float32)}), **options)
    return session, encoder, decoder


def click_twice(session: Session, image: np.ndarray) -> MaskResult:
    """The second answer on a new image; a session that zooms does so for it."""
    session.set_image(image)
    session.click(240, 170)
    return session.click(230, 160)


def iou(mask: np.ndarray) -> float:
    return float((mask & disk()).sum() / (mask | disk()).sum())


def test_the_second_answer_sees_more_of_a_small_object(image: np.ndarray) -> None:
    session, encoder, decoder = open_session(look=ZOOM)
    session.set_image(image)
    first, second = session.click(240, 170), session.click(230, 160)
    assert first.window == WHOLE
    assert second.window != WHOLE
    assert second.mask.shape == HW
    assert iou(first.mask) < 0.9 < 0.95 < iou(second.mask)
    assert encoder.seen == [HW, second.window.hw]
    assert set(second.timings_ms) == {"zoom", "wait", "decode", "postprocess", "total"}
    told = decoder.prompts[1]
    assert told.clicks == second.window.clicks((Click(240, 170), Click(230, 160)))
    assert told.mask_logits is not None  # the first answer, as seen in the window
    assert 0.5 < (told.mask_logits > 0).sum() / (second.low_res_logits > 0).sum() < 2
    third = session.click(240, 165)
    assert third.window == second.window
    assert len(encoder.seen) == 2  # the window has not moved
    np.testing.assert_array_equal(decoder.prompts[2].mask_logits, second.low_res_logits)


def test_without_zoom_the_whole_image_is_seen(image: np.ndarray) -> None:
    session, encoder, _ = open_session()
    session.set_image(image)
    session.click(240, 170)
    assert session.click(230, 160).window == WHOLE
    assert encoder.seen == [HW]


def test_the_next_object_begins_at_the_whole_image(image: np.ndarray) -> None:
    session, encoder, _ = open_session(look=ZOOM)
    session.set_image(image)
    for leave in (session.accept, session.reset):
        session.click(240, 170)
        assert session.click(230, 160).window != WHOLE
        leave()
        assert session.click(240, 170).window == WHOLE
        session.reset()
    assert len(encoder.seen) == 2  # the same window of the same image is encoded once


def test_undo_goes_back_to_where_the_answer_came_from(image: np.ndarray) -> None:
    session, _, _ = open_session(look=ZOOM)
    session.set_image(image)
    first, second = session.click(240, 170), session.click(230, 160)
    session.click(60, 60, positive=False)
    back = session.undo()
    assert back is not None
    assert back.window == second.window
    np.testing.assert_array_equal(back.mask, second.mask)
    back = session.undo()
    assert back is not None
    assert back.window == WHOLE
    np.testing.assert_array_equal(back.mask, first.mask)


def test_what_is_learned_from_is_told_in_its_own_pixels(image: np.ndarray) -> None:
    got: list[Interaction] = []
    session, _, decoder = open_session(look=ZOOM)
    session.on_interaction = got.append
    second = click_twice(session, image)
    session.accept()
    whole, zoomed, accepted = got
    assert zoomed.embedding.original_hw == second.window.hw
    assert whole.number == zoomed.number == accepted.number
    assert [len(prompt.clicks) for prompt in zoomed.prompts] == [1, 2]
    assert zoomed.prompts[0].clicks == second.window.clicks([Click(240, 170)])
    assert zoomed.prompts[1].clicks == decoder.prompts[1].clicks
    assert zoomed.prompts[1].mask_logits is decoder.prompts[1].mask_logits
    np.testing.assert_array_equal(zoomed.answer, second.low_res_logits)
    assert accepted.embedding is whole.embedding
    assert accepted.prompts[0] is whole.prompts[0]
    assert accepted.prompts[-1].clicks == (Click(240, 170), Click(230, 160))
    assert accepted.prompts[-1].mask_logits is None
    np.testing.assert_array_equal(accepted.accepted_mask, second.mask)
    view = View.whole(whole.embedding, None)
    assert iou(view.mask(accepted.answer)[0]) > 0.7  # cells of 12.5 px again
    session.click(240, 170)
    assert got[-1].number != accepted.number


def test_a_zoomed_session_is_its_log_too(image: np.ndarray, tmp_path: Path) -> None:
    session, _, _ = open_session(look=ZOOM)
    second = click_twice(session, image)
    session.save(tmp_path / "log")
    again = open_session(look=ZOOM)[0]
    restored = again.restore(tmp_path / "log", image)
    assert restored is not None
    assert restored.window == second.window
    np.testing.assert_array_equal(restored.mask, second.mask)
    np.testing.assert_array_equal(again.click(250, 175).mask, session.click(250, 175).mask)


@pytest.mark.parametrize(
    ("window", "reason"),
    [
        (Window(0, 0, 9999, 50), "not in the image"),
        (Window(0, 0, 400, 1), "too thin"),
        (Window(0, 0, 150, 150), "does not hold"),
    ],
)
def test_a_log_with_another_window_is_refused_and_the_session_goes_on(
    image: np.ndarray, tmp_path: Path, window: Window, reason: str
) -> None:
    session, _, _ = open_session(look=ZOOM)
    click_twice(session, image)
    session._dialogue._steps[-1] = replace(session._dialogue._steps[-1], window=window)
    session.save(tmp_path / "log")
    other = open_session()[0]
    with pytest.raises(SessionError, match=reason):
        other.restore(tmp_path / "log", image)
    other.set_image(image)
    assert other.click(240, 170).mask.any()


def test_a_click_beyond_the_image_is_refused_while_zoomed(image: np.ndarray) -> None:
    session, _, _ = open_session(look=ZOOM)
    second = click_twice(session, image)
    with pytest.raises(ValueError, match=r"x must be in \[0, 400\)"):
        session.click(400, 10)
    answer = session.answer()
    assert answer is not None
    np.testing.assert_array_equal(answer.mask, second.mask)


def test_edges_are_those_of_the_window(image: np.ndarray) -> None:
    sessions = [open_session(look=Look(zoom=True, edges=edges)) for edges in (False, True)]
    plain, drawn = (click_twice(session, image) for session, _, _ in sessions)
    assert {"zoom", "edges"} <= set(drawn.timings_ms)
    window = drawn.window
    assert window == plain.window != WHOLE
    colours = low_res_colours(image[window.part], ResizeGeometry.of(window.hw, SIDE))
    expected = EdgeFilter(colours, SIDE // 4).drawn(plain.low_res_logits)
    assert (expected != plain.low_res_logits).any()
    np.testing.assert_array_equal(drawn.low_res_logits, expected)


def test_without_pixels_nothing_is_drawn_to_edges(image: np.ndarray) -> None:
    embedding = Encoder().encode(image)
    logits = np.random.default_rng(0).normal(size=(32, 32)).astype(np.float32)
    answers = [View.whole(embedding, pixels).shown(logits, (), Look(edges=True)) for pixels in (image, None)]
    assert ["edges" in stages for _, _, stages in answers] == [True, False]
    assert [np.array_equal(shown, logits) for shown, _, _ in answers] == [False, True]


def test_a_mask_is_not_fed_back_in_another_window(image: np.ndarray) -> None:
    session, _, decoder = open_session(look=ZOOM)
    click_twice(session, image)
    decoder.broken = True
    assert not session.click(240, 165).mask.any()
    decoder.broken = False
    back = session.click(240, 160)
    assert back.window == WHOLE  # nothing is shown that could be looked at
    assert decoder.prompts[-1].mask_logits is None


def test_a_preview_of_the_prompt_so_far_looks_at_the_whole_image(image: np.ndarray) -> None:
    session, _, decoder = open_session(look=ZOOM)
    click_twice(session, image)
    assert session.prompt is not None
    preview = session.predict(session.prompt.with_click(Click(250, 175)))
    assert preview.window == WHOLE
    assert decoder.prompts[-1].mask_logits is None
    assert len(decoder.prompts[-1].clicks) == 3


def test_clicks_beyond_the_window_do_not_count_for_the_token(image: np.ndarray) -> None:
    """The decoder was told of one click, so its best mask of three is shown, and learned from."""
    session, _, decoder = open_session(look=ZOOM)
    session.set_image(image)
    session.click(20, 20, positive=False)
    decoder.ious = (0.9, 0.1, 0.8, 0.2)
    second = session.click(240, 170)
    assert len(decoder.prompts[-1].clicks) == 1
    assert second.iou == pytest.approx(0.8)


def test_without_pixels_a_restored_session_looks_at_the_whole_image(image: np.ndarray, tmp_path: Path) -> None:
    session, _, _ = open_session(look=ZOOM)
    second = click_twice(session, image)
    session.save(tmp_path / "log")
    again, _, decoder = open_session(look=ZOOM)
    again.set_image(image)
    again._dialogue.begin_image(View.whole(again.embedding, None))  # as from a cache
    restored = again.restore(tmp_path / "log")
    assert restored is not None
    np.testing.assert_array_equal(restored.mask, second.mask)
    assert again.click(240, 165).window == WHOLE
    mask = decoder.prompts[-1].mask_logits
    assert mask is not None
    assert 0 < (mask > 0).sum() < 10  # carried to cells of 12.5 px


def test_drawing_on_an_answer_changes_nothing(image: np.ndarray) -> None:
    session, _, _ = open_session(look=ZOOM)
    session.set_image(image)
    first = session.click(240, 170)
    first.mask[:], first.low_res_logits[:] = False, -9
    second = session.click(230, 160)
    assert second.window != WHOLE
    answer = session.answer()
    assert answer is not None
    answer.mask[:], answer.low_res_logits[:] = True, 9
    assert session.click(240, 165).window == second.window
    session.undo()
    accepted = session.accept().accepted_mask
    np.testing.assert_array_equal(accepted, second.mask)


def test_a_box_moves_with_the_window(image: np.ndarray) -> None:
    session, _, decoder = open_session(look=ZOOM)
    session.set_image(image)
    session.box(220, 150, 262, 192)
    second = session.click(240, 170)
    window = second.window
    assert window is not None
    assert decoder.prompts[-1].box == Box(220 - window.x0, 150 - window.y0, 262 - window.x0, 192 - window.y0)
