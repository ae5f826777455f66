"""The GrabCut baseline on pictures where it has to succeed."""

import numpy as np
import pytest
from livesam.benchmarks.quality.datasets import LabelledObject
from livesam.benchmarks.quality.grabcut import GrabCutPredictor
from livesam.benchmarks.quality.protocol import evaluate_object, iou
from livesam.engine.values.prompt import Click


def two_colours(hw=(60, 80), box=(15, 45, 20, 50), noise=12):
    rng = np.random.default_rng(0)
    truth = np.zeros(hw, bool)
    truth[box[0] : box[1], box[2] : box[3]] = True
    image = np.where(truth[..., None], (200, 60, 40), (40, 120, 90)) + rng.normal(0, noise, (*hw, 3))
    return LabelledObject(image.clip(0, 255).astype(np.uint8), truth, None)


def begin(labelled):
    predictor = GrabCutPredictor()
    predictor.begin_set("x", 0)
    predictor.begin_image(labelled.image)
    predictor.begin_object()
    return predictor


def test_one_click_finds_an_object_of_its_own_colour():
    labelled = two_colours()
    record = evaluate_object(begin(labelled), "x#1", labelled, 0.9, 3)
    assert record.ious[0] > 0.95


def test_large_images_are_scaled_and_the_mask_has_the_image_size():
    labelled = two_colours((300, 420), (60, 200, 100, 260))
    predictor = begin(labelled)
    mask = predictor.click((Click(180.0, 130.0),))
    assert mask.shape == (300, 420)
    assert iou(labelled.truth, mask) > 0.93


def test_only_pieces_with_a_positive_click_are_shown():
    labelled = two_colours()
    image = labelled.image.copy()
    image[0:10, 65:78] = image[20, 30]  # a stray piece of the object's colour
    predictor = begin(LabelledObject(image, labelled.truth, None))
    mask = predictor.click((Click(35.0, 30.0),))
    assert mask[30, 35]
    assert not mask[0:10, 65:78].any()
    both = predictor.click((Click(35.0, 30.0), Click(71.0, 5.0)))
    assert both[5, 71]


def test_a_negative_click_is_obeyed():
    labelled = two_colours()
    predictor = begin(labelled)
    first = Click(25.0, 30.0)
    assert predictor.click((first,))[30, 45]
    assert not predictor.click((first, Click(45.0, 30.0, positive=False)))[30, 45]


def test_same_clicks_give_the_same_mask_also_after_another_object():
    labelled = two_colours(noise=60)
    predictor = begin(labelled)
    clicks = (Click(35.0, 30.0), Click(5.0, 5.0, positive=False))

    def answers():
        predictor.begin_object()
        return [predictor.click(clicks[:k]) for k in (1, 2)]

    before = answers()
    predictor.begin_object()
    predictor.click((Click(70.0, 50.0),))
    for one, other in zip(before, answers(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("hw", [(1, 9), (9, 1), (3, 3)])
def test_tiny_images_get_an_answer(hw):
    labelled = LabelledObject(np.zeros((*hw, 3), np.uint8), np.ones(hw, bool), None)
    predictor = begin(labelled)
    assert predictor.click((Click(0.0, 0.0),)).shape == hw
