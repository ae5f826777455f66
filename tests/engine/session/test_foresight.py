"""The next window is encoded while the user thinks: answers are the same, and only the wait is gone."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from livesam.engine.models.loading import decoder_weights, load
from livesam.engine.runtimes.torch_encoder import TorchEncoder
from livesam.engine.runtimes.torch_graph import TorchGraph
from livesam.engine.serving.right_of_way import RightOfWay
from livesam.engine.serving.slot import DecoderSlot
from livesam.engine.session.foresight import Foresight
from livesam.engine.session.session import Session
from livesam.engine.session.turns import Turns
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.window import Window
from livesam.engine.view.look import Look
from livesam.engine.view.view import View

CLICKS = ((220, 120, True), (230, 130, True), (215, 110, False), (60, 400, True), (500, 20, False))


def whole() -> View:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    return View.whole(embedding_of(pixels), pixels)


def embedding_of(pixels: np.ndarray) -> ImageEmbedding:
    hw = pixels.shape[0], pixels.shape[1]
    scale = 128 / max(hw)
    return ImageEmbedding(np.zeros((1, 256, 8, 8), np.float32), hw, (round(hw[0] * scale), round(hw[1] * scale)), "k")


class Encoder:
    """Counts, and waits where it is told to."""

    def __init__(self) -> None:
        self.threads: list[str] = []
        self.go, self.begun = threading.Event(), threading.Event()
        self.go.set()

    def __call__(self, pixels: np.ndarray) -> ImageEmbedding:
        self.threads.append(threading.current_thread().name)
        self.begun.set()
        assert self.go.wait(10)
        return embedding_of(pixels)


def test_what_was_expected_is_made_once_and_elsewhere() -> None:
    encode, image, window = Encoder(), whole(), Window(10, 10, 60, 60)
    foresight = Foresight(encode, RightOfWay())
    foresight.expect((image, window))
    assert encode.begun.wait(10)
    view = foresight.view(image, window)
    assert view.window == window
    foresight.expect((image, window))
    assert foresight.view(image, window) is view
    assert encode.threads == ["livesam-foresight"]


def test_who_comes_while_it_is_made_waits_for_it() -> None:
    encode, image, window = Encoder(), whole(), Window(10, 10, 60, 60)
    encode.go.clear()
    foresight = Foresight(encode, RightOfWay())
    foresight.expect((image, window))
    assert encode.begun.wait(10)
    threading.Timer(0.05, encode.go.set).start()
    assert foresight.view(image, window).window == window
    assert encode.threads == ["livesam-foresight"]


def test_who_comes_before_it_has_the_encoder_does_not_wait_for_it() -> None:
    """However many others' windows stand in the line, a click stands before them."""
    encode, image, window, turns = Encoder(), whole(), Window(10, 10, 60, 60), Turns()
    foresight = Foresight(encode, RightOfWay(), turns)
    with turns.now():  # somebody else's image is being encoded
        foresight.expect((image, window))
        assert not encode.begun.wait(0.05)
        assert foresight.view(image, window).window == window
        assert encode.threads == [threading.current_thread().name]
    foresight.close()
    assert len(encode.threads) == 1  # and it is not made once more


def test_it_begins_when_nobody_is_answered_where_that_is_asked_for() -> None:
    encode, image, way = Encoder(), whole(), RightOfWay()
    foresight = Foresight(encode, way)
    foresight.quiet_s = 0.001
    with way.click():
        foresight.expect((image, Window(10, 10, 60, 60)))
        assert not encode.begun.wait(0.05)
        foresight.expect((image, Window(20, 20, 60, 60)))  # takes the first one's place, which has not begun
    assert encode.begun.wait(10)
    assert foresight.view(image, Window(20, 20, 60, 60)).window == Window(20, 20, 60, 60)
    assert encode.threads == ["livesam-foresight"]


