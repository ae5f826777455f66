"""From the name of a model to a running encoder, decoder or session, on the fastest runtime that is here.

The first start of a model exports its graphs into a cache; later ones find them there and, on ONNX Runtime and
OpenVINO, import no torch at all.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from livesam.engine.files.places import default_cache_dir
from livesam.engine.runtimes import selection
from livesam.engine.runtimes.selection import ORT_TENSORRT, TENSORRT_RTX, Choice
from livesam.engine.runtimes.stand_in import StandIn
from livesam.engine.session.preparing import Preparing
from livesam.engine.view.look import PLAIN, Look
from livesam.export.graphs.graph_cache import GraphCache, Progress, quiet
from livesam.export.preparing.background import Background, Engines
from livesam.export.preparing.record import is_prepared, stand_in_for
from livesam.export.probing import standard_probe

if TYPE_CHECKING:
    from livesam.engine.runtimes.tensorrt import Library
    from livesam.engine.session.session import Session
    from livesam.engine.values.protocols import DecoderCompiler, DecoderWeights, ImageEncoder, MaskDecoder

# How a TensorRT decoder takes new weights: as inputs of the engine, or by refitting the idle one of two engines.
Swap: TypeAlias = Literal["inputs", "refit"]
# What to do about engines that were not prepared: build them first; let PyTorch answer and build them beside it; let
# PyTorch answer and build nothing.
Missing: TypeAlias = Literal["wait", "beside", "leave"]

__all__ = ["Opening", "decoder_compiler", "default_cache_dir", "open_encoder", "open_session"]


@dataclass(frozen=True, slots=True)
class Opening:
    """Which model to open, and what to run it on.

    Attributes:
        model: ``nano``, ``vit_t``, ``vit_b``, ``vit_l`` or ``vit_h``.
        checkpoint: its weights; None for nano's own, or what ``livesam download`` has fetched.
        runtime: ``auto``, ``tensorrt``, ``openvino``, ``onnxruntime``, ``torch``, ``onnxruntime:tensorrt`` for
            ONNX Runtime with its own TensorRT provider, or ``tensorrt_rtx`` for TensorRT for RTX and no other.
        precision: ``fp32``, ``fp16`` or ``bf16``; None for the runtime's usual one.
        device: ``cpu``, ``cuda`` (GPU 0) or ``cuda:N``; None for what the runtime runs on.
        cache_dir: where graphs are kept; None for ``LIVESAM_CACHE`` or ``~/.cache/livesam``.
        size: side of the model's input in pixels, 512 or 1024 for ``nano``; None for the model's usual one.
    """

    model: str = "nano"
    checkpoint: Path | None = None
    runtime: str = "auto"
    precision: str | None = None
    device: str | None = None
    cache_dir: Path | None = None
    size: int | None = None

    def graphs(self, progress: Progress = quiet) -> GraphCache:
        """The model's exported graphs, made where they are missing."""
        return GraphCache(self.model, self.checkpoint, self.cache_dir, progress, size=self.size)

    def choice(self, kind: str) -> Choice:
        """The runtime that is taken for an ``encoder`` or a ``decoder``."""
        found = selection.select(kind, self.runtime, device=self.device, precision=self.precision)
        if (kind, self.model, found.name, found.precision, self.precision) == (
            "encoder",
            "nano",
            "torch",
            "bf16",
            None,
        ):
            # Nano holds fp16's range (180 at most on photos), and shows what bf16 rounds: its embedding is 2 to 5 % off
            # then, 0.5 % in fp16.
            return replace(found, precision="fp16")
        return found


def open_encoder(opening: Opening, *, batch: int = 1, progress: Progress = quiet) -> ImageEncoder:
    """The image encoder of a model, ready to run.

    Args:
        batch: the most images that ``encode_batch`` shall take; above 1 the graph is another one, with a dynamic batch.
        progress: is told what takes long, in a few words.

    Raises:
        ValueError: no such model, size, runtime, precision or device, or a batch below 1.
        RuntimeUnavailable: what was asked for cannot be had here.
        CheckpointError: the checkpoint is missing or cannot be used.
        ExportError: the graph could not be written, or differs from PyTorch.
    """
    if batch < 1:
        raise ValueError(f"batch must be positive, got {batch}")
    choice = opening.choice("encoder")
    return _encoder(opening.graphs(progress), choice, batch)


def decoder_compiler(opening: Opening, *, swap: Swap = "inputs", progress: Progress = quiet) -> DecoderCompiler:
    """What makes serving decoders of a model out of decoder weights. Errors as ``open_encoder``, and:

    Args:
        swap: ``inputs`` swaps weights that are inputs of the engine; ``refit``, TensorRT only, refits the idle
            decoder's engine.

    Raises:
        ValueError: no such way, or ``refit`` with a runtime that has none.
    """
    choice = opening.choice("decoder")
    return _compiler(opening.graphs(progress), choice, swap)


