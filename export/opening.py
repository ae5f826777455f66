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
from livesam.engine.runtimes.selection import Choice
from livesam.engine.runtimes.stand_in import StandIn
from livesam.engine.serving.right_of_way import RightOfWay
from livesam.engine.serving.slots import Slots
from livesam.engine.serving.version import STABLE
from livesam.engine.session.preparing import Preparing
from livesam.engine.view.look import PLAIN, Look
from livesam.export.engines import Swap, compiler_for, encoder_for, probe_for
from livesam.export.graphs.graph_cache import GraphCache, Progress, quiet
from livesam.export.preparing.background import Background, Engines
from livesam.export.preparing.record import is_prepared, stand_in_for

if TYPE_CHECKING:
    from livesam.engine.session.engine import Engine
    from livesam.engine.session.session import Session
    from livesam.engine.values.protocols import DecoderCompiler, ImageEncoder

# What to do about engines that were not prepared: build them first; let PyTorch answer and build them beside it; let
# PyTorch answer and build nothing.
Missing: TypeAlias = Literal["wait", "beside", "leave"]

__all__ = ["Opening", "decoder_compiler", "default_cache_dir", "open_encoder", "open_engine", "open_session"]


@dataclass(frozen=True, slots=True)
class Opening:
    """Which model to open, and what to run it on.

    Attributes:
        model: ``nano``, ``vit_t``, ``vit_b``, ``vit_l`` or ``vit_h``.
        checkpoint: its weights; None for nano's own, or what ``livesam download`` has fetched.
        runtime: ``auto``, ``tensorrt``, ``openvino``, ``onnxruntime``, ``torch``, ``onnxruntime:tensorrt`` for
            ONNX Runtime with its own TensorRT provider, or ``tensorrt_rtx`` for TensorRT for RTX and no other.
        precision: ``fp32``, ``fp16``, ``bf16`` or ``int8`` (of the encoder on OpenVINO, where masks stay the same);
            None for the runtime's usual one.
        device: ``cpu``, ``cuda`` (GPU 0) or ``cuda:N``; None for what the runtime runs on.
        cache_dir: where graphs are kept; None for ``LIVESAM_CACHE`` or ``~/.cache/livesam``.
        size: side of the model's input in pixels, 512 or 1024 for ``nano``; None for the model's usual one.
        threads: of one run on a CPU, with OpenVINO and ONNX Runtime; 0 for one a core.
    """

    model: str = "nano"
    checkpoint: Path | None = None
    runtime: str = "auto"
    precision: str | None = None
    device: str | None = None
    cache_dir: Path | None = None
    size: int | None = None
    threads: int = 0

    def graphs(self, progress: Progress = quiet) -> GraphCache:
        """The model's exported graphs, made where they are missing."""
        return GraphCache(self.model, self.checkpoint, self.cache_dir, progress, size=self.size)

    def choice(self, kind: str) -> Choice:
        """The runtime that is taken for an ``encoder`` or a ``decoder``."""
        found = selection.select(kind, self.runtime, device=self.device, precision=self.precision)
        if (kind, self.model, found.precision, self.precision) == ("encoder", "nano", "bf16", None):
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
    return encoder_for(opening.graphs(progress), choice, batch, opening.threads)


def decoder_compiler(opening: Opening, *, swap: Swap = "inputs", progress: Progress = quiet) -> DecoderCompiler:
    """What makes serving decoders of a model out of decoder weights. Errors as ``open_encoder``, and:

    Args:
        swap: ``inputs`` swaps weights that are inputs of the engine; ``refit``, TensorRT only, refits the idle
            decoder's engine.

    Raises:
        ValueError: no such way, or ``refit`` with a runtime that has none.
    """
    choice = opening.choice("decoder")
    return compiler_for(opening.graphs(progress), choice, swap, opening.threads)


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
    from livesam.engine.models.adapted import read_adapted

    learned = None if adapted is None else read_adapted(Path(adapted))
    if learned is not None:
        opening = replace(opening, size=learned.info.size_for(opening.model, opening.size))
    engine = open_engine(opening, swap=swap, ram_mib=ram_mib, embeddings=embeddings, missing=missing, progress=progress)
    slot = engine.slot()
    session = engine.session(slot, look=look)
    if learned is not None:
        slot.publish(learned.resolve(engine.base), label=STABLE)
        session.provenance = learned.info
    return session


def open_engine(
    opening: Opening,
    *,
    swap: Swap = "inputs",
    ram_mib: int = 512,
    embeddings: Path | None = None,
    missing: Missing = "wait",
    progress: Progress = quiet,
    encoder: ImageEncoder | None = None,
    at_once: int = 1,
) -> Engine:
    """What any number of sessions and decoder slots share. Arguments and errors as ``open_session``, and:

    Args:
        encoder: one that is open already, instead of the opening's own.
        at_once: how many images it takes from as many threads.
    """
    from livesam.engine.session.cache import EmbeddingCache
    from livesam.engine.session.cached_encoder import CachedEncoder
    from livesam.engine.session.engine import Engine

    cache, threads = EmbeddingCache(ram_mib << 20, _folder(embeddings)), opening.threads
    wanted = opening.choice("encoder"), opening.choice("decoder")
    graphs = opening.graphs(progress)
    base = graphs.base_weights()
    standing_in = missing != "wait" and not is_prepared(graphs.folder, *wanted)
    for_encoder, for_decoder = map(stand_in_for, wanted) if standing_in else wanted
    encoder = encoder_for(graphs, for_encoder, threads=threads) if encoder is None else encoder
    compile = compiler_for(graphs, for_decoder, "inputs" if standing_in else swap, threads)
    way, preparing = RightOfWay(), Preparing("pending" if standing_in else "ready")
    slots = Slots(compile, probe_for(graphs, for_decoder), way.give_way)
    if standing_in:
        encoder = stand_in = StandIn(encoder)
        if missing == "beside":
            load = partial(_load, graphs, *wanted, swap, threads)
            preparing.build = Background(asdict(opening), preparing, stand_in, slots, load).start
    ahead = for_encoder.device.startswith("cuda")  # on a CPU it would take the learner's time
    return Engine(CachedEncoder(encoder, cache, at_once), slots, base, way, graphs, ahead=ahead, preparing=preparing)


def _folder(embeddings: Path | None) -> Path | None:
    if embeddings is not None and not Path(embeddings).is_dir():
        raise ValueError(f"there is no folder of embeddings {str(embeddings)!r}: make it with `livesam embed`")
    return None if embeddings is None else Path(embeddings)


def _load(graphs: GraphCache, encoder: Choice, decoder: Choice, swap: Swap, threads: int) -> Engines:
    """The engines that were prepared."""
    compile = compiler_for(graphs, decoder, swap, threads)
    return Engines(encoder_for(graphs, encoder, threads=threads), compile, probe_for(graphs, decoder))
