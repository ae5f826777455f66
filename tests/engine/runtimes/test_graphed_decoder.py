"""The decoder for a GPU, on the CPU: no graph is recorded, but shapes, copies and answers are the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from livesam.engine.models.serving_decoder import OWN
from livesam.engine.runtimes.graphed_decoder import AT_ONCE, COMMON, GraphedDecoder, Shape
from livesam.engine.runtimes.recent import DECODER_GRAPHS
from livesam.engine.runtimes.recorder import Work
from livesam.engine.runtimes.torch_decoder import TorchDecoder
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.errors import SessionError, SwapError
from livesam.engine.values.prompt import Box, Click, Prompt
from livesam.engine.view.geometry import postprocess
from livesam.engine.view.points import geometry_of
from livesam.engine.view.selection import select_token
from segment_anything.modeling import Sam

CPU = torch.device("cpu")
HW = (75, 131)
MASK = np.random.default_rng(5).standard_normal((32, 32)).astype(np.float32) * 6
CLICKS = tuple(Click(5.0 + 7 * i, 3.0 + 4 * i, i % 3 != 2) for i in range(16))
PROMPTS = [
    Prompt(CLICKS[:1]),
    Prompt(CLICKS[:3]),
    Prompt(box=Box(3, 4, 90, 60)),
    Prompt(CLICKS[:2], Box(3, 4, 90, 60), MASK),
    Prompt(CLICKS),
    Prompt(mask_logits=MASK),
    Prompt(CLICKS[1:2], mask_logits=-MASK),
]


class Recorder:
    """Counts what is recorded and what is done again."""

    def __init__(self) -> None:
        self.recorded = self.replayed = 0

    def __call__(self, work: Work) -> Work:
        self.recorded += 1

        def replay() -> tuple[torch.Tensor, ...]:
            self.replayed += 1
            return work()

        return replay


def embedding(seed: int = 0) -> ImageEmbedding:
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((1, 256, 8, 8), dtype=np.float32)
    return ImageEmbedding(features, HW, (73, 128), f"k{seed}")


@pytest.fixture
def reference(tiny_sam: Sam) -> TorchDecoder:
    return TorchDecoder(tiny_sam)


def close(got: np.ndarray, right: np.ndarray, share: float = 2e-6) -> None:
    np.testing.assert_allclose(got, right, rtol=0, atol=share * max(1.0, float(np.abs(right).max())))


def test_every_prompt_alone_and_all_together_get_the_references_answer(tiny_sam: Sam, reference: TorchDecoder) -> None:
    decoder = GraphedDecoder(tiny_sam, CPU)
    right = reference.decode(embedding(), PROMPTS)
    together = decoder.decode(embedding(), PROMPTS)
    close(together.low_res_logits, right.low_res_logits)
    close(together.ious, right.ious)
    for i, prompt in enumerate(PROMPTS):
        alone = decoder.decode(embedding(), [prompt])
        close(alone.low_res_logits[0], right.low_res_logits[i])
        close(alone.ious[0], right.ious[i])


@pytest.mark.parametrize("points", [3, 11, 27, 59, 123])
def test_filling_up_changes_no_answer(tiny_sam: Sam, points: int) -> None:
    """The same prompt in every shape that it fits into: equal to rounding, unlike with SAM's own padding points."""
    decoder = GraphedDecoder(tiny_sam, CPU)
    usual = decoder.decode(embedding(), PROMPTS[:1])
    larger = Shape(4, points, True, True)
    decoder._run_of(larger)
    padded = decoder._runs[larger]
    row = np.array([(2 * ((c + np.float32(0.5)) / 128) - 1) for c in (5.0 * 128 / 131, 3.0 * 73 / 75)], np.float32)
    staged = decoder.transfers.staging(padded.inputs.numel())
    parts = decoder._parts(staged, larger)
    staged[:] = 0
    parts[0][..., 2] = -2
    parts[0][0, 0] = [*row, 1]
    parts[0][0, 1] = [1 / 128 - 1, 1 / 128 - 1, -1]
    with torch.inference_mode():
        decoder.transfers.up(padded.inputs)
        logits, ious = padded.work()
    close(logits[:1].numpy(), usual.low_res_logits)
    close(ious[:1].numpy(), usual.ious)
    parts[0][0, 2, 2] = -1  # a point that the decoder does attend to
    with torch.inference_mode():
        decoder.transfers.up(padded.inputs)
        assert np.abs(padded.work()[0][:1].numpy() - usual.low_res_logits).max() > 1e-3


@pytest.mark.parametrize("rule", ["official", "single", "multi"])
def test_masks_are_those_of_the_slow_way(tiny_sam: Sam, reference: TorchDecoder, rule: Any) -> None:
    decoder, right = GraphedDecoder(tiny_sam, CPU), reference.decode(embedding(), PROMPTS)
    got = decoder.decode_masks(embedding(), PROMPTS, rule)
    geometry = geometry_of(embedding())
    again = decoder.draw(np.ascontiguousarray(got.low_res_logits), geometry)
    np.testing.assert_array_equal(again, got.packed)
    for i, prompt in enumerate(PROMPTS):
        token = select_token(right.ious[i], prompt, rule)
        close(got.low_res_logits[i], right.low_res_logits[i, token])
        assert got.ious[i] == pytest.approx(right.ious[i, token], abs=1e-5)
        full = postprocess(right.low_res_logits[i, token], geometry)
        sure = np.abs(full) > 1e-4 * np.abs(full).max()
        np.testing.assert_array_equal(got.mask(i)[sure], (full > 0)[sure])
        assert got.mask(i).shape == HW
    logits_only = decoder.decode_masks(embedding(), PROMPTS, rule, draw=False)
    assert logits_only.packed.size == 0
    np.testing.assert_array_equal(logits_only.low_res_logits, got.low_res_logits)