def open_session(
    opening: Opening,
    *,
    adapted: Path | None = None,
    look: Look = PLAIN,
    swap: Swap = "inputs",
    ram_mib: int = 512,
    embeddings: Path | None = None,
    missing: Missing = "wait",
    progress: Progress = quiet,
) -> Session:
    """A session on the fastest runtime that is here. Errors as ``open_encoder``, and:

    Args:
        adapted: an adapted decoder's file, learned on this checkpoint; serves as version 1, labelled ``stable``.
            An opening without a size takes that at which it was learned.
        look: how answers are looked for and drawn; clicks are obeyed anyway while ``live`` learns.
        swap: as in ``decoder_compiler``.
        ram_mib: memory for embeddings of earlier images.
        embeddings: a folder of ``livesam embed``. An image's embedding is taken from there if it was made with the same
            weights in the same precision; any other image is encoded, and its embedding kept there too.
        missing: what to do about engines that were not prepared. ``wait`` for their build; ``beside``: PyTorch answers
            until a child process has built them, from the first image on; ``leave`` it to PyTorch.

    Raises:
        ValueError: also when there is no folder ``embeddings``.
        SwapError: the adapted decoder was not taken.
    """
    from livesam.engine.serving.right_of_way import RightOfWay
    from livesam.engine.serving.slot import DecoderSlot
    from livesam.engine.serving.version import STABLE
    from livesam.engine.session.cache import EmbeddingCache
    from livesam.engine.session.session import Session

    cache = EmbeddingCache(ram_mib << 20, _folder(embeddings))
    wanted, learned = (opening.choice("encoder"), opening.choice("decoder")), None
    if adapted is not None:
        from livesam.engine.models.adapted import read_adapted

        learned = read_adapted(Path(adapted))
        opening = replace(opening, size=learned.info.size_for(opening.model, opening.size))
    graphs = opening.graphs(progress)
    base = graphs.base_weights()
    standing_in = missing != "wait" and not is_prepared(graphs.folder, *wanted)
    for_encoder, for_decoder = map(stand_in_for, wanted) if standing_in else wanted
    encoder = StandIn(_encoder(graphs, for_encoder)) if standing_in else _encoder(graphs, for_encoder)
    right_of_way = RightOfWay()
    compile = _compiler(graphs, for_decoder, "inputs" if standing_in else swap)
    slot = DecoderSlot(compile, base, probe=standard_probe(graphs, for_decoder), give_way=right_of_way.give_way)
    ahead = for_encoder.device.startswith("cuda")  # on a CPU it would take the learner's time
    session = Session(encoder, slot, cache, right_of_way=right_of_way, look=look, origin=graphs, ahead=ahead)
    if isinstance(encoder, StandIn):
        session.preparing = Preparing("pending")
        if missing == "beside":
            load = partial(_load, graphs, *wanted, swap)
            encoder.after_first = Background(asdict(opening), session.preparing, encoder, slot, load).start
    if learned is not None:
        slot.publish(learned.resolve(base), label=STABLE)
        session.provenance = learned.info
    return session


def _folder(embeddings: Path | None) -> Path | None:
    if embeddings is not None and not Path(embeddings).is_dir():
        raise ValueError(f"there is no folder of embeddings {str(embeddings)!r}: make it with `livesam embed`")
    return None if embeddings is None else Path(embeddings)


def _load(graphs: GraphCache, encoder: Choice, decoder: Choice, swap: Swap) -> Engines:
    """The engines that were prepared."""
    return Engines(_encoder(graphs, encoder), _compiler(graphs, decoder, swap), standard_probe(graphs, decoder))


def _encoder(graphs: GraphCache, choice: Choice, batch: int = 1) -> ImageEncoder:
    if choice.name == "torch":
        from livesam.engine.runtimes.torch_encoder import TorchEncoder

        return TorchEncoder(graphs.sam(), choice.device, precision=choice.precision)
    if choice.name in ("onnxruntime", ORT_TENSORRT):
        from livesam.engine.runtimes.onnxruntime import OrtEncoder

        graph = graphs.encoder(choice.precision, one=batch == 1)
        return OrtEncoder(graph, provider=_provider(choice), gpu=choice.gpu)
    if choice.name == "openvino":
        from livesam.engine.runtimes.openvino import OvEncoder

        # OpenVINO takes the precision as a hint; its CPU plugin would convert a low-precision graph back.
        graph = graphs.encoder("fp32", one=batch == 1)
        graphs.progress(f"building the encoder of {graphs.spec.name} with openvino")
        return OvEncoder(graph, precision=choice.precision, cache_dir=graphs.folder / "openvino")
    if choice.name in ("tensorrt", TENSORRT_RTX):
        return _tensorrt_encoder(graphs, choice, batch)
    raise ValueError(f"no encoder is made for the runtime {choice.name!r}: say how in export/opening.py")


def _provider(choice: Choice) -> str:
    return "tensorrt" if choice.name == ORT_TENSORRT else choice.device.partition(":")[0]


def _compiler(graphs: GraphCache, choice: Choice, swap: Swap) -> DecoderCompiler:
    if swap not in ("inputs", "refit"):
        raise ValueError(f"unknown way to swap {swap!r}: choose inputs or refit")
    if swap == "refit" and choice.name not in ("tensorrt", TENSORRT_RTX):
        raise ValueError(f"{choice.name} cannot be refitted, only TensorRT can: take swap='inputs'")
    if choice.name == "torch":
        from livesam.engine.runtimes.torch_graph import TorchGraph

        return TorchGraph(graphs.sam(), choice.device, precision=choice.precision)
    if choice.name in ("onnxruntime", ORT_TENSORRT):
        from livesam.engine.runtimes.onnxruntime import OrtGraph

        return OrtGraph(graphs.decoder(choice.precision), provider=_provider(choice), gpu=choice.gpu)
    if choice.name == "openvino":
        from livesam.engine.runtimes.openvino import OvGraph

        return OvGraph(graphs.decoder("fp32"), precision=choice.precision, cache_dir=graphs.folder / "openvino")
    if choice.name in ("tensorrt", TENSORRT_RTX):
        return _tensorrt_compiler(graphs, choice, swap)
    raise ValueError(f"no decoder is made for the runtime {choice.name!r}: say how in export/opening.py")


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
    probe = standard_probe(graphs, choice)

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
