"""Work on a GPU that is captured once for each shape of its inputs, and replayed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from livesam.engine.runtimes.recent import Recent

if TYPE_CHECKING:
    from livesam.engine.runtimes.recorder import Recorder, Work
    from torch import Tensor

Shapes: TypeAlias = tuple[tuple[int, ...], ...]


class CudaGraphs:
    """Graphs by the shapes of their inputs, with fixed buffers in and out; the latest ``most`` are kept.

    Args:
        forward: what is recorded.
        most: graphs that are kept.
        record: makes graphs. Those of a ``CudaRecorder`` share memory: read an answer before the next call, and call
            with the recorder's stream current.
    """

    def __init__(self, forward: Any, most: int, record: Recorder) -> None:
        self._forward, self._record = forward, record
        self._captured: Recent[Shapes, tuple[list[Tensor], Work]] = Recent(most)

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        shapes = tuple(tuple(value.shape) for value in inputs)
        fixed, work = self._captured.find(shapes, lambda: self._recorded(inputs))
        for buffer, value in zip(fixed, inputs, strict=True):
            buffer.copy_(value)
        return work()

    def _recorded(self, inputs: tuple[Tensor, ...]) -> tuple[list[Tensor], Work]:
        fixed = [value.clone() for value in inputs]
        return fixed, self._record(lambda: self._forward(*fixed))
