"""ONNX Runtime. The only module that imports ``onnxruntime``.

Decoder weights are overridable initializers, bound once (IOBinding) to arrays that new weights are copied into: no new
session. One session serves both decoders of a slot and all threads. On two Zen cores without AVX-512, nano's decoder,
one click, one thread, CPU time: constants 29.8 ms, bound weights 31.3 ms.

The CUDA and TensorRT providers are wired as ONNX Runtime documents them. Nodes that TensorRT does not take run on CUDA,
on the same GPU. Whether the TensorRT provider sees exchanged decoder weights is
untried: the slot's comparison with PyTorch refuses a swap that does not arrive. Its engines take minutes to build, so
they are kept beside the graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
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
from livesam.engine.values.errors import RuntimeUnavailable, SessionError, SwapError
from livesam.engine.view.points import PromptGroup

if TYPE_CHECKING:
    from livesam.engine.values.protocols import DecoderWeights

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}


class OrtEncoder(PreparedEncoder):
    """An exported encoder graph on ONNX Runtime.

    Args:
        path: the graph, with its manifest beside it.
        provider: ``cpu``, ``cuda`` or ``tensorrt``.
        threads: threads of one inference; 0 is one for each core.
        gpu: number of the GPU; without meaning on the CPU.

    Raises:
        RuntimeUnavailable: onnxruntime is missing, does not have the provider, or does not start it on that GPU.
        CheckpointError: the graph or its manifest is missing or damaged.
    """

    def __init__(self, path: Path, *, provider: str = "cpu", threads: int = 0, gpu: int = 0) -> None:
        manifest = read_manifest(path)
        size, identity = graph_numbers(manifest, path)
        self._session = _session(path, provider, threads, gpu, str(manifest.get("precision", "fp32")))
        super().__init__(size, identity, _name(provider, gpu, manifest), graph_batch(manifest))

    def _run(self, prepared: Float) -> Float:
        features: Float = self._session.run(["embedding"], {"image": prepared})[0]
        return features  # (B, 256, h, w)

    def _free(self) -> None:
        self._session = None


class OrtGraph:
    """A decoder graph that is loaded once, for all decoders that run it.

    Raises:
        RuntimeUnavailable: onnxruntime is missing or does not have the provider.
        CheckpointError: the graph or its manifest is missing or damaged.
    """

    def __init__(self, path: Path, *, provider: str = "cpu", threads: int = 0, gpu: int = 0) -> None:
        manifest = read_manifest(path)
        self.layout = weight_layout(manifest, path)
        self.runtime = _name(provider, gpu, manifest)
        self._path, self._provider, self._precision = path, provider, str(manifest.get("precision", "fp32"))
        self.session = _session(path, provider, threads, gpu, self._precision)

    @cached_property
    def aside(self) -> Any:
        """The graph on the caller's thread alone, so that no thread of normal priority works for one of low priority.

        On a GPU it is the session that answers clicks.
        """
        return _session(self._path, "cpu", 1, 0, self._precision) if self._provider == "cpu" else self.session

    def __call__(self, weights: DecoderWeights) -> OrtDecoder:
        """A decoder with these weights; this makes the graph a ``DecoderCompiler``.

        Raises:
            SwapError: they are no weights of this decoder, or the graph was exported without weights as inputs.
        """
        decoder = OrtDecoder(self)
        decoder.load_weights(weights)
        return decoder


class OrtDecoder(GroupedDecoder):
    """The serving decoder graph on ONNX Runtime; answers several threads at once.

    Args:
        graph: a loaded graph, or the path of one. Until ``load_weights`` the weights are those in the file.

    Raises:
        RuntimeUnavailable: onnxruntime is missing or does not have the provider.
        CheckpointError: the graph or its manifest is missing or damaged.
    """

    def __init__(self, graph: OrtGraph | Path, *, provider: str = "cpu", threads: int = 0, gpu: int = 0) -> None:
        graph = OrtGraph(graph, provider=provider, threads=threads, gpu=gpu) if isinstance(graph, Path) else graph
        super().__init__(graph.runtime)
        self._graph: OrtGraph | None = graph
        self._session = graph.session
        self._weights: WeightBuffers | None = None
        # One binding for each thread that has ever been in here at the same time; append and pop are atomic.
        self._bindings: list[Any] = []

    def load_weights(self, weights: DecoderWeights) -> None:
        """Put new weights in place; never while a decode is running.

        Raises:
            SwapError: they are no weights of this decoder, or the graph was exported without weights as inputs.
        """
        if self._graph is None or not self._graph.layout:
            raise SwapError("this decoder graph has its weights built in: export it with weights_as_inputs=True")
        if self._weights is None:
            buffers = WeightBuffers(self._graph.layout)
            buffers.fill(weights)
            self._weights = buffers
            self._bindings = [self._bind()]
        else:
            self._weights.fill(weights)

    @property
    def aside(self) -> OrtDecoder:
        """These weights on the caller's thread alone, for answers that nobody waits for."""
        if self._graph is None:
            raise SessionError("the decoder is closed: open a new session")
        quiet = OrtDecoder(self._graph)
        quiet._session, quiet._weights = self._graph.aside, self._weights
        return quiet

    def _run(self, embedding: ImageEmbedding, group: PromptGroup) -> tuple[Float, Float]:
        try:
            binding = self._bindings.pop()
        except IndexError:
            binding = self._bind()
        feeds = {"embedding": embedding.numpy(), **group.feeds()}
        for name, array in feeds.items():
            binding.bind_cpu_input(name, np.ascontiguousarray(array))
        binding.bind_output("low_res_logits")
        binding.bind_output("ious")
        self._session.run_with_iobinding(binding)
        logits, ious = binding.copy_outputs_to_cpu()
        self._bindings.append(binding)
        return logits, ious

    def _bind(self) -> Any:
        import onnxruntime

        binding = self._session.io_binding()
        if self._weights is not None:
            for name, array in self._weights.arrays.items():
                binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(array))
        return binding

    def _free(self) -> None:
        self._bindings.clear()
        self._session = self._graph = self._weights = None


