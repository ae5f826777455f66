"""The gradient of a batch of lessons: in parts, so that a click waits for no more, or on a GPU all at once."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Generator
from typing import TYPE_CHECKING

from livesam.adapter.methods.lessons import PREPARED
from livesam.adapter.methods.recorded_loss import RecordedLoss

if TYPE_CHECKING:
    from livesam.adapter.flat_decoder import FlatDecoder
    from livesam.adapter.learning.guard import StepGuard
    from livesam.adapter.method import StepReport
    from livesam.adapter.methods.late_layers import LateLayers
    from livesam.adapter.methods.replay import Lesson
    from torch import Tensor

log = logging.getLogger(__name__)

PART = 2  # lessons that go through the late layers together


class BatchGradient:
    """Writes a decoder's gradient.

    Args:
        guard: counts losses that are not finite.
        recorded: the same as a graph, where there is a GPU.

    Attributes:
        counts: ``not_recorded``.
    """

    def __init__(
        self, late: LateLayers, decoder: FlatDecoder, guard: StepGuard, recorded: RecordedLoss | None = None
    ) -> None:
        self._late, self._decoder, self._guard, self._recorded = late, decoder, guard, recorded
        self.counts: Counter[str] = Counter()

    def take(self, batch: list[Lesson]) -> Generator[StepReport, None, float | None]:
        """The mean loss, its gradient being in the decoder.

        Returns:
            None where the loss is not finite.
        """
        if self._recorded is not None and self._recorded.fits(batch):
            loss = self._replayed(self._recorded, batch)
            if loss is not None:
                return float(loss) if self._guard.loss_is_good(loss) else None
        value = 0.0
        self._decoder.gradient.zero_()
        for start in range(0, len(batch), PART):
            if start:
                yield PREPARED
            loss = self._late.loss(self._decoder, batch[start : start + PART]).sum() / len(batch)
            value += float(loss.detach())
            if not self._guard.loss_is_good(loss):
                return None
            loss.backward()  # type: ignore[no-untyped-call]
        return value

    def _replayed(self, recorded: RecordedLoss, batch: list[Lesson]) -> Tensor | None:
        """The loss by the recorded graph; None, from then on, where CUDA does not record it."""
        try:
            return recorded(batch)
        except RuntimeError:
            log.warning("a step of learning cannot be recorded as a CUDA graph: it goes on without", exc_info=True)
            self.counts["not_recorded"] += 1
            self._recorded = None
            return None
