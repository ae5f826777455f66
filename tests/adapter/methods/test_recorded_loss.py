"""The loss of a whole batch at once is the loss in parts; on the CPU nothing is recorded, so this is the arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from livesam.adapter.flat_decoder import FlatDecoder
from livesam.adapter.learning.guard import GuardConfig, StepGuard
from livesam.adapter.method import StepReport
from livesam.adapter.methods.batch_gradient import BatchGradient
from livesam.adapter.methods.late_layers import LATE, LateLayers
from livesam.adapter.methods.recorded_loss import CLICKS, RecordedLoss
from livesam.adapter.methods.replay import Label, Lesson
from livesam.adapter.torch_decoder import Decoding
from livesam.engine.runtimes.recorder import Work, eager
from segment_anything.modeling import Sam
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

BATCH = 6


def lesson(seed: int, clicks: int) -> Lesson:
    generator = torch.Generator().manual_seed(seed)

    def some(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    label = Label((some(64, 64) > 0.5).float(), (some(64, 64) > -1).float())
    xy, positive = torch.tanh(some(clicks, 2)), (some(clicks) > -0.5).float()
    first = clicks == 1 and seed % 2 == 0
    return Lesson(some(5, 256).half(), some(256, 256).half(), label, xy, positive, first, 0.5 + seed % 2 / 2)


@pytest.fixture
def parts(small_sam: Sam) -> tuple[LateLayers, FlatDecoder, Decoding]:
    decoding = Decoding(small_sam)
    decoder = FlatDecoder(small_sam.mask_decoder, trainable=lambda name: name.startswith(LATE))
    return LateLayers(decoding, 3.0, 0.5), decoder, decoding


def taken(gradient: BatchGradient, batch: list[Lesson]) -> tuple[float | None, int]:
    """The loss, and how many micro-steps it took."""
    steps, found = 1, gradient.take(batch)
    while True:
        try:
            assert isinstance(next(found), StepReport)
            steps += 1
        except StopIteration as end:
            return end.value, steps


def test_at_once_and_in_parts_are_the_same(parts: tuple[LateLayers, FlatDecoder, Decoding]) -> None:
    late, decoder, decoding = parts
    guard = StepGuard(decoder.vector.clone(), GuardConfig())
    slow = BatchGradient(late, decoder, guard)
    fast = BatchGradient(late, decoder, guard, RecordedLoss(late, decoder, decoding.position(), BATCH, eager))
    batches = [[lesson(10 * b + i, clicks) for i, clicks in enumerate((1, 2, 5, 1, 0, CLICKS))] for b in range(2)]
    for batch in batches:  # what the batch before has left in the tensors does not show
        want, micro_steps = taken(slow, batch)
        assert micro_steps == 3
        expected = decoder.gradient.clone()
        got, micro_steps = taken(fast, batch)
        assert micro_steps == 1
        assert got == pytest.approx(want, rel=1e-5)
        assert float((decoder.gradient - expected).norm() / expected.norm()) < 1e-4
        assert float(expected.norm()) > 1e-3


def test_what_the_graph_does_not_take_is_learned_without_it(parts: tuple[LateLayers, FlatDecoder, Decoding]) -> None:
    late, decoder, decoding = parts
    guard = StepGuard(decoder.vector.clone(), GuardConfig())
    recorded = RecordedLoss(late, decoder, decoding.position(), BATCH, eager)
    gradient = BatchGradient(late, decoder, guard, recorded)
    few, many = [lesson(1, 2)], [lesson(i, CLICKS + 1) for i in range(BATCH)]
    for batch in (few, many):
        assert not recorded.fits(batch)
        value, steps = taken(gradient, batch)
        assert value is not None
        assert steps == (len(batch) + 1) // 2


def test_without_a_graph_learning_goes_on(
    parts: tuple[LateLayers, FlatDecoder, Decoding], caplog: pytest.LogCaptureFixture
) -> None:
    late, decoder, decoding = parts

    def refuses(work: Work) -> Work:
        raise RuntimeError("operation not permitted when stream is capturing")

    guard = StepGuard(decoder.vector.clone(), GuardConfig())
    gradient = BatchGradient(late, decoder, guard, RecordedLoss(late, decoder, decoding.position(), BATCH, refuses))
    batch = [lesson(i, 2) for i in range(BATCH)]
    for _ in range(2):
        value, steps = taken(gradient, batch)
        assert value is not None
        assert steps == 3
    assert gradient.counts == {"not_recorded": 1}
    assert "cannot be recorded" in caplog.text


def test_a_loss_that_is_not_finite_is_told(parts: tuple[LateLayers, FlatDecoder, Decoding]) -> None:
    late, decoder, decoding = parts
    guard = StepGuard(decoder.vector.clone(), GuardConfig())
    gradient = BatchGradient(late, decoder, guard, RecordedLoss(late, decoder, decoding.position(), BATCH, eager))
    batch = [lesson(i, 2) for i in range(BATCH)]
    batch[3].queries[0, 0] = np.nan
    assert taken(gradient, batch) == (None, 1)
    assert guard.counts["bad_loss"] == 1


def test_what_is_recorded_asks_nothing_of_the_host(small_sam: Sam) -> None:
    """A graph does again what the device did, not what the host did."""
    meta = torch.device("meta")  # stands for a GPU
    decoder = FlatDecoder(small_sam.mask_decoder, "meta", trainable=lambda name: name.startswith(LATE))
    recorded = RecordedLoss(
        LateLayers(Decoding(small_sam), 3.0, 0.5), decoder, torch.zeros(1, 256, 256, device=meta), BATCH, eager
    )
    found: list[str] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            leaves = tree_leaves((args, kwargs, result))
            host = any(isinstance(leaf, torch.Tensor) and leaf.device != meta for leaf in leaves)
            if host or func.name().startswith("aten::_local_scalar"):
                found.append(func.name())
            return result

    with Watch():
        (loss,) = recorded._step()
    assert loss.device == meta
    assert found == []
