"""What a session shows does not depend on where masks are drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from livesam.engine.models.loading import decoder_weights, load
from livesam.engine.runtimes.graphed_decoder import GraphedDecoder
from livesam.engine.runtimes.torch_encoder import TorchEncoder
from livesam.engine.runtimes.torch_graph import TorchGraph
from livesam.engine.serving.slot import DecoderSlot
from livesam.engine.session.session import Session
from livesam.engine.values.prompt import Box, Click, Prompt
from livesam.engine.view.look import Look
from segment_anything.modeling import Sam


@pytest.fixture(scope="module")
def nano() -> Sam:
    return load("nano")


@pytest.fixture(scope="module")
def encoder(nano: Sam) -> TorchEncoder:
    return TorchEncoder(nano)


@pytest.mark.parametrize("look", [Look(), Look(zoom=True, obey=True), Look(zoom=True, obey=True, edges=True)])
def test_drawn_by_the_decoder_or_by_the_host(nano: Sam, encoder: TorchEncoder, photo: np.ndarray, look: Look) -> None:
    decoders: list[GraphedDecoder] = []

    def drawing(weights: dict[str, np.ndarray]) -> GraphedDecoder:
        decoders.append(GraphedDecoder(nano, torch.device("cpu")))
        return decoders[-1]

    compilers = (TorchGraph(nano), drawing)
    host, device = (Session(encoder, DecoderSlot(one, decoder_weights(nano)), look=look) for one in compilers)
    for session in (host, device):
        session.set_image(photo)
    for x, y, positive in ((220, 120, True), (60, 400, False), (250, 300, True), (210, 40, True)):
        want, got = (session.click(x, y, positive) for session in (host, device))
        assert got.window == want.window
        assert (got.mask != want.mask).mean() < 1e-4
        np.testing.assert_allclose(got.low_res_logits, want.low_res_logits, atol=2e-3)
        assert set(got.timings_ms) == set(want.timings_ms)
    prompts = [Prompt((Click(40.0 * i, 100),)) for i in range(1, 6)] + [Prompt((Click(9, 9),), Box(0, 0, 99, 99))]
    transfers = decoders[0].transfers
    transfers.ups = transfers.downs = 0
    for want, got in zip(host.predict_many(prompts), device.predict_many(prompts), strict=True):
        assert (got.mask != want.mask).mean() < 1e-4
        assert got.iou == pytest.approx(want.iou, abs=1e-5)
        assert got.low_res_logits.size == 128 * 128
        assert got.low_res_logits.base is None  # or one result would keep them all
    assert transfers.ups == transfers.downs == (1 if look == Look() else 2)


def test_a_plain_click_is_one_copy_up_and_one_down(nano: Sam, encoder: TorchEncoder, photo: np.ndarray) -> None:
    decoder = GraphedDecoder(nano, torch.device("cpu"))
    session = Session(encoder, DecoderSlot(lambda weights: decoder, decoder_weights(nano)))
    session.set_image(photo)
    for count, x in enumerate((200, 220, 240), start=1):
        session.click(x, 150)
        assert (decoder.transfers.ups, decoder.transfers.downs) == (count, count)


def test_a_click_at_the_border_asks_no_decoder_and_shows_what_asking_one_would(
    nano: Sam, encoder: TorchEncoder, photo: np.ndarray
) -> None:
    """The evaluator asks for every click, and measures what a session shows."""
    look = Look(zoom=True, obey=True, edges=True)
    session = Session(encoder, DecoderSlot(TorchGraph(nano), decoder_weights(nano)), look=look)
    session.set_image(photo)
    dialogue = session._dialogue.begun_again()
    unasked = 0
    for _ in range(8):
        answer = session.answer()
        x, y, positive = 220.0, 120.0, True
        if answer is not None:  # a click two pixels outside of the mask, or one inside of it, in turns
            rows, columns = np.nonzero(answer.mask)
            row = int(rows[np.argmin(columns)])
            positive = session.clicks % 2 == 0
            x, y = float(columns.min() - 2 if positive else columns.min() + 2), float(row)
        shown = session.click(x, y, positive)
        question = dialogue.ask(dialogue.clicked(Click(x, y, positive)))
        with session.slot.lease() as lease:
            want = dialogue.hear(question, lease.decoder.decode(question.view.embedding, [question.seen]))
        assert np.array_equal(shown.mask, want.mask)
        assert np.array_equal(shown.low_res_logits, want.low_res_logits)
        unasked += shown.timings_ms["decode"] == 0
    assert 2 <= unasked <= 6