def _name(provider: str, gpu: int, manifest: Mapping[str, Any]) -> str:
    place = {"cpu": "cpu", "cuda": f"cuda:{gpu}", "tensorrt": f"tensorrt:cuda:{gpu}"}[provider]
    return f"onnxruntime:{place}:{manifest.get('precision', 'fp32')}"


def _placed(path: Path, provider: str, gpu: int, precision: str) -> list[tuple[str, dict[str, str]]]:
    """The providers that shall run the graph on the GPU, fastest first, with their options."""
    if provider == "cpu":
        return []
    cuda = (PROVIDERS["cuda"], {"device_id": str(gpu)})
    if provider == "cuda":
        return [cuda]
    kept = str(path.parent / "onnxruntime-tensorrt")
    options = {
        "device_id": str(gpu),
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": kept,
        "trt_timing_cache_enable": "True",
        "trt_timing_cache_path": kept,
    }
    if precision != "fp32":  # up to TensorRT 10 a low-precision graph builds only where that precision is allowed
        options[f"trt_{precision}_enable"] = "True"
    return [(PROVIDERS["tensorrt"], options), cuda]


def _session(path: Path, provider: str, threads: int, gpu: int, precision: str) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise RuntimeUnavailable(f"onnxruntime cannot be imported ({error}): pip install 'livesam[cpu]'") from error
    if provider not in PROVIDERS:
        raise ValueError(f"unknown provider {provider!r}: choose one of {', '.join(PROVIDERS)}")
    wanted, available = PROVIDERS[provider], onnxruntime.get_available_providers()
    if wanted not in available:
        raise RuntimeUnavailable(f"this onnxruntime has no {wanted}, only {', '.join(available)}: install livesam[gpu]")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # it warns of each overridable initializer that it is no constant: 120 lines
    # Threads spin within a run, so that its hundred nodes need not wake them (two vCPUs, nano's decoder: 12.7 ms for
    # 14.9, after a pause of 0.3 s 22 for 26), and stop with it: spinning on would take the learner's cores. Not for
    # long: where the kernel puts two of them on one core, who spins keeps who has work off it until the next clock tick
    # (nano's decoder on one core: 7.4 ms for 13.4; on two alike). Versions without that setting ignore it.
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    options.add_session_config_entry("session.intra_op.spin_duration_us", "20")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    placed = [entry for entry in _placed(path, provider, gpu, precision) if entry[0] in available]
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=[*placed, PROVIDERS["cpu"]])
    except Exception as error:  # its exceptions have no common base but Exception
        raise RuntimeUnavailable(f"onnxruntime cannot load {path}: {error}") from error
    if wanted not in session.get_providers():  # it falls back to the CPU in silence
        raise RuntimeUnavailable(f"onnxruntime could not start {wanted} and fell back to {session.get_providers()[0]}")
    for name, _ in placed:
        got = session.get_provider_options().get(name, {}).get("device_id")
        if got != str(gpu):
            raise RuntimeUnavailable(f"onnxruntime did not start {name} on GPU {gpu}: it reports GPU {got}")
    return session
