"""The engines of a model on a runtime that was chosen: an encoder, what makes decoders, and their probe."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Literal, TypeAlias

from livesam.engine.runtimes.selection import ORT_TENSORRT, TENSORRT_RTX, Choice
from livesam.engine.serving.probe import Probe
from livesam.engine.serving.tolerance import TOLERANCE, served_precision
from livesam.engine.values.errors import RuntimeUnavailable
from livesam.export.graphs.graph_cache import GraphCache

if TYPE_CHECKING:
    from livesam.engine.runtimes.tensorrt import Library
    from livesam.engine.values.embedding import ImageEmbedding
    from livesam.engine.values.prompt import Prompt
    from livesam.engine.values.protocols import DecoderCompiler, DecoderWeights, ImageEncoder, MaskDecoder
    from livesam.engine.values.result import DecoderOutput

# How a TensorRT decoder takes new weights: as inputs of the engine, or by refitting the idle one of two engines.
Swap: TypeAlias = Literal["inputs", "refit"]


class _Reference:
    """PyTorch's answers for the probe. The model is loaded at the first publish, so a start needs no torch."""

    def __init__(self, graphs: GraphCache) -> None:
        self._graphs = graphs
        self._answer: object = None
        self._turn = threading.Lock()  # slots of several domains may publish at once, and it has one set of weights

    def __call__(
        self, embedding: ImageEmbedding, prompts: tuple[Prompt, ...], weights: DecoderWeights
    ) -> DecoderOutput:
        from livesam.engine.runtimes.torch_graph import TorchGraph

        with self._turn:
            if not isinstance(self._answer, TorchGraph):
                self._answer = TorchGraph(self._graphs.sam())
            return self._answer.reference(embedding, prompts, weights)


def probe_for(graphs: GraphCache, choice: Choice) -> Probe:
    tolerance = TOLERANCE[served_precision(choice.precision, choice.name, choice.device)]
    return Probe.standard(graphs.spec.embedding_hw, _Reference(graphs), tolerance)


def encoder_for(graphs: GraphCache, choice: Choice, batch: int = 1, threads: int = 0) -> ImageEncoder:
    if choice.name == "torch":
        from livesam.engine.runtimes.torch_encoder import TorchEncoder

        return TorchEncoder(graphs.sam(), choice.device, precision=choice.precision)
    if choice.name in ("onnxruntime", ORT_TENSORRT):
        from livesam.engine.runtimes.onnxruntime import OrtEncoder

        graph = graphs.encoder(choice.precision, one=batch == 1)
        return OrtEncoder(graph, provider=_provider(choice), threads=threads, gpu=choice.gpu)
    if choice.name == "openvino":
        from livesam.engine.runtimes.openvino import OvEncoder

        if choice.precision == "int8":
            if batch > 1:
                raise RuntimeUnavailable(f"int8 takes one image at a time, got a batch of {batch}: take fp32 or bf16")
            return OvEncoder(graphs.int8_encoder(), threads=threads, cache_dir=graphs.folder / "openvino")
        # OpenVINO takes the precision as a hint; its CPU plugin would convert a low-precision graph back.
        graph = graphs.encoder("fp32", one=batch == 1)
        graphs.progress(f"building the encoder of {graphs.spec.name} with openvino")
        return OvEncoder(graph, precision=choice.precision, threads=threads, cache_dir=graphs.folder / "openvino")
    if choice.name in ("tensorrt", TENSORRT_RTX):
        return _tensorrt_encoder(graphs, choice, batch)
    raise ValueError(f"no encoder is made for the runtime {choice.name!r}: say how in export/engines.py")


def _provider(choice: Choice) -> str:
    return "tensorrt" if choice.name == ORT_TENSORRT else choice.device.partition(":")[0]


def compiler_for(graphs: GraphCache, choice: Choice, swap: Swap, threads: int = 0) -> DecoderCompiler:
    if swap not in ("inputs", "refit"):
        raise ValueError(f"unknown way to swap {swap!r}: choose inputs or refit")
    if swap == "refit" and choice.name not in ("tensorrt", TENSORRT_RTX):
        raise ValueError(f"{choice.name} cannot be refitted, only TensorRT can: take swap='inputs'")
    if choice.name == "torch":
        from livesam.engine.runtimes.torch_graph import TorchGraph

        return TorchGraph(graphs.sam(), choice.device, precision=choice.precision)
    if choice.name in ("onnxruntime", ORT_TENSORRT):
        from livesam.engine.runtimes.onnxruntime import OrtGraph

        return OrtGraph(graphs.decoder(choice.precision), provider=_provider(choice), threads=threads, gpu=choice.gpu)
    if choice.name == "openvino":
        from livesam.engine.runtimes.openvino import OvGraph

        kept = graphs.folder / "openvino"
        return OvGraph(graphs.decoder("fp32"), precision=choice.precision, threads=threads, cache_dir=kept)
    if choice.name in ("tensorrt", TENSORRT_RTX):
        return _tensorrt_compiler(graphs, choice, swap)
    raise ValueError(f"no decoder is made for the runtime {choice.name!r}: say how in export/engines.py")


def _tensorrt_library(choice: Choice) -> Library:
    from livesam.engine.runtimes.tensorrt import load_library

    return load_library(choice.name if choice.name == TENSORRT_RTX else "auto")


def _tensorrt_encoder(graphs: GraphCache, choice: Choice, batch: int) -> ImageEncoder:
    """An encoder over a plan that is built for this GPU, once."""
    from livesam.engine.runtimes.tensorrt import on_gpu
    from livesam.engine.runtimes.tensorrt_encoder import TrtEncoder
    from livesam.export.graphs.plans import build_plan, encoder_profiles

    library, side = _tensorrt_library(choice), graphs.spec.image_size
    graph = graphs.encoder(choice.precision, "augment", one=batch == 1)
    # One image has a profile of its own, so that a plan for many does not slow it down.
    profiles = [] if batch == 1 else [*encoder_profiles(side), *encoder_profiles(side, (1, batch, batch))]
    graphs.progress(f"building the encoder of {graphs.spec.name} with {library.name}")
    with on_gpu(choice.gpu):
        plan = build_plan(graph, graphs.root / "plans", library=library.name, profiles=profiles)
        graphs.used.add(plan)
        return TrtEncoder(plan, side, library.name)


def _tensorrt_compiler(graphs: GraphCache, choice: Choice, swap: Swap) -> DecoderCompiler:
    """What makes decoders over a plan that is built for this GPU, once."""
    from livesam.engine.runtimes.tensorrt import on_gpu
    from livesam.engine.runtimes.tensorrt_decoder import TrtDecoder, TrtRefitDecoder
    from livesam.export.graphs.plans import build_plan, decoder_profiles

    library, refit = _tensorrt_library(choice), swap == "refit"
    graph = graphs.decoder(choice.precision, weights_as_inputs=not refit)
    graphs.progress(f"building the decoder of {graphs.spec.name} with {library.name}")
    profiles = decoder_profiles(graphs.spec.embedding_hw)
    with on_gpu(choice.gpu):
        plan = build_plan(graph, graphs.root / "plans", library=library.name, profiles=profiles, refit=refit)
    graphs.used.add(plan)
    probe = probe_for(graphs, choice)

    def compile_decoder(weights: DecoderWeights) -> MaskDecoder:
        with on_gpu(choice.gpu):
            decoder = (TrtRefitDecoder if refit else TrtDecoder)(plan, weights, library.name)
        try:
            probe.check(decoder, weights)  # a graph is compared at export, a plan nowhere before
        except BaseException:
            decoder.close()
            raise
        return decoder

    return compile_decoder
