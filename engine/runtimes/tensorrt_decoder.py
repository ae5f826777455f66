"""Decoders over TensorRT plans, with two ways of changing their weights under a running application.

Nothing here that touches a device has ever run on a GPU. Both decoders keep two banks of weights; clicks use one while
the other is filled, and a swap is a change of index:

* ``TrtDecoder``: the 120 tensors are engine inputs. A bank is a set of device buffers, a swap changes pointers.
* ``TrtRefitDecoder``: a bank is an engine of its own, refitted while no work is in flight on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from livesam.engine.runtimes.packing import PackingDecoder, T
from livesam.engine.runtimes.recent import DECODER_GRAPHS, Recent
from livesam.engine.runtimes.tensorrt import PlanEngine, capture, checked_weights, load_library, on_gpu, weight_inputs
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.errors import RuntimeUnavailable, SwapError
from livesam.engine.values.protocols import DecoderWeights, MaskDecoder
from livesam.engine.view.points import PromptGroup

if TYPE_CHECKING:
    import torch

# TensorRT 11.3.0's release notes: a refittable engine may take a GEMM bias for zero. Not in 10.16.1 and 11.4.0.
DROPS_BIASES = ((11, 3),)

Verify = Callable[[MaskDecoder, DecoderWeights], None]


def refit_is_trusted(version: str) -> bool:
    """Whether refitted engines of this TensorRT version may serve without a comparison with PyTorch."""
    parts = tuple(int(p) for p in version.split(".")[:2] if p.isdigit())
    return parts not in DROPS_BIASES


@dataclass
class _Bank:
    """One set of weights: the engine that runs, and the weights that are bound as its inputs (none when refitted)."""

    engine: PlanEngine
    weights: dict[str, torch.Tensor]


@dataclass
class _Recorded:
    """Fixed device buffers for one shape of prompts, and the CUDA graph that works on them."""

    tensors: dict[str, torch.Tensor]
    graph: torch.cuda.CUDAGraph
    run: object  # holds the execution context that the graph was captured from


class _BankedDecoder(PackingDecoder):
    """Decoding over two banks, one click at a time, on the GPU that was current when it was opened (``on_gpu``).

    Never run on a GPU so far.
    """

    concurrent = False  # one set of buffers for each shape

    def __init__(self, banks: Sequence[_Bank], embedding_hw: tuple[int, int]) -> None:
        import torch

        super().__init__(banks[0].engine.runtime)
        self._banks = list(banks)
        self._active = 0
        self._gpu = banks[0].engine.gpu
        self._hw = embedding_hw
        self._stream: Any = torch.cuda.Stream(priority=-1)  # type: ignore[no-untyped-call]  # before the learner's
        self._embedding = torch.zeros((1, 256, *embedding_hw), device="cuda")
        self._embedding_key: str | None = None
        self._recorded: Recent[tuple[int, int, int, int], _Recorded] = Recent(DECODER_GRAPHS)

    def _free(self) -> None:
        self._recorded.clear()
        self._banks.clear()

    def _place(self, embedding: ImageEmbedding) -> None:
        """Copy the embedding into the engine's buffer when it is another one; on the device it never leaves it."""
        if embedding.key == self._embedding_key:
            return
        import torch

        with torch.cuda.stream(self._stream):
            features = embedding.features
            source = torch.from_numpy(features).pin_memory() if isinstance(features, np.ndarray) else features
            self._embedding.copy_(source, non_blocking=True)
        self._stream.synchronize()
        self._embedding_key = embedding.key

    def _read(
        self, embedding: ImageEmbedding, group: PromptGroup, read: Callable[[torch.Tensor, torch.Tensor], T]
    ) -> T:
        """One batch through the active bank; ``read`` runs on the decoder's own stream."""
        import torch

        with on_gpu(self._gpu):
            self._place(embedding)
            feeds = {name: torch.from_numpy(array).pin_memory() for name, array in group.feeds().items()}
            recorded = self._record(group)
            with torch.cuda.stream(self._stream):
                for name, value in feeds.items():
                    recorded.tensors[name].copy_(value, non_blocking=True)
                recorded.graph.replay()
                found = read(recorded.tensors["low_res_logits"], recorded.tensors["ious"])
            self._stream.synchronize()
            return found

    def _record(self, group: PromptGroup) -> _Recorded:
        prompts, points = group.point_labels.shape
        key = (self._active, prompts, points, group.has_mask.shape[0])
        return self._recorded.find(key, lambda: self._capture(group))

    def _capture(self, group: PromptGroup) -> _Recorded:
        import torch

        prompts, (h, w) = group.point_labels.shape[0], self._hw
        bank, stream = self._banks[self._active], self._stream
        tensors = {name: torch.zeros(array.shape, device="cuda") for name, array in group.feeds().items()}
        tensors["embedding"] = self._embedding
        tensors["low_res_logits"] = torch.zeros((prompts, 4, 4 * h, 4 * w), device="cuda")
        tensors["ious"] = torch.zeros((prompts, 4), device="cuda")
        run = bank.engine.bind({**tensors, **bank.weights})
        return _Recorded(tensors, capture(lambda: run(stream), stream), run)


def _embedding_hw(manifest: Mapping[str, Any]) -> tuple[int, int]:
    shape = manifest["inputs"]["embedding"]["shape"]
    return int(shape[2]), int(shape[3])


