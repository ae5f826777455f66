"""Decoders over TensorRT plans, with two ways of changing their weights.

The decoder slot keeps two decoders and fills the one that no click is using, so each of these has one set of weights
and one engine:

* ``TrtDecoder``: the 120 tensors are engine inputs; new weights are copied into the device buffers that are bound.
* ``TrtRefitDecoder``: the engine is refitted from device buffers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from livesam.engine.runtimes.packing import PackingDecoder, T
from livesam.engine.runtimes.recent import DECODER_GRAPHS, Recent
from livesam.engine.runtimes.tensorrt import PlanEngine, capture, load_library, on_gpu
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.errors import RuntimeUnavailable, SessionError, SwapError
from livesam.engine.values.protocols import DecoderWeights
from livesam.engine.view.points import PromptGroup

if TYPE_CHECKING:
    import torch
    from livesam.engine.runtimes.recorder import Work

# TensorRT 11.3.0's release notes: a refittable engine may take a GEMM bias for zero. Not in 10.16.1 and 11.4.0.
DROPS_BIASES = ((11, 3),)


def refit_is_trusted(version: str) -> bool:
    """Whether refitted engines of this TensorRT version keep all biases."""
    parts = tuple(int(p) for p in version.split(".")[:2] if p.isdigit())
    return parts not in DROPS_BIASES


@dataclass
class _Recorded:
    """Fixed device buffers for one shape of prompts, and the CUDA graph that works on them."""

    tensors: dict[str, torch.Tensor]
    graph: Work
    run: object  # holds the execution context that the graph was captured from


class _PlanDecoder(PackingDecoder):
    """Decoding with one engine, one click at a time, on the GPU that was current when it was opened (``on_gpu``).

    Args:
        bound: weights that are inputs of the engine; none where it is refitted.
    """

    concurrent = False  # one set of buffers for each shape

    def __init__(self, engine: PlanEngine, bound: Mapping[str, torch.Tensor]) -> None:
        import torch
        from livesam.engine.runtimes.streams import own_stream

        super().__init__(engine.runtime)
        self._engine: PlanEngine | None = engine
        self._bound = dict(bound)
        self._gpu = engine.gpu
        shape = engine.manifest["inputs"]["embedding"]["shape"]
        self._hw = int(shape[2]), int(shape[3])
        self._own = own_stream()
        self._stream = self._own.stream
        self._embedding = torch.zeros((1, 256, *self._hw), device="cuda")
        self._embedding_key: str | None = None
        self._recorded: Recent[tuple[int, int, int], _Recorded] = Recent(DECODER_GRAPHS)

    def _free(self) -> None:
        self._recorded.clear()
        self._bound.clear()
        self._engine = None

    def _place(self, embedding: ImageEmbedding) -> None:
        """Copy the embedding into the engine's buffer when it is another one; on the device it never leaves it."""
        if embedding.key == self._embedding_key:
            return
        import torch

        features = embedding.features
        source = torch.from_numpy(features).pin_memory() if isinstance(features, np.ndarray) else features
        self._embedding.copy_(source, non_blocking=True)
        self._stream.synchronize()
        self._embedding_key = embedding.key

    def _read(
        self, embedding: ImageEmbedding, group: PromptGroup, read: Callable[[torch.Tensor, torch.Tensor], T]
    ) -> T:
        """One batch through the engine; ``read`` runs on the decoder's own stream."""
        import torch

        with on_gpu(self._gpu), self._own.current():
            self._place(embedding)
            feeds = {name: torch.from_numpy(array).pin_memory() for name, array in group.feeds().items()}
            recorded = self._record(group)
            for name, value in feeds.items():
                recorded.tensors[name].copy_(value, non_blocking=True)
            recorded.graph()
            found = read(recorded.tensors["low_res_logits"], recorded.tensors["ious"])
            self._stream.synchronize()
            return found

    def _record(self, group: PromptGroup) -> _Recorded:
        prompts, points = group.point_labels.shape
        return self._recorded.find((prompts, points, group.has_mask.shape[0]), lambda: self._capture(group))

    def _capture(self, group: PromptGroup) -> _Recorded:
        import torch

        if self._engine is None:
            raise SessionError("the decoder is closed: open a new session")
        prompts, (h, w), stream = group.point_labels.shape[0], self._hw, self._stream
        tensors = {name: torch.zeros(array.shape, device="cuda") for name, array in group.feeds().items()}
        tensors["embedding"] = self._embedding
        tensors["low_res_logits"] = torch.zeros((prompts, 4, 4 * h, 4 * w), device="cuda")
        tensors["ious"] = torch.zeros((prompts, 4), device="cuda")
        run = self._engine.bind({**tensors, **self._bound})
        return _Recorded(tensors, capture(lambda: run(stream), stream), run)


