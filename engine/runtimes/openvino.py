"""OpenVINO. The only module that imports ``openvino``.

Decoder weights are inputs of the compiled model, set once in each infer request to arrays that new weights are copied
into. Chosen by measurement (two Zen cores without AVX-512, nano's decoder, one click, one thread, CPU time):

==================================  ============  =====================================
weights as                          one click     a swap costs
==================================  ============  =====================================
constants, recompiled for each      32.9 ms       209 ms of CPU time or more
inputs (taken)                      36.7 ms       a copy of 16 MB, off the click path
variables (ReadValue)               56.5 ms       28 ms; the states are copied each run
==================================  ============  =====================================
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from livesam.engine.runtimes.base import (
    Float,
    GroupedDecoder,
    PreparedEncoder,
    WeightBuffers,
    graph_batch,
    graph_numbers,
    read_manifest,
    weight_layout,
)
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.errors import RuntimeUnavailable, SwapError
from livesam.engine.view.points import PromptGroup

if TYPE_CHECKING:
    from livesam.engine.values.protocols import DecoderWeights

PRECISIONS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}


def supported_precisions() -> tuple[str, ...]:
    """What this processor computes in hardware under OpenVINO.

    Raises:
        RuntimeUnavailable: openvino is missing.
    """
    names = {"FP32": "fp32", "BF16": "bf16", "FP16": "fp16"}
    capabilities = _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return tuple(ours for theirs, ours in names.items() if theirs in capabilities)


class OvEncoder(PreparedEncoder):
    """An exported encoder graph on OpenVINO's CPU plugin.

    Args:
        path: the graph, with its manifest beside it.
        precision: ``fp32``, or ``bf16`` / ``fp16`` where the processor has it. A graph in int8 says so itself; this is
            then what the rest of it computes in.
        threads: threads of one inference; 0 is one for each core.
        cache_dir: where compiled models are kept for the next process; None for nowhere.

    Raises:
        RuntimeUnavailable: openvino is missing, or the processor lacks the precision.
        CheckpointError: the graph or its manifest is missing or damaged.
    """

    def __init__(self, path: Path, *, precision: str = "fp32", threads: int = 0, cache_dir: Path | None = None) -> None:
        manifest = read_manifest(path)
        size, identity = graph_numbers(manifest, path)
        core = _core()
        compiled = _compile(core, _read(core, path), precision, threads, cache_dir)
        self._requests: list[Any] = []
        self._compiled = compiled
        runs = "int8" if manifest.get("precision") == "int8" else _precision(compiled)
        super().__init__(size, identity, f"openvino:cpu:{runs}", graph_batch(manifest))

    def _run(self, prepared: Float) -> Float:
        try:
            request = self._requests.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        features: Float = request.infer({"image": prepared}, share_inputs=True, share_outputs=False)["embedding"]
        self._requests.append(request)
        return features  # (B, 256, h, w)

    def _free(self) -> None:
        self._requests.clear()
        self._compiled = None


class OvGraph:
    """A decoder graph that is compiled once, for all decoders that run it.

    Raises:
        RuntimeUnavailable: openvino is missing, or the processor lacks the precision.
        CheckpointError: the graph or its manifest is missing or damaged.
    """

    def __init__(self, path: Path, *, precision: str = "fp32", threads: int = 0, cache_dir: Path | None = None) -> None:
        self.layout = weight_layout(read_manifest(path), path)
        core = _core()
        model = _read(core, path)
        self.initial = _constants_to_inputs(model, self.layout)
        self.compiled = _compile(core, model, precision, threads, cache_dir)
        self.runtime = f"openvino:cpu:{_precision(self.compiled)}"

    def __call__(self, weights: DecoderWeights) -> OvDecoder:
        """A decoder with these weights; this makes the graph a ``DecoderCompiler``.

        Raises:
            SwapError: they are no weights of this decoder, or the graph was exported without weights as inputs.
        """
        decoder = OvDecoder(self)
        decoder.load_weights(weights)
        return decoder


class OvDecoder(GroupedDecoder):
    """The serving decoder graph on OpenVINO; answers several threads at once, with a request for each.

    Args:
        graph: a compiled graph, or the path of one. Until ``load_weights`` the weights are those in the file.

    Raises:
        RuntimeUnavailable: openvino is missing, or the processor lacks the precision.
        CheckpointError: the graph or its manifest is missing or damaged.
    """

    def __init__(
        self,
        graph: OvGraph | Path,
        *,
        precision: str = "fp32",
        threads: int = 0,
        cache_dir: Path | None = None,
    ) -> None:
        if isinstance(graph, Path):
            graph = OvGraph(graph, precision=precision, threads=threads, cache_dir=cache_dir)
        super().__init__(graph.runtime)
        self._compiled = graph.compiled
        self._weights = WeightBuffers(graph.layout)
        self._inputs = tuple(graph.initial)
        for name, value in graph.initial.items():
            np.copyto(self._weights.arrays[name], value)
        self._requests: list[Any] = []

    def load_weights(self, weights: DecoderWeights) -> None:
        """Put new weights in place; never while a decode is running.

        Raises:
            SwapError: they are no weights of this decoder, or the graph was exported without weights as inputs.
        """
        if not self._inputs:
            raise SwapError("this decoder graph has its weights built in: export it with weights_as_inputs=True")
        self._weights.fill(weights)

    def _run(self, embedding: ImageEmbedding, group: PromptGroup) -> tuple[Float, Float]:
        try:
            request = self._requests.pop()
        except IndexError:
            request = self._bind()
        feeds = {"embedding": np.ascontiguousarray(embedding.numpy()), **group.feeds()}
        answer = request.infer(feeds, share_inputs=True, share_outputs=False)
        self._requests.append(request)
        return answer["low_res_logits"], answer["ious"]

    def _bind(self) -> Any:
        import openvino

        request = self._compiled.create_infer_request()
        for name in self._inputs:
            request.set_tensor(name, openvino.Tensor(self._weights.arrays[name], shared_memory=True))
        return request

    def _free(self) -> None:
        self._requests.clear()
        self._compiled = None


def _core() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise RuntimeUnavailable(f"openvino cannot be imported ({error}): pip install 'livesam[cpu]'") from error
    return openvino.Core()


def _read(core: Any, path: Path) -> Any:
    try:
        return core.read_model(str(path))
    except RuntimeError as error:
        raise RuntimeUnavailable(f"openvino cannot read {path}: {error}") from error


def _constants_to_inputs(model: Any, layout: dict[str, tuple[str, bool, tuple[int, ...]]]) -> dict[str, Float]:
    """Make the decoder's weights inputs of the model; returns their values by name.

    Tensors that no output depends on (the key biases of the attention from tokens to the image, which cancel in its
    softmax) do not come through OpenVINO's reader; there is nothing to set for them.
    """
    import openvino

    found = [op for op in model.get_ops() if op.get_type_name() == "Constant" and op.get_friendly_name() in layout]
    values, parameters = {}, []
    for constant in found:
        name = constant.get_friendly_name()
        values[name] = np.array(constant.data, dtype=np.float32)
        parameter = openvino.op.Parameter(openvino.Type.f32, openvino.PartialShape(list(values[name].shape)))
        parameter.set_friendly_name(name)
        parameter.output(0).set_names({name})
        constant.output(0).replace(parameter.output(0))
        parameters.append(parameter)
    if parameters:
        model.add_parameters(parameters)
        model.validate_nodes_and_infer_types()
    return values


def _compile(core: Any, model: Any, precision: str, threads: int, cache_dir: Path | None) -> Any:
    if precision not in PRECISIONS:
        raise ValueError(f"unknown precision {precision!r}: choose one of {', '.join(PRECISIONS)}")
    supported = supported_precisions()
    if precision not in supported:
        raise RuntimeUnavailable(
            f"this processor does not compute in {precision} under OpenVINO: choose one of {', '.join(supported)}"
        )
    config: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": PRECISIONS[precision],
        "INFERENCE_NUM_THREADS": threads,
    }
    if threads:  # who counts threads shares the machine: pinned, two processes of one thread each take the same core
        config["ENABLE_CPU_PINNING"] = False
    if cache_dir is not None:
        config["CACHE_DIR"] = str(cache_dir)
    try:
        return core.compile_model(model, "CPU", config)
    except RuntimeError as error:
        raise RuntimeUnavailable(f"openvino cannot compile the graph: {error}") from error


def _precision(compiled: Any) -> str:
    """What the compiled model really computes in, which may differ from what was asked for."""
    real = str(compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name())
    return {theirs: ours for ours, theirs in PRECISIONS.items()}.get(real, real)
