"""The evaluation loop with predictors whose answers are known, and the figures from hand-made traces."""

import numpy as np
import pytest
from livesam.benchmarks.quality.datasets import LabelledObject
from livesam.benchmarks.quality.metrics import mean_of, summarise, thirds
from livesam.benchmarks.quality.protocol import ObjectRecord, evaluate_object, iou, iou_after, noc


def row_object(ignore=None):
    """100 pixels of object in a 10 x 20 image: a mask of the first n pixels of it has an IoU of n / 100."""
    truth = np.zeros((10, 20), bool)
    truth[:, :10] = True
    return LabelledObject(np.zeros((10, 20, 3), np.uint8), truth, ignore)


def mask_of(pixels):
    mask = np.zeros((10, 20), bool)
    part = np.zeros(100, bool)
    part[:pixels] = True
    mask[:, :10] = part.reshape(10, 10)
    return mask


class Scripted:
    """Answers with masks of given IoU, and writes down what it is told."""

    adapts = False

    def __init__(self, percents):
        self.percents, self.log = percents, []

    def begin_image(self, image):
        self.log.append(("image", image.shape))

    def begin_object(self):
        self.log.append(("object",))

    def click(self, clicks):
        self.log.append(("click", len(clicks)))
        return mask_of(self.percents[len(clicks) - 1])

    def after_click(self, clicks, last):
        self.log.append(("after", len(clicks), last))

    def finish_object(self, clicks, accepted):
        self.log.append(("finish", len(clicks), None if accepted is None else int(accepted.sum())))


def evaluate(predictor, target=0.85, limit=20, labelled=None):
    return evaluate_object(predictor, "x#1", labelled or row_object(), target, limit)


def test_stops_at_the_target_and_hands_over_the_accepted_mask():
    predictor = Scripted([30, 60, 85, 100])
    record = evaluate(predictor)
    assert record.ious == (0.3, 0.6, 0.85)
    assert record.reached
    assert predictor.log == [
        ("image", (10, 20, 3)),
        ("object",),
        ("click", 1),
        ("after", 1, False),
        ("click", 2),
        ("after", 2, False),
        ("click", 3),
        ("after", 3, True),
        ("finish", 3, 85),
    ]


def test_gives_up_at_the_limit_without_an_accepted_mask():
    predictor = Scripted([30, 60, 84])
    record = evaluate(predictor, limit=3)
    assert record.ious == (0.3, 0.6, 0.84)
    assert not record.reached
    assert predictor.log[-2:] == [("after", 3, True), ("finish", 3, None)]


def test_clicks_follow_the_answers():
    record = evaluate(Scripted([50, 100]))
    assert record.clicks == ((4, 4, True), (2, 7, True))  # first deepest of 10 x 10, then of the missing 5 x 10


def test_ignored_pixels_count_for_nothing():
    ignore = np.zeros((10, 20), bool)
    ignore[5:, :] = True
    record = evaluate(Scripted([25, 50]), labelled=row_object(ignore))
    assert record.ious == (0.5, 1.0)
    assert all(y < 5 for _, y, _ in record.clicks)


def test_times_are_recorded_for_every_click_and_the_finished_object():
    record = evaluate(Scripted([50, 100]))
    assert len(record.click_ms) == 2
    assert len(record.step_ms) == 3
    assert all(ms > 0 for ms in (*record.click_ms, *record.step_ms, record.encode_ms))


def test_wrong_answers_and_stop_rules_are_refused():
    class Wrong(Scripted):
        def click(self, clicks):
            return np.zeros((3, 3), bool)

    with pytest.raises(ValueError, match="like the image"):
        evaluate(Wrong([1]))
    for target, limit in ((0.0, 5), (1.5, 5), (float("nan"), 5), (0.9, 0)):
        with pytest.raises(ValueError, match=r"IoU|click"):
            evaluate(Scripted([1]), target, limit)


def test_iou_by_hand():
    assert iou(mask_of(40), mask_of(100)) == 0.4
    assert iou(mask_of(0), mask_of(0)) == 1.0
    assert iou(mask_of(0), mask_of(7)) == 0.0
    ignore = ~mask_of(50)
    assert iou(mask_of(40), mask_of(100), ignore) == 0.8


def test_number_of_clicks_and_iou_after_clicks():
    assert noc([0.2, 0.85, 0.3], 0.85, 20) == 2
    assert noc([0.2, 0.8], 0.85, 20) == 20
    assert [iou_after([0.2, 0.9], k) for k in (1, 2, 20)] == [0.2, 0.9, 0.9]
    with pytest.raises(ValueError, match="at least one click"):
        iou_after([], 1)


def record(name, ious, target):
    return ObjectRecord(name, tuple(ious), ious[-1] >= target, ((0, 0, True),) * len(ious))


def test_figures_of_three_objects():
    target, limit = 0.85, 4
    records = [
        record("a", [0.9], target),  # one click
        record("b", [0.2, 0.4, 0.76, 0.88], target),  # reached on the very last click
        record("c", [0.1, 0.2, 0.3, 0.4], target),  # never reached
    ]
    figures = summarise(records, target, limit)
    assert figures["objects"] == 3
    assert figures["noc"] == 3.0
    assert figures["fr"] == pytest.approx(1 / 3)
    assert figures["fr_at_limit"] == pytest.approx(2 / 3)
    assert figures["iou_at"] == {
        "1": pytest.approx(1.2 / 3),
        "3": pytest.approx((0.9 + 0.76 + 0.3) / 3),
        "5": None,
        "10": None,
        "20": None,
    }
    assert figures["lower_targets"] == {
        "0.75": {"noc": pytest.approx(8 / 3), "fr": pytest.approx(1 / 3)},
        "0.80": {"noc": pytest.approx(3.0), "fr": pytest.approx(1 / 3)},
    }


def test_first_and_last_third():
    records = [record(str(i), [i / 10], 0.85) for i in range(8)]  # thirds of two: 0, 1 and 6, 7
    parts = thirds(records, 0.85, 1)
    assert parts["first"]["iou_at"]["1"] == pytest.approx(0.05)
    assert parts["last"]["iou_at"]["1"] == pytest.approx(0.65)
    assert parts["last"]["objects"] == 2
    assert thirds(records[:2], 0.85, 1) is None


def test_mean_counts_every_set_the_same():
    one = summarise([record("a", [0.9], 0.85)], 0.85, 3)
    three = summarise([record(n, [0.1, 0.2, 0.3], 0.85) for n in "bcd"], 0.85, 3)
    mean = mean_of([one, three])
    assert mean["objects"] == 4
    assert mean["noc"] == 2.0
    assert mean["fr"] == 0.5
    assert mean["iou_at"]["3"] == pytest.approx(0.6)
    assert mean["iou_at"]["20"] is None
    assert mean["lower_targets"]["0.75"]["fr"] == 0.5
