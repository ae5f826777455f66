from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from livesam.engine.runtimes.torch_encoder import TorchEncoder
from livesam.engine.serving.right_of_way import RightOfWay
from livesam.engine.serving.slot import DecoderSlot
from livesam.engine.session.cache import EmbeddingCache
from livesam.engine.session.session import Session
from livesam.engine.values.errors import SessionError
from livesam.engine.values.interaction import Interaction
from livesam.engine.values.prompt import Box, Click, Prompt
from livesam.engine.values.result import MaskResult
from livesam.engine.view.edges import EdgeFilter
from livesam.engine.view.geometry import postprocess
from livesam.engine.view.look import Look
from livesam.engine.view.obey import low_res_colours
from livesam.engine.view.points import geometry_of
from PIL import Image
from segment_anything import SamPredictor
from segment_anything.modeling import Sam

HW = (90, 121)
Weights = Callable[[int], dict[str, np.ndarray]]


class Counting(TorchEncoder):
    calls = 0

    def _run(self, prepared: np.ndarray) -> Any:
        self.calls += 1
        return super()._run(prepared)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (*HW, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def encoder(tiny_sam: Sam) -> Counting:
    return Counting(tiny_sam, identity="tiny")


@pytest.fixture
def make(encoder: Counting, compilers: dict[str, Any], weights_of: Weights) -> Callable[..., Session]:
    def session(on_interaction: Any = None, **options: Any) -> Session:
        made = Session(encoder, DecoderSlot(compilers["onnxruntime"], weights_of(0)), **options)
        made.on_interaction = on_interaction
        return made

    return session


def same(a: MaskResult | None, b: MaskResult | None) -> None:
    assert a is not None
    assert b is not None
    np.testing.assert_array_equal(a.mask, b.mask)
    np.testing.assert_array_equal(a.low_res_logits, b.low_res_logits)
    assert (a.iou, a.decoder_version) == (b.iou, b.decoder_version)


def test_clicks_answer_as_sam_predictor_with_feedback(
    make: Callable[..., Session], image: np.ndarray, tiny_sam: Sam
) -> None:
    session, predictor = make(), SamPredictor(tiny_sam)
    session.set_image(image)
    predictor.set_image(image)
    first = session.click(60, 40)
    masks, ious, low = predictor.predict(np.array([[60, 40]]), np.array([1]), multimask_output=True)
    best = int(np.argmax(ious))
    assert first.iou == pytest.approx(float(ious[best]), abs=1e-4)
    assert (first.mask != masks[best]).mean() < 1e-3
    second = session.click(3, 80, positive=False)
    masks, ious, _ = predictor.predict(
        np.array([[60, 40], [3, 80]]), np.array([1, 0]), mask_input=low[best : best + 1], multimask_output=False
    )
    assert (second.mask != masks[0]).mean() < 1e-3
    assert second.mask.shape == HW
    assert second.mask.dtype == np.bool_
    assert set(second.timings_ms) == {"wait", "decode", "postprocess", "total"}
    assert second.timings_ms["total"] >= second.timings_ms["decode"] + second.timings_ms["postprocess"]


def test_undo_walks_back_and_reset_forgets(make: Callable[..., Session], image: np.ndarray) -> None:
    session = make()
    session.set_image(image)
    first = session.click(60, 40)
    second = session.box(10, 10, 100, 80)
    third = session.click(20, 20, positive=False)
    same(session.answer(), third)
    same(session.undo(), second)
    same(session.click(20, 20, positive=False), third)
    session.undo()
    session.undo()
    same(session.answer(), first)
    assert session.undo() is None
    with pytest.raises(SessionError, match="nothing to undo"):
        session.undo()
    session.click(60, 40)
    session.reset()
    assert session.prompt is None
    same(session.click(60, 40), first)


def test_a_preview_leaves_the_session_alone(make: Callable[..., Session], image: np.ndarray) -> None:
    session = make()
    session.set_image(image)
    first = session.click(60, 40)
    prompts = [Prompt((Click(5, 5),)), Prompt(box=Box(1, 1, 50, 50)), Prompt((Click(60, 40),))]
    many = session.predict_many(prompts)
    np.testing.assert_allclose(many[2].low_res_logits, first.low_res_logits, atol=1e-4)  # batches sum in another order
    np.testing.assert_allclose(session.predict(prompts[1]).low_res_logits, many[1].low_res_logits, atol=1e-4)
    tokens = session.predict_all(prompts[2])
    same(tokens[1 + int(np.argmax([token.iou for token in tokens[1:]]))], first)
    same(session.predict(prompts[2], "single"), tokens[0])
    same(session.answer(), first)


def test_interactions_are_handed_over_after_each_answer(make: Callable[..., Session], image: np.ndarray) -> None:
    got: list[Interaction] = []
    first_come = RightOfWay()
    session = make(
        on_interaction=lambda one: got.append(one) or [][first_come.busy], right_of_way=first_come, domain="cells"
    )  # raises
    session.set_image(image)
    first, second = session.click(60, 40), session.click(5, 5, positive=False)
    accepted = session.accept()
    assert [len(one.prompts) for one in got] == [1, 2, 2]
    assert [one.accepted for one in got] == [False, False, True]
    assert accepted is got[2]
    assert accepted.domain == "cells"
    assert accepted.accepted_mask is not None
    np.testing.assert_array_equal(accepted.accepted_mask, second.mask)
    np.testing.assert_array_equal(accepted.prompts[1].mask_logits, first.low_res_logits)
    with pytest.raises(SessionError, match="no mask to accept"):
        session.accept()


def test_an_object_that_is_left_without_accepting_is_told_too(make: Callable[..., Session], image: np.ndarray) -> None:
    got: list[Interaction] = []
    session = make(on_interaction=got.append)
    session.set_image(image)
    session.reset()
    assert not got  # there was no object yet
    session.click(60, 40)
    session.reset()
    session.click(20, 20)
    session.set_image(image[::-1].copy())
    assert [(one.given_up, one.over) for one in got] == [(False, False), (True, True)] * 2
    assert got[3].prompts == got[2].prompts
    assert got[3].embedding is got[2].embedding


def test_answers_name_the_version_that_gave_them(
    make: Callable[..., Session], image: np.ndarray, weights_of: Weights
) -> None:
    session = make()
    session.set_image(image)
    before = session.predict(Prompt((Click(60, 40),)))
    version = session.slot.publish(weights_of(5))
    after = session.predict(Prompt((Click(60, 40),)))
    assert (before.decoder_version, after.decoder_version) == (0, version)
    assert np.abs(before.low_res_logits - after.low_res_logits).max() > 0
    session.slot.rollback(0)
    same(session.predict(Prompt((Click(60, 40),))), before)


def test_an_image_is_encoded_once(
    make: Callable[..., Session], image: np.ndarray, encoder: Counting, tmp_path: Path
) -> None:
    session, before = make(cache=EmbeddingCache(2**20, tmp_path)), encoder.calls
    first = session.set_image(image)
    session.set_image(255 - image)
    assert session.set_image(image) is first
    assert make(cache=EmbeddingCache(2**20, tmp_path)).set_image(image).key == first.key
    assert encoder.calls == before + 2


def test_a_session_is_its_log(make: Callable[..., Session], image: np.ndarray, tmp_path: Path) -> None:
    session, path = make(domain="cells", cache=EmbeddingCache(2**20, tmp_path / "cache")), tmp_path / "s.safetensors"
    session.set_image(image)
    session.box(10, 10, 100, 80)
    last = session.click(60, 40)
    session.save(path)
    for options, given in (({}, image), ({"cache": EmbeddingCache(0, tmp_path / "cache")}, None)):
        other = make(**options)
        same(other.restore(path, given), last)
        assert other.domain == "cells"
        same(other.click(7, 7, positive=False), session.click(7, 7, positive=False))
        session.undo()
        other.undo()
        same(other.undo(), session.undo())
        session.click(60, 40)
    with pytest.raises(SessionError, match="another image"):
        make().restore(path, 255 - image)
    with pytest.raises(SessionError, match="not at hand"):
        make().restore(path)
    whole = path.read_bytes()
    for damage in (b"", whole[:100], whole[:-4], whole.replace(b"previous", b"precious")):
        path.write_bytes(damage)
        with pytest.raises(SessionError, match="not a saved session"):
            make().restore(path, image)
    with pytest.raises(SessionError, match="not a saved session"):
        make().restore(tmp_path / "none", image)


def test_bad_input_is_refused_and_changes_nothing(make: Callable[..., Session], image: np.ndarray) -> None:
    session = make()
    with pytest.raises(SessionError, match="call set_image first"):
        session.click(1, 1)
    session.set_image(image)
    first = session.click(60, 40)
    for x, y in ((121, 5), (5, 90), (-0.5, 5)):
        with pytest.raises(ValueError, match=r"x must be in \[0, 121\) and y in \[0, 90\)"):
            session.click(x, y)
    with pytest.raises(ValueError, match="finite"):
        session.click(float("nan"), 5)
    for box in ((50, 10, 40, 20), (10, 10, 10, 20), (0, 0, 122.01, 20), ("a", 1, 2, 3)):
        with pytest.raises(ValueError, match="box"):
            session.box(*box)
    for prompt in ((40, 50), Click(40, 50), [40, 50]):
        with pytest.raises(ValueError, match=r"a prompt is a Prompt\("):
            session.predict(prompt)
    for positive in (-1, "no", None, 2):
        with pytest.raises(ValueError, match="positive is True"):
            session.click(60, 40, positive)
    with pytest.raises(ValueError, match="at least one"):
        session.predict_many([])
    with pytest.raises(ValueError, match="choose bands"):
        session.set_image(np.zeros((90, 121, 5), np.uint8))
    same(session.answer(), first)
    assert not session.right_of_way.busy


def test_a_box_a_hair_outside_is_clipped(make: Callable[..., Session], image: np.ndarray, tmp_path: Path) -> None:
    one, other = make(), make()
    for session in (one, other):
        session.set_image(image)
    want = one.box(0, 10, 121, 90)
    same(other.box(-0.5, 10, 122, 90.25), want)
    assert other.prompt is not None
    assert other.prompt.box == Box(0, 10, 121, 90)
    same(other.predict(Prompt(box=Box(-1, 10, 121.5, 91))), one.predict(Prompt(box=Box(0, 10, 121, 90))))
    for clipped, plain in zip(
        other.predict_all(Prompt(box=Box(-1, 10, 121, 91))),
        one.predict_all(Prompt(box=Box(0, 10, 121, 90))),
        strict=True,
    ):
        same(clipped, plain)
    with pytest.raises(ValueError, match="box"):
        other.box(-1, 10, -0.5, 20)  # nothing of it is inside


def test_images_of_other_formats_follow_the_rule_of_files(
    make: Callable[..., Session], image: np.ndarray, tmp_path: Path
) -> None:
    whole = image.copy()
    whole[0, 0], whole[0, 1] = 0, 255
    one, other = make(), make()
    one.set_image(whole)
    want = one.click(60, 40)
    for values in (whole.astype(np.float32) / 255, whole.astype(np.uint16) * 16, whole.astype(np.int16) - 100):
        other.set_image(values)
        same(other.click(60, 40), want)
    one.save(tmp_path / "a.session")
    answer = make().restore(tmp_path / "a.session", whole.astype(np.float64) / 255)
    assert answer is not None
    same(answer, want)
    other.set_image(whole[..., 0] > 100)


def test_bands_are_chosen_of_files_and_not_of_arrays(
    make: Callable[..., Session], image: np.ndarray, tmp_path: Path
) -> None:
    Image.fromarray(image[..., ::-1]).save(tmp_path / "a.png")
    one, other = make(), make()
    one.set_image(image)
    other.set_image(tmp_path / "a.png", bands=(3, 2, 1))
    same(other.click(60, 40), one.click(60, 40))
    with pytest.raises(ValueError, match="bands are of a file"):
        other.set_image(image, bands=(3, 2, 1))


def test_masks_are_drawn_to_edges_when_asked(make: Callable[..., Session], image: np.ndarray, tmp_path: Path) -> None:
    plain, drawing = make(), make(look=Look(edges=True))
    for session in (plain, drawing):
        session.set_image(image)
    here = image.copy()
    drawing.set_image(here)
    here[:] = 0  # a frame buffer that is used again
    raw, drawn = plain.click(40, 50), drawing.click(40, 50)
    geometry = geometry_of(drawing.embedding)
    logits = EdgeFilter(low_res_colours(image, geometry), len(raw.low_res_logits)).drawn(raw.low_res_logits)
    np.testing.assert_array_equal(drawn.low_res_logits, logits)
    np.testing.assert_array_equal(drawn.mask, postprocess(logits, geometry) > 0)
    assert (drawn.mask != raw.mask).any()
    assert "edges" in drawn.timings_ms
    assert "edges" not in raw.timings_ms
    same(drawing.answer(), drawn)
    same(drawing.predict(Prompt((Click(40, 50),))), drawn)
    prompt = Prompt((Click(40, 50),))
    for own, official in zip(drawing.predict_all(prompt), plain.predict_all(prompt), strict=True):
        same(own, official)
    drawing.save(tmp_path / "log")
    np.testing.assert_array_equal(drawing.accept().accepted_mask, drawn.mask)
    same(make(look=Look(edges=True)).restore(tmp_path / "log", image), drawn)


def test_an_answer_that_is_not_finite_is_not_fed_back(make: Callable[..., Session], image: np.ndarray) -> None:
    session = make()
    found = session.set_image(image)
    good = found.features.copy()
    found.features[:] = np.nan  # the embedding of a broken encoder
    assert not np.isfinite(session.click(40, 50).low_res_logits).all()
    found.features[:] = good
    assert np.isfinite(session.click(60, 20).low_res_logits).all()
    assert session.prompt is not None
    assert session.prompt.mask_logits is None