class TrtDecoder(_BankedDecoder):
    """Weights are engine inputs in two sets of device buffers, a swap changes pointers. Never run on a GPU so far.

    No engine is rebuilt or refitted and no click waits: the idle set is filled while the other serves, and each set
    keeps its own CUDA graphs, because a graph holds the pointers that it was recorded with.
    """

    def __init__(self, plan: Path, weights: DecoderWeights, library: str = "auto") -> None:
        """Open ``plan``, which was built from a graph with weights as inputs.

        Raises:
            RuntimeUnavailable: no library, no GPU, or a plan that does not belong here.
            SwapError: ``weights`` are not those of a mask decoder.
        """
        engine = PlanEngine(plan, library)
        if not engine.manifest["weights_as_inputs"]:
            raise RuntimeUnavailable(f"{plan} has constant weights: build it from a graph with weights_as_inputs=True")
        import torch

        self._inputs = weight_inputs(engine.manifest)
        dtype = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[engine.manifest["precision"]]
        banks = [
            _Bank(engine, {w.name: torch.zeros(w.shape, dtype=dtype, device="cuda") for w in self._inputs})
            for _ in range(2)
        ]
        super().__init__(banks, _embedding_hw(engine.manifest))
        self.load_weights(weights)

    def load_weights(self, weights: DecoderWeights) -> None:
        """Fill the idle set and make it the serving one.

        Raises:
            SwapError: names, shapes or values are not those of a mask decoder; the old weights stay in place.
        """
        import torch

        ready = checked_weights(weights, self._inputs)
        idle = 1 - self._active
        with on_gpu(self._gpu), torch.cuda.stream(self._stream):
            for name, array in ready.items():
                self._banks[idle].weights[name].copy_(torch.from_numpy(array))
        self._stream.synchronize()
        self._active = idle


class TrtRefitDecoder(_BankedDecoder):
    """Two refittable engines; the idle one is refitted from device buffers, then serves. Never run on a GPU so far.

    The buffers stay registered with the refitter, so a swap is one copy into them and one asynchronous refit on the
    decoder's own stream, where nothing else is in flight on that engine.
    """

    def __init__(
        self, plan: Path, weights: DecoderWeights, library: str = "auto", verify: Verify | None = None
    ) -> None:
        """Open ``plan`` twice.

        Args:
            verify: compares the decoder with PyTorch after a refit and raises ``SwapError`` (``Probe.check``); needed
                where the library is known to lose biases.

        Raises:
            RuntimeUnavailable: no library, no GPU, a plan that does not belong here or cannot be refitted, or TensorRT
                11.3 without ``verify``.
            SwapError: the first refit failed.
        """
        version = load_library(library).version
        if not refit_is_trusted(version) and verify is None:
            raise RuntimeUnavailable(
                f"TensorRT {version} may lose biases when refitting: use another version, weights as inputs "
                "(TrtDecoder), or give a comparison with PyTorch"
            )
        banks = [_Bank(PlanEngine(plan, library), {}) for _ in range(2)]
        for bank in banks:
            if not bank.engine.engine.refittable:
                raise RuntimeUnavailable(f"{plan} cannot be refitted: build it with refit=True on a machine with a GPU")
        super().__init__(banks, _embedding_hw(banks[0].engine.manifest))
        self._verify = verify
        self._inputs = weight_inputs(banks[0].engine.manifest)
        self._refitters, self._buffers = [], []
        for bank in banks:
            refitter, buffers = self._register(bank.engine)
            self._refitters.append(refitter)
            self._buffers.append(buffers)
        self.load_weights(weights)

    def _register(self, plan: PlanEngine) -> tuple[Any, dict[str, torch.Tensor]]:
        import torch

        trt = plan.library.module
        refitter = trt.Refitter(plan.engine, plan._logger)
        refitter.weights_validation = False  # ours are checked before; TensorRT's check reads every value again
        known = set(refitter.get_all_weights())
        kinds = {trt.float32: torch.float32, trt.float16: torch.float16, trt.bfloat16: torch.bfloat16}
        buffers = {}
        for w in self._inputs:
            if w.name not in known:
                continue  # no part of the engine, such as the key biases that the softmax cancels
            prototype = refitter.get_weights_prototype(w.name)
            buffers[w.name] = torch.zeros(w.shape, dtype=kinds[prototype.dtype], device="cuda")
            weights = trt.Weights(prototype.dtype, buffers[w.name].data_ptr(), buffers[w.name].numel())
            if not refitter.set_named_weights(w.name, weights, trt.TensorLocation.DEVICE):
                raise SwapError(f"TensorRT does not take {w.name} for refitting")
        missing = refitter.get_missing_weights()
        if missing:
            raise SwapError(f"a refit would also need {len(missing)} weights, among them {sorted(missing)[:3]}")
        return refitter, buffers

    def load_weights(self, weights: DecoderWeights) -> None:
        """Refit the idle engine and let it serve if it agrees with PyTorch.

        Raises:
            SwapError: not a mask decoder's weights, or the refit or its check failed; the old engine serves on.
        """
        import torch

        ready = checked_weights(weights, self._inputs)
        before, idle = self._active, 1 - self._active
        with on_gpu(self._gpu), torch.cuda.stream(self._stream):
            for name, buffer in self._buffers[idle].items():
                buffer.copy_(torch.from_numpy(ready[name]))
            done = self._refitters[idle].refit_cuda_engine_async(self._stream.cuda_stream)
        self._stream.synchronize()
        # Recorded graphs hold the old engine state; whether they see a refit is documented nowhere.
        for key in [k for k in self._recorded if k[0] == idle]:
            del self._recorded[key]
        if not done:
            raise SwapError("TensorRT could not refit the idle engine: the other one serves on")
        self._active = idle
        try:
            if self._verify is not None:
                self._verify(self, weights)
        except Exception:
            self._active = before
            raise
