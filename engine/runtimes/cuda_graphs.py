"""Work on a GPU that is captured once for each shape of its inputs, and replayed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from livesam.engine.runtimes.recent import Recent

if TYPE_CHECKING:
    from torch import Tensor

Shapes: TypeAlias = tuple[tuple[int, ...], ...]


class CudaGraphs:
    """CUDA graphs by the shapes of their inputs, with fixed buffers in and out; the latest ``most`` are kept."""

    def __init__(self, forward: Any, most: int) -> None:
        self._forward = forward
        self._captured: Recent[Shapes, tuple[Any, list[Tensor], tuple[Tensor, ...]]] = Recent(most)

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        with torch.cuda.device(inputs[0].device):  # a stream and a graph belong to the GPU that is current
            return self._replay(inputs)

    def _replay(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        shapes = tuple(tuple(value.shape) for value in inputs)
        graph, fixed, outputs = self._captured.find(shapes, lambda: self._capture(inputs))
        for buffer, value in zip(fixed, inputs, strict=True):
            buffer.copy_(value)
        graph.replay()
        return outputs

    def _capture(self, inputs: tuple[Tensor, ...]) -> tuple[Any, list[Tensor], tuple[Tensor, ...]]:
        fixed = [value.clone() for value in inputs]
        side: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # three rounds first: lazy initialisation must not be captured
            for _ in range(3):
                self._forward(*fixed)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # a learner may allocate meanwhile
            outputs = self._forward(*fixed)
        return graph, fixed, outputs
