"""A pressed button is answered before it is released: answers are the same, and only the wait is gone."""

from __future__ import annotations

import numpy as np
import pytest
from livesam.engine.models.loading import decoder_weights, load
from livesam.engine.runtimes.torch_encoder import TorchEncoder
from livesam.engine.runtimes.torch_graph import TorchGraph
from livesam.engine.serving.slot import DecoderSlot
from livesam.engine.session import decoding
from livesam.engine.session.session import Session
from livesam.engine.values.errors import SessionError
from livesam.engine.values.prompt import Prompt
from livesam.engine.view.look import Look

CLICKS = ((220, 120, True), (230, 130, True), (215, 110, False))


class Opened:
    """A session, and how often the decoder was asked."""

    def __init__(self, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
        nano = load("nano")
        slot = DecoderSlot(TorchGraph(nano), decoder_weights(nano))
        self.session = Session(TorchEncoder(nano), slot, look=Look(zoom=True, obey=True, edges=True, size_prior=True))
        self.session.set_image(photo)
        self.prompts: list[Prompt] = []
        answer = decoding.answer

        def counted(slot, view, asked_for, look, rule="official"):
            self.prompts += [prompt for prompt, _ in asked_for]
            return answer(slot, view, asked_for, look, rule)

        monkeypatch.setattr(decoding, "answer", counted)


@pytest.fixture
def opened(photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> Opened:
    return Opened(photo, monkeypatch)


def test_a_click_whose_button_was_down_is_at_hand(opened: Opened) -> None:
    session = opened.session
    usual = [session.click(*click) for click in CLICKS]
    session.reset()
    opened.prompts.clear()
    for click, want in zip(CLICKS, usual, strict=True):
        before = session.clicks
        session.press(*click)
        assert session.clicks == before
        got = session.click(*click)
        assert got.timings_ms["decode"] == 0
        assert (got.window, got.decoder_version, got.iou) == (want.window, want.decoder_version, want.iou)
        np.testing.assert_array_equal(got.mask, want.mask)
        np.testing.assert_array_equal(got.low_res_logits, want.low_res_logits)
    assert len(opened.prompts) == len(CLICKS)
    np.testing.assert_array_equal(session.undo().mask, usual[1].mask)


@pytest.mark.parametrize("meanwhile", ["elsewhere", "other sign", "box", "undo", "published", "accepted", "image"])
def test_what_was_pressed_is_forgotten_when_it_is_something_else(opened: Opened, photo, meanwhile: str) -> None:
    session = opened.session
    session.click(220, 120)
    session.press(230, 130)
    opened.prompts.clear()
    sign, place = True, (230, 130)
    if meanwhile == "elsewhere":
        place = (231, 130)
    if meanwhile == "other sign":
        sign = False
    if meanwhile == "box":
        session.box(180, 90, 260, 160)
    if meanwhile == "undo":
        session.undo()
    if meanwhile == "published":
        session.slot.publish(session.slot.weights(0))
    if meanwhile == "accepted":
        session.accept()
    if meanwhile == "image":
        session.set_image(photo[:300])
    opened.prompts.clear()
    answer = session.click(*place, sign)
    assert len(opened.prompts) == 1
    assert answer.decoder_version == session.slot.current


def test_what_cannot_be_pressed(opened: Opened) -> None:
    with pytest.raises(ValueError, match="outside of the image"):
        opened.session.press(-1, 5)
    assert opened.session.clicks == 0
    other = Session(opened.session.encoder, opened.session.slot)
    with pytest.raises(SessionError, match="no image"):
        other.press(1, 1)