class TrtDecoder(_PlanDecoder):
    """Weights are engine inputs in device buffers, so recorded CUDA graphs stay valid."""

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
        super().__init__(engine, {w.name: torch.zeros(w.shape, dtype=dtype, device="cuda") for w in self._inputs})
        self.load_weights(weights)

    def load_weights(self, weights: DecoderWeights) -> None:
        """Copy new weights into the buffers; never while a decode is running.

        Raises:
            SwapError: names, shapes or values are not those of a mask decoder; the old weights stay in place.
        """
        import torch

        ready = checked_weights(weights, self._inputs)
        with on_gpu(self._gpu), self._own.current():
            for name, array in ready.items():
                self._bound[name].copy_(torch.from_numpy(array))
        self._stream.synchronize()


class TrtRefitDecoder(_PlanDecoder):
    """A refittable engine, refitted in place from device buffers.

    The buffers stay registered with the refitter, so a swap is one copy into them and one asynchronous refit on the
    decoder's own stream, where nothing else is in flight on that engine.
    """

    def __init__(self, plan: Path, weights: DecoderWeights, library: str = "auto") -> None:
        """Open ``plan``, which was built to be refitted.

        Raises:
            RuntimeUnavailable: no library, no GPU, a plan that does not belong here or cannot be refitted, or TensorRT
                11.3, which may lose biases.
            SwapError: the first refit failed.
        """
        version = load_library(library).version
        if not refit_is_trusted(version):
            raise RuntimeUnavailable(
                f"TensorRT {version} may lose biases when refitting: use another version, or weights as inputs "
                "(swap='inputs')"
            )
        engine = PlanEngine(plan, library)
        if not engine.engine.refittable:
            raise RuntimeUnavailable(f"{plan} cannot be refitted: build it with refit=True on a machine with a GPU")
        super().__init__(engine, {})
        self._inputs = weight_inputs(engine.manifest)
        self._refitter, self._buffers = self._register(engine)
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
        """Refit the engine; never while a decode is running.

        Raises:
            SwapError: not a mask decoder's weights, and the old ones stay in place; or the refit failed, and the
                decoder may not serve before it is filled anew.
        """
        import torch

        ready = checked_weights(weights, self._inputs)
        with on_gpu(self._gpu), self._own.current():
            for name, buffer in self._buffers.items():
                buffer.copy_(torch.from_numpy(ready[name]))
            done = self._refitter.refit_cuda_engine_async(self._stream.cuda_stream)
        self._stream.synchronize()
        self._recorded.clear()  # whether a recorded graph sees a refit is documented nowhere
        if not done:
            raise SwapError("TensorRT could not refit the engine")


@dataclass(frozen=True)
class WeightInput:
    """One decoder tensor as an input of the engine."""

    name: str
    key: str
    transpose: bool
    shape: tuple[int, ...]


def weight_inputs(manifest: Mapping[str, Any]) -> list[WeightInput]:
    """The 120 tensors by the plan's input names, from a plan's manifest."""
    return [
        WeightInput(name, w["key"], bool(w["transpose"]), tuple(w["shape"]))
        for name, w in sorted(manifest["weights"].items())
    ]


def checked_weights(weights: DecoderWeights, inputs: Sequence[WeightInput]) -> dict[str, npt.NDArray[np.float32]]:
    """Weights by input name, transposed as the engine wants them.

    Raises:
        SwapError: a tensor is missing, unknown, of another shape or not finite.
    """
    keys = {w.key for w in inputs}
    if set(weights) != keys:
        odd = sorted(keys ^ set(weights))
        raise SwapError(f"a mask decoder has {len(keys)} tensors by official names; missing or unknown: {odd[:3]}")
    ready = {}
    for w in inputs:
        array = np.asarray(weights[w.key], np.float32)
        array = np.ascontiguousarray(array.T if w.transpose else array)
        if array.shape != w.shape:
            raise SwapError(f"{w.key} has shape {array.shape}, the engine takes {w.shape}")
        if not np.isfinite(array).all():
            raise SwapError(f"{w.key} has values that are not finite")
        ready[w.name] = array
    return ready
