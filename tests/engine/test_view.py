"""Sessions that zoom, on a decoder that sees what is bright, as finely as its cells allow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from livesam.engine.embedding import ImageEmbedding
from livesam.engine.errors import SessionError
from livesam.engine.geometry import ResizeGeometry
from livesam.engine.interaction import Interaction
from livesam.engine.prompt import Box, Click, Prompt
from livesam.engine.result import DecoderOutput
from livesam.engine.session import Session
from livesam.engine.slot import DecoderSlot
from livesam.engine.view import View
from livesam.engine.window import Window

SIDE = 128  # the model's input; its masks have 32 x 32 cells
HW = (300, 400)


class Encoder:
    """Features are the grey values of the cells."""

    runtime = "fake"

    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []

    def encode(self, image: np.ndarray) -> ImageEmbedding:
        self.seen.append(image.shape[:2])
        geometry = ResizeGeometry.of(image.shape[:2], SIDE)
        height, width = (-(-side // 4) for side in geometry.resized_hw)
        cells = np.zeros((SIDE // 4, SIDE // 4), np.float32)
        cells[:height, :width] = cv2.resize(image[..., 0], (width, height), interpolation=cv2.INTER_AREA)
        features = np.zeros((1, 256, SIDE // 16, SIDE // 16), np.float32)
        features[0, :16] = cells.reshape(SIDE // 16, 4, SIDE // 16, 4).transpose(1, 3, 0, 2).reshape(16, 8, 8)
        return ImageEmbedding(features, image.shape[:2], geometry.resized_hw, f"{image.shape}{image.sum()}")

    def close(self) -> None: ...


class Decoder:
    runtime = "fake"
    concurrent = True

    def __init__(self) -> None:
        self.prompts: list[Prompt] = []

    def decode(self, embedding: ImageEmbedding, prompts: Sequence[Prompt]) -> DecoderOutput:
        self.prompts += prompts
        cells = embedding.numpy()[0, :16].reshape(4, 4, 8, 8).transpose(2, 0, 3, 1).reshape(32, 32)
        logits = np.broadcast_to((cells - 127.5) / 20, (len(prompts), 4, 32, 32))
        return DecoderOutput(logits.astype(np.float32), np.full((len(prompts), 4), 0.5, np.float32))

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


def iou(mask: np.ndarray) -> float:
    return float((mask & disk()).sum() / (mask | disk()).sum())


def test_the_second_answer_sees_more_of_a_small_object(image: np.ndarray) -> None:
    session, encoder, decoder = open_session(zoom=True)
    session.set_image(image)
    first, second = session.click(240, 170), session.click(230, 160)
    assert first.window is None
    assert second.window is not None
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
    assert decoder.prompts[2].mask_logits is second.low_res_logits


def test_without_zoom_the_whole_image_is_seen(image: np.ndarray) -> None:
    session, encoder, _ = open_session()
    session.set_image(image)
    session.click(240, 170)
    assert session.click(230, 160).window is None
    assert encoder.seen == [HW]


def test_the_next_object_begins_at_the_whole_image(image: np.ndarray) -> None:
    session, encoder, _ = open_session(zoom=True)
    session.set_image(image)
    for leave in (session.accept, session.reset):
        session.click(240, 170)
        assert session.click(230, 160).window is not None
        leave()
        assert session.click(240, 170).window is None
        session.reset()
    assert len(encoder.seen) == 2  # the same window of the same image is encoded once


def test_undo_goes_back_to_where_the_answer_came_from(image: np.ndarray) -> None:
    session, _, _ = open_session(zoom=True)
    session.set_image(image)
    first, second = session.click(240, 170), session.click(230, 160)
    session.click(60, 60, positive=False)
    back = session.undo()
    assert back is not None
    assert back.window == second.window
    np.testing.assert_array_equal(back.mask, second.mask)
    back = session.undo()
    assert back is not None
    assert back.window is None
    np.testing.assert_array_equal(back.mask, first.mask)


def test_what_is_learned_from_is_told_in_its_own_pixels(image: np.ndarray) -> None:
    got: list[Interaction] = []
    session, _, decoder = open_session(zoom=True, on_interaction=got.append)
    session.set_image(image)
    session.click(240, 170)
    second = session.click(230, 160)
    session.accept()
    whole, zoomed, accepted = got
    assert zoomed.embedding.original_hw == second.window.hw  # type: ignore[union-attr]
    assert [prompt.clicks for prompt in zoomed.prompts] == [decoder.prompts[1].clicks]
    assert zoomed.answers[-1] is second.low_res_logits
    assert accepted.embedding is whole.embedding
    assert accepted.prompts[0] is whole.prompts[0]  # so it is known to be the same object
    assert accepted.prompts[-1].clicks == (Click(240, 170), Click(230, 160))
    assert accepted.prompts[-1].mask_logits is None
    assert accepted.accepted_mask is second.mask
    view = View.whole(whole.embedding, None)
    assert iou(view.mask(accepted.answers[-1], (), edges=False)[0]) > 0.7  # cells of 12.5 px again


def test_a_zoomed_session_is_its_log_too(image: np.ndarray, tmp_path: Path) -> None:
    session, _, _ = open_session(zoom=True)
    session.set_image(image)
    session.click(240, 170)
    second = session.click(230, 160)
    session.save(tmp_path / "log")
    again = open_session(zoom=True)[0]
    restored = again.restore(tmp_path / "log", image)
    assert restored is not None
    assert restored.window == second.window
    np.testing.assert_array_equal(restored.mask, second.mask)
    np.testing.assert_array_equal(again.click(250, 175).mask, session.click(250, 175).mask)


def test_a_log_with_a_window_beyond_the_image_is_refused(image: np.ndarray, tmp_path: Path) -> None:
    session, _, _ = open_session(zoom=True)
    session.set_image(image)
    session.click(240, 170)
    session.click(230, 160)
    step = session._steps[-1]
    object.__setattr__(step, "window", Window(0, 0, 9999, 50))
    session.save(tmp_path / "log")
    with pytest.raises(SessionError, match="not in the image"):
        open_session()[0].restore(tmp_path / "log", image)


def test_a_click_beyond_the_image_is_refused_while_zoomed(image: np.ndarray) -> None:
    session, _, _ = open_session(zoom=True)
    session.set_image(image)
    session.click(240, 170)
    second = session.click(230, 160)
    with pytest.raises(ValueError, match=r"x must be in \[0, 400\)"):
        session.click(400, 10)
    assert session.answer() is second


def test_edges_are_those_of_the_window(image: np.ndarray) -> None:
    session, _, _ = open_session(zoom=True, edges=True)
    session.set_image(image)
    session.click(240, 170)
    second = session.click(230, 160)
    assert {"zoom", "edges"} <= set(second.timings_ms)
    assert iou(second.mask) > 0.97


def test_a_box_moves_with_the_window(image: np.ndarray) -> None:
    session, _, decoder = open_session(zoom=True)
    session.set_image(image)
    session.box(220, 150, 262, 192)
    second = session.click(240, 170)
    window = second.window
    assert window is not None
    assert decoder.prompts[-1].box == Box(220 - window.x0, 150 - window.y0, 262 - window.x0, 192 - window.y0)
