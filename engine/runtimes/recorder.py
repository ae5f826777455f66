"""Work that is done again and again on the same tensors: recorded once as a CUDA graph, or simply done again."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor

Work: TypeAlias = Callable[[], tuple[Tensor, ...]]
WARM_UP = 2  # rounds: lazy initialisation must not be recorded

_recording = threading.Lock()  # PyTorch records one graph at a time; its switches for TF32 are the process's


class Recorder(Protocol):
    """Makes of work what does it again, on what its tensors hold by then."""

    def __call__(self, work: Work) -> Work: ...


def eager(work: Work) -> Work:
    """No recording: the work itself."""
    return work


class CudaRecorder:
    """Records CUDA graphs on one stream. They share their memory, so what one has made is to be read before the next.

    Args:
        exact: float32 products are float32's; PyTorch's convolutions are TF32's unless told not to.
    """

    def __init__(self, stream: torch.cuda.Stream, *, exact: bool = True) -> None:
        self._stream, self._exact = stream, exact
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, work: Work) -> Work:
        graph: Any = torch.cuda.CUDAGraph()
        exact = no_tf32() if self._exact else contextlib.nullcontext()
        with _recording, exact, torch.cuda.stream(self._stream):
            for _ in range(WARM_UP):
                work()
            self._stream.synchronize()
            # Not by torch.cuda.graph, which waits for the whole device, clicks included; thread_local, because others
            # may allocate meanwhile.
            graph.capture_begin(self._pool, capture_error_mode="thread_local")
            try:
                found = work()
            finally:
                graph.capture_end()

        def replay() -> tuple[Tensor, ...]:
            graph.replay()
            return found

        return replay


@contextlib.contextmanager
def no_tf32() -> Iterator[None]:
    """PyTorch's float32 products and convolutions in float32. The switches are the process's, so only for an instant.

    A graph keeps the kernels that were chosen when it was recorded.
    """
    matmul: Any = torch.backends.cuda.matmul
    cudnn: Any = torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = False
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before
