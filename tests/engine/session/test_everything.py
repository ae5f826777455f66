from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from livesam.engine.serving.right_of_way import RightOfWay
from livesam.engine.serving.slot import DecoderSlot
from livesam.engine.session.everything import Sieve, distinct, propose_everything, stability
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.result import DecoderOutput
from livesam.engine.view.look import Look
from livesam.engine.view.view import View

HW = (300, 400)
BOXES = ((20, 20, 120, 140), (200, 150, 390, 280), (180, 20, 260, 90))  # x0, y0, x1, y1


def box(index: int) -> np.ndarray:
    x0, y0, x1, y1 = BOXES[index]
    mask = np.zeros(HW, bool)
    mask[y0:y1, x0:x1] = True
    return mask


class Decoder:
    """Answers a click with the box that it is in: half of it, all, and everything, the last of which it doubts."""

    concurrent, runtime, painter = True, "boxes", None

    def __init__(self, softness: float = 0.0) -> None:
        self._softness = softness

    def decode(self, embedding: Any, prompts: Any) -> DecoderOutput:
        logits = np.full((len(prompts), 4, 128, 128), -5, np.float32)
        ious = np.zeros((len(prompts), 4), np.float32)
        for i, prompt in enumerate(prompts):
            click = prompt.clicks[0]
            for index in range(len(BOXES)):
                if box(index)[int(click.y), int(click.x)]:
                    small = cv2.resize(box(index).astype(np.float32), (128, 96), interpolation=cv2.INTER_AREA)
                    logits[i, 2, :96] = np.where(small > 0.5, 5, -5 + self._softness)
                    logits[i, 1, :96, :64] = logits[i, 2, :96, :64]
                    logits[i, 3] = 5
                    ious[i] = (0, 0.5, 0.8 + 0.05 * index, 0.69)
        return DecoderOutput(logits, ious)

    def close(self) -> None: ...


def session(decoder: Decoder) -> Any:
    slot = DecoderSlot(lambda weights: decoder, {"w": np.zeros(1, np.float32)})  # type: ignore[arg-type, return-value]
    embedding = ImageEmbedding(np.zeros((1, 256, 32, 32), np.float32), HW, (384, 512), "k")
    whole = View.whole(embedding, None)
    return SimpleNamespace(whole_view=whole, slot=slot, right_of_way=RightOfWay(), look=Look())


def test_each_object_is_found_once_the_surest_first() -> None:
    found = list(propose_everything(session(Decoder())))
    assert [round(one.iou, 2) for one in found] == [0.9, 0.85, 0.8]
    for one, index in zip(found, (2, 1, 0), strict=True):
        assert (one.mask & box(index)).sum() / (one.mask | box(index)).sum() > 0.93  # low-res logits have 128 px a side
        assert one.mask.shape == HW


def test_a_coarse_grid_misses_what_lies_between_its_points() -> None:
    assert len(list(propose_everything(session(Decoder()), Sieve(side=2)))) < 3


@pytest.mark.parametrize(("sieve", "count"), [(Sieve(iou=0.82), 2), (Sieve(most=1), 1), (Sieve(iou=0.95), 0)])
def test_what_is_kept_is_the_sieves(sieve: Sieve, count: int) -> None:
    assert len(list(propose_everything(session(Decoder()), sieve))) == count


def test_a_mask_whose_border_is_anywhere_is_left_out() -> None:
    assert list(propose_everything(session(Decoder(softness=4.5)))) == []  # all else is at -0.5


def test_of_masks_that_say_the_same_the_first_stays() -> None:
    masks = [np.zeros((10, 10), bool) for _ in range(4)]
    masks[0][:5], masks[1][:4], masks[2][5:], masks[3][:, :5] = True, True, True, True
    assert distinct(masks, 0.7) == [0, 2, 3]
    assert distinct(masks, 0.9) == [0, 1, 2, 3]
    assert distinct([], 0.5) == []


def test_stability_is_the_iou_of_two_cuts() -> None:
    logits = np.full((2, 10, 10), -5, np.float32)
    logits[0, :4] = 5
    logits[1, :4], logits[1, 4:8] = 5, 0.5
    assert stability(logits).tolist() == [1, 0.5]


@pytest.mark.parametrize("wrong", [{"side": 0}, {"side": 500}, {"most": 0}, {"iou": 1.5}, {"overlap": -1}])
def test_a_sieve_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="got"):
        Sieve(**wrong)  # type: ignore[arg-type]
