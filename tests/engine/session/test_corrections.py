"""Candidates, painted masks, another decoder's answers, and what sessions of one engine share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from livesam.engine.runtimes.torch_encoder import TorchEncoder
from livesam.engine.serving.right_of_way import RightOfWay
from livesam.engine.serving.slots import Slots
from livesam.engine.session.cache import EmbeddingCache
from livesam.engine.session.cached_encoder import CachedEncoder
from livesam.engine.session.engine import Engine
from livesam.engine.values.errors import SessionError
from livesam.engine.view.look import Look
from segment_anything.modeling import Sam

HW = (90, 121)
ALL = Look(zoom=True, obey=True, edges=True)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (*HW, 3), dtype=np.uint8)


@pytest.fixture
def engine(tiny_sam: Sam, compilers: dict[str, Any], weights_of: Callable[[int], Any]) -> Engine:
    encoder = CachedEncoder(TorchEncoder(tiny_sam, identity="tiny"), EmbeddingCache(1 << 26))
    origin: Any = None
    way = RightOfWay()
    return Engine(encoder, Slots(compilers["onnxruntime"], None, way.give_way), weights_of(0), way, origin)


@pytest.mark.parametrize("look", [Look(), ALL])
def test_candidates_are_the_decoders_own_masks_and_one_is_chosen(engine, image, look) -> None:
    session = engine.session(engine.slot(), look=look)
    session.set_image(image)
    with pytest.raises(SessionError, match="no candidates"):
        session.candidates()
    first = session.click(60, 40)
    found = session.candidates()
    assert len(found) == 3
    assert np.array_equal(found[0].low_res_logits, first.low_res_logits)
    assert [one.iou for one in found] == sorted((one.iou for one in found), reverse=True)
    chosen = session.choose(1)
    assert np.array_equal(chosen.mask, found[1].mask)
    assert session.clicks == 1
    second = session.click(20, 20)
    with pytest.raises(SessionError, match="to choose from"):
        session.choose(0)
    session.undo()
    assert np.array_equal(session.answer().mask, found[1].mask)
    assert np.array_equal(session.redo().mask, second.mask)
    for wrong in (3, -1, True, "1"):
        session.candidates()
        with pytest.raises(ValueError, match="candidates 0 to 2"):
            session.choose(wrong)


def test_the_next_click_feeds_the_chosen_mask_back(engine, image) -> None:
    session = engine.session(engine.slot())
    session.set_image(image)
    session.click(60, 40)
    session.candidates()
    chosen = session.choose(2)
    seen: list[Any] = []
    session.on_interaction = seen.append
    session.click(20, 20)
    assert np.array_equal(seen[0].prompts[-1].mask_logits, chosen.low_res_logits)


@pytest.mark.parametrize("look", [Look(), ALL])
def test_a_painted_mask_is_the_objects_mask_and_clicks_go_on_from_it(engine, image, look, tmp_path: Path) -> None:
    session = engine.session(engine.slot(), look=look)
    session.set_image(image)
    told: list[Any] = []
    session.on_interaction = told.append
    painted = np.zeros(HW, bool)
    painted[20:50, 30:70] = True
    assert np.array_equal(session.paint(painted).mask, painted)
    assert session.clicks == 0
    assert session.answer().prompt is None
    painted[:] = False  # the caller's array is the caller's
    assert session.answer().mask.sum() == 1200
    session.click(60, 40)
    assert session.clicks == 1
    session.save(tmp_path / "log")
    again = engine.session(session.slot, look=look)
    again.restore(tmp_path / "log", image)
    assert np.array_equal(again.answer().mask, session.answer().mask)
    for one in (session, again):
        assert one.undo().mask.sum() == 1200  # bit for bit, not drawn from logits
    assert again.undo() is None
    assert again.redo().mask.sum() == 1200
    interaction = session.accept()
    assert interaction.accepted_mask.sum() == 1200
    assert interaction.steps[0].painted is not None
    assert told[-1] is interaction
    with pytest.raises(ValueError, match="empty"):
        session.paint(np.zeros(HW, bool))
    for wrong in (np.ones((3, 3), bool), np.ones(HW), "mask"):
        with pytest.raises(ValueError, match="a painted mask is"):
            session.paint(wrong)


def test_painting_over_an_answer_keeps_the_clicks(engine, image) -> None:
    session = engine.session(engine.slot())
    session.set_image(image)
    mask = session.click(60, 40).mask
    session.paint(~mask)
    assert np.array_equal(session.answer().mask, ~mask)
    assert len(session.prompt.clicks) == 1
    assert np.array_equal(session.undo().mask, mask)


def test_keep_comes_first_and_may_refuse(engine, image) -> None:
    session = engine.session(engine.slot())
    session.set_image(image)
    mask = session.click(60, 40).mask
    told: list[Any] = []
    session.on_interaction = told.append

    def full(_: Any) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="full"):
        session.accept(keep=full)
    assert told == []
    kept: list[Any] = []
    assert np.array_equal(session.accept(keep=kept.append).accepted_mask, mask)
    assert kept == told


def test_another_decoder_answers_the_same_clicks(engine, image, weights_of) -> None:
    base, slot = engine.slot(), engine.slot()
    session, alone = engine.session(slot, look=ALL), engine.session(base, look=ALL)
    slot.publish(weights_of(1))
    for one in (session, alone):
        one.set_image(image)
        one.click(60, 40)
        one.box(20, 20, 80, 70)
    assert np.array_equal(session.answered_by(base).mask, alone.answer().mask)
    assert np.array_equal(session.answered_by(slot).mask, session.answer().mask)
    assert session.clicks == 2
    session.reset()
    with pytest.raises(SessionError, match="click first"):
        session.answered_by(base)


def test_sessions_of_an_engine_share_embeddings(engine, image) -> None:
    one, two = engine.session(engine.slot()), engine.session(engine.slot())
    assert one.set_image(image) is two.set_image(image)
    assert one.image_digest == two.image_digest != ""


def test_a_slot_goes_on_counting_and_tells_what_serves(engine, weights_of) -> None:
    told: list[tuple[int, int]] = []
    slot = engine.slot(first=7, on_publish=lambda version, weights: told.append((version, len(weights))))
    assert slot.publish(weights_of(1)) == 7
    assert slot.publish(weights_of(2)) == 8
    assert told == [(7, len(weights_of(1))), (8, len(weights_of(1)))]
    with pytest.raises(ValueError, match="first"):
        engine.slot(first=0)