def test_a_wrong_guess_gives_way_to_the_next_and_keeps_nobody() -> None:
    encode, image = Encoder(), whole()
    first, second, third, asked = (Window(i, i, 50 + i, 50 + i) for i in range(4))
    encode.go.clear()
    foresight = Foresight(encode, RightOfWay())
    foresight.expect((image, first))
    assert encode.begun.wait(10)
    foresight.expect((image, second))
    foresight.expect((image, third))  # takes the second one's place
    encode.go.set()
    assert foresight.view(image, asked).window == asked  # and the question takes the third one's, or waits for nothing
    assert foresight.view(image, third).window == third
    assert encode.threads.count("livesam-foresight") <= 2
    foresight.forget()
    foresight.expect(None)
    assert foresight.view(whole(), first).embedding.original_hw == (50, 50)


def test_what_was_forgotten_while_it_is_made_is_not_kept() -> None:
    encode, image, window = Encoder(), whole(), Window(10, 10, 60, 60)
    encode.go.clear()
    foresight = Foresight(encode, RightOfWay())
    foresight.expect((image, window))
    assert encode.begun.wait(10)
    foresight.forget()
    encode.go.set()
    with foresight._changed:
        assert foresight._changed.wait_for(lambda: not foresight._running, 10)
    assert foresight._done is None
    assert foresight.view(image, window).window == window
    assert len(encode.threads) == 2


def test_closing_waits_for_the_encoder_and_nothing_begins_afterwards() -> None:
    encode, image, window = Encoder(), whole(), Window(10, 10, 60, 60)
    encode.go.clear()
    foresight = Foresight(encode, RightOfWay())
    foresight.expect((image, window))
    assert encode.begun.wait(10)
    closing = threading.Thread(target=foresight.close)
    closing.start()
    closing.join(0.05)
    assert closing.is_alive()
    encode.go.set()
    closing.join(10)
    assert not closing.is_alive()
    foresight.expect((image, Window(0, 0, 20, 20)))
    assert (foresight._running, foresight._done, len(encode.threads)) == (False, None, 1)


def test_an_encoder_that_fails_there_fails_for_the_click_that_asks() -> None:
    def broken(pixels: np.ndarray) -> ImageEmbedding:
        raise RuntimeError("out of memory")

    image, window = whole(), Window(10, 10, 60, 60)
    foresight = Foresight(broken, RightOfWay())
    foresight.expect((image, window))
    with pytest.raises(RuntimeError, match="out of memory"):
        foresight.view(image, window)


@pytest.mark.parametrize("edges", [False, True])
def test_a_session_answers_the_same_with_and_without(photo: np.ndarray, edges: bool) -> None:
    nano = load("nano")
    encoder = TorchEncoder(nano)
    look = Look(zoom=True, obey=True, edges=edges)
    ahead, usual = (Session(encoder, DecoderSlot(TorchGraph(nano), decoder_weights(nano)), look=look) for _ in range(2))
    ahead.foresight.on = True
    windows = []
    for session in (ahead, usual):
        session.set_image(photo)
    for x, y, positive in CLICKS:
        got, want = (session.click(x, y, positive) for session in (ahead, usual))
        assert got.window == want.window
        np.testing.assert_array_equal(got.mask, want.mask)
        np.testing.assert_array_equal(got.low_res_logits, want.low_res_logits)
        windows.append(got.window)
    assert len(set(windows)) > 1


def test_a_click_on_what_is_shown_finds_its_window_encoded(photo: np.ndarray) -> None:
    nano = load("nano")
    encoder = TorchEncoder(nano)
    look = Look(zoom=True, obey=True)
    session = Session(encoder, DecoderSlot(TorchGraph(nano), decoder_weights(nano)), look=look)
    session.foresight.on = True
    session.set_image(photo)
    asked: list[str] = []
    encode = session.encoder.window

    def watched(pixels: np.ndarray) -> ImageEmbedding:
        asked.append(threading.current_thread().name)
        return encode(pixels)

    session.foresight._encode = watched
    first = session.click(220, 120)
    rows, columns = np.nonzero(first.mask)
    with session.foresight._changed:
        assert session.foresight._changed.wait_for(lambda: not session.foresight._running, 30) or asked
    second = session.click(float(columns[len(columns) // 2]), float(rows[len(rows) // 2]), False)
    assert second.window != first.window
    assert asked == ["livesam-foresight"]
