"""Segment the rest, on an embedding and a decoder that are made of the image itself: what is found can be known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from livesam.engine.serving.right_of_way import RightOfWay
from livesam.engine.serving.slot import DecoderSlot
from livesam.engine.session.proposals import propose
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.result import DecoderOutput
from livesam.engine.view.look import Look
from livesam.engine.view.view import View

SIDE, GRID = 512, 32
PLACES = ((80, 80), (80, 240), (240, 80), (240, 400), (400, 240))  # rows and columns of discs


def disc(row: int, column: int, radius: int = 40) -> np.ndarray:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return np.hypot(rows - row, columns - column) < radius


@pytest.fixture
def session() -> Any:
    """Cells of a disc have one feature, cells of the large square another, all else a third."""
    kinds = np.zeros((SIDE, SIDE), int)
    for place in PLACES:
        kinds[disc(*place)] = 1
    kinds[380:500, 380:500] = 2
    noise = np.random.default_rng(0).normal(0, 0.05, (256, GRID, GRID))
    features = np.zeros((256, GRID, GRID), np.float32)
    for kind in range(3):
        share = cv2.resize((kinds == kind).astype(np.float32), (GRID, GRID), interpolation=cv2.INTER_AREA)
        features[kind] = share
    features += noise.astype(np.float32)
    _, parts = cv2.connectedComponents((kinds > 0).astype(np.uint8))

    class Decoder:
        concurrent, runtime, painter = True, "parts", None

        def decode(self, embedding: Any, prompts: Any) -> DecoderOutput:
            logits = np.full((len(prompts), 4, 128, 128), -5, np.float32)
            for i, prompt in enumerate(prompts):
                part = parts[int(prompt.clicks[0].y), int(prompt.clicks[0].x)]
                if part:
                    logits[i, :] = np.where(cv2.resize((parts == part).astype(np.uint8), (128, 128)) > 0, 5, -5)
                logits[i, 3] = 5  # a mask of everything, of which the decoder is sure
            return DecoderOutput(logits, np.tile(np.float32([0.5, 0.8, 0.7, 0.9]), (len(prompts), 1)))

        def close(self) -> None: ...

    slot = DecoderSlot(lambda weights: Decoder(), _decoder_weights())
    view = View.whole(ImageEmbedding(features[None], (SIDE, SIDE), (SIDE, SIDE), "k"), None)
    return SimpleNamespace(whole_view=view, slot=slot, right_of_way=RightOfWay(), look=Look())


def _decoder_weights() -> Any:
    return {"w": np.zeros(1, np.float32)}


def test_all_alike_are_found_once_and_nothing_else(session) -> None:
    found = propose(session, [disc(*PLACES[0])])
    assert len(found) == 4
    wanted = [disc(*place) for place in PLACES[1:]]
    for one in found:
        assert max((one.mask & mask).sum() / (one.mask | mask).sum() for mask in wanted) > 0.9
    assert [one.likeness for one in found] == sorted((one.likeness for one in found), reverse=True)


def test_what_is_taken_is_left_out_and_most_is_kept_to(session) -> None:
    assert len(propose(session, [disc(*PLACES[0])], [disc(*PLACES[1]), disc(*PLACES[2])])) == 2
    assert len(propose(session, [disc(*PLACES[0])], most=1)) == 1


@pytest.mark.parametrize("examples", [[], [np.zeros((SIDE, SIDE), bool)], [np.ones((3, 3), bool)]])
def test_examples_are_needed(session, examples) -> None:
    with pytest.raises(ValueError, match="proposals need masks"):
        propose(session, examples)