def test_a_click_is_one_copy_up_and_one_down(tiny_sam: Sam) -> None:
    decoder = GraphedDecoder(tiny_sam, CPU)
    for prompts, draw in ((PROMPTS[:1], True), (PROMPTS[3:4], True), (PROMPTS, True), (PROMPTS[6:7], False)):
        decoder.transfers.ups = decoder.transfers.downs = 0
        decoder.decode_masks(embedding(), prompts, draw=draw)
        assert (decoder.transfers.ups, decoder.transfers.downs) == (1, 1)
    decoder.transfers.ups = decoder.transfers.downs = 0
    many = [PROMPTS[i % len(PROMPTS)] for i in range(AT_ONCE + 3)]
    answers = decoder.decode_masks(embedding(), many)
    assert (decoder.transfers.ups, decoder.transfers.downs) == (2, 2)
    alone = decoder.decode_masks(embedding(), many[-1:])
    close(answers.low_res_logits[-1], alone.low_res_logits[0])
    assert len(answers.packed) == len(many)


def test_graphs_are_recorded_once_for_each_filled_up_shape(tiny_sam: Sam) -> None:
    recorder = Recorder()
    decoder = GraphedDecoder(tiny_sam, CPU, record=recorder)
    for count in (1, 2, 1):  # 2 and 3 points with SAM's own padding point: both fill 8 tokens
        decoder.decode_masks(embedding(), [Prompt(CLICKS[:count])])
    assert (recorder.recorded, recorder.replayed) == (1, 3)
    decoder.decode_masks(embedding(), [Prompt(CLICKS[:3])])
    decoder.decode_masks(embedding(), PROMPTS[:3])
    decoder.decode_masks(embedding(), PROMPTS[:4])
    decoder.decode_masks(embedding(1), PROMPTS[:1])  # another image is no other shape
    assert recorder.recorded == 4
    assert {shape.prompts for shape in decoder._runs} == {1, 4}


def test_what_one_decoder_was_asked_the_other_has_recorded_before_it_serves(
    tiny_sam: Sam, weights_of: Callable[[int], dict[str, np.ndarray]]
) -> None:
    """So that no click after a swap waits for a graph."""
    seen: dict[Shape, None] = dict.fromkeys(COMMON)
    recorders = Recorder(), Recorder()
    first, second = (GraphedDecoder(tiny_sam, CPU, seen=seen, record=one) for one in recorders)
    first.load_weights(weights_of(0))
    first.decode_masks(embedding(), PROMPTS)
    second.load_weights(weights_of(1))
    recorded = recorders[1].recorded
    assert recorded == len(COMMON) + 1
    for prompts in (PROMPTS, PROMPTS[:1], PROMPTS[3:4]):
        second.decode_masks(embedding(), prompts)
    assert recorders[1].recorded == recorded


def test_new_weights_reach_the_answer_and_wrong_ones_do_not(
    tiny_sam: Sam, weights_of: Callable[[int], dict[str, np.ndarray]], reference: TorchDecoder
) -> None:
    decoder = GraphedDecoder(tiny_sam, CPU)
    for seed in (3, 0, 4):  # all 120 tensors differ
        decoder.load_weights(weights_of(seed))
        reference.load_weights(weights_of(seed))
        close(
            decoder.decode(embedding(), PROMPTS).low_res_logits, reference.decode(embedding(), PROMPTS).low_res_logits
        )
    with pytest.raises(SwapError, match="missing"):
        decoder.load_weights({})
    decoder.close()
    for call in (lambda: decoder.decode(embedding(), PROMPTS), lambda: decoder.decode_masks(embedding(), PROMPTS)):
        with pytest.raises(SessionError, match="closed"):
            call()
    with pytest.raises(SwapError, match="closed"):
        decoder.load_weights(weights_of(0))


def test_refuses_what_it_cannot_answer(tiny_sam: Sam) -> None:
    decoder = GraphedDecoder(tiny_sam, CPU)
    with pytest.raises(ValueError, match="at least one prompt"):
        decoder.decode_masks(embedding(), [])
    with pytest.raises(ValueError, match="must have the shape"):
        decoder.decode_masks(embedding(), [Prompt(mask_logits=MASK[:8])])
    with pytest.raises(ValueError, match="unknown rule"):
        decoder.decode_masks(embedding(), PROMPTS, "best")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("points", "filled"), [(0, 3), (2, 3), (3, 3), (4, 11), (11, 11), (12, 27), (28, 59), (60, 123)]
)
def test_points_and_the_decoders_own_tokens_fill_powers_of_two(points: int, filled: int) -> None:
    shape = Shape.of(3, points, False, False)
    assert (shape.prompts, shape.points) == (4, filled)
    assert (filled + OWN) & (filled + OWN - 1) == 0


def test_no_more_is_recorded_ahead_than_is_kept(
    tiny_sam: Sam, weights_of: Callable[[int], dict[str, np.ndarray]]
) -> None:
    """Or every swap would record all shapes of a long day anew."""
    recorder = Recorder()
    shapes = [
        Shape(1 << p, n, masked, whole)
        for p in range(7)
        for n in (3, 11)
        for masked in (False, True)
        for whole in (False, True)
    ]
    decoder = GraphedDecoder(tiny_sam, CPU, seen=dict.fromkeys(shapes), record=recorder)
    decoder.load_weights(weights_of(0))
    assert len(shapes) > DECODER_GRAPHS == recorder.recorded
    decoder.load_weights(weights_of(1))
    assert recorder.recorded == DECODER_GRAPHS
