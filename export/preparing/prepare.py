"""Export a model's graphs, build its engines, and compare them with PyTorch, so that a session finds them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from livesam.engine.files.lock import exclusive
from livesam.engine.values.errors import ExportError
from livesam.export.engines import compiler_for, encoder_for
from livesam.export.graphs.graph_cache import GraphCache, Progress, quiet
from livesam.export.graphs.memory import require_memory
from livesam.export.graphs.parity import difference, require
from livesam.export.opening import Opening
from livesam.export.preparing.record import Prepared, files_of, find, forget, gpu_of, installed

if TYPE_CHECKING:
    from livesam.engine.values.protocols import ImageEncoder


def prepare(opening: Opening, progress: Progress = quiet, *, photos: Path | None = None) -> Prepared:
    """Make all that a session of this opening runs, in this process. What is there already is not made again.

    Interrupted, it goes on after the last graph or plan that was finished. Where another process is at it, its end is
    waited for.

    Args:
        progress: is told each stage, in a few words.
        photos: a folder; an encoder in int8 is made anew, calibrated on these.

    Raises:
        ParityError: the encoder answers otherwise than PyTorch.
        ExportError: there is not enough memory, or a file could not be written.
        ValueError: photos for another precision.
        LivesamError: as ``open_encoder``.
    """
    for_encoder, for_decoder = opening.choice("encoder"), opening.choice("decoder")
    if photos is not None and for_encoder.precision != "int8":
        raise ValueError(f"photos {photos} calibrate int8, got the precision {for_encoder.precision}: leave them out")
    graphs = opening.graphs(progress)
    with exclusive(graphs.folder / "prepare.lock", lambda: progress("waiting for another process that prepares it")):
        if photos is not None:
            forget(graphs.folder, for_encoder, for_decoder)
        found = find(graphs.folder, for_encoder, for_decoder)
        if found is not None:
            return found
        require_memory(graphs.spec.name)
        started = time.perf_counter()
        if photos is not None:
            graphs.int8_encoder(photos)
        encoder = encoder_for(graphs, for_encoder)
        try:
            progress(f"comparing the encoder of {graphs.spec.name} with PyTorch")
            off, runs = _difference(encoder, graphs, for_encoder.precision), encoder.runtime
        finally:
            encoder.close()
        decoder = compiler_for(graphs, for_decoder, "inputs")(graphs.base_weights())
        decoder.close()
        seconds = round(time.perf_counter() - started, 1)
        model, size = graphs.spec.name, graphs.spec.image_size
        files, gpu = files_of(graphs.root, graphs.used), gpu_of(for_encoder, for_decoder)
        made = Prepared(model, size, runs, decoder.runtime, off, seconds, _peak_mib(), installed(), files, gpu)
        try:
            made.write(graphs.folder, for_encoder, for_decoder)
        except OSError as error:
            raise ExportError(f"cannot write into {graphs.folder}: {error.strerror or error}") from error
    return made


def _difference(encoder: ImageEncoder, graphs: GraphCache, precision: str) -> float:
    """The largest difference of an embedding from PyTorch's, as a share of its range.

    Raises:
        ParityError: it is too large.
    """
    import torch
    from livesam.export.graphs.encoder import normalised, probe_image

    size = graphs.spec.image_size
    image = probe_image(size)
    with torch.inference_mode():
        want = graphs.sam().image_encoder(torch.from_numpy(normalised(image, size))).numpy()
    int8 = precision == "int8"  # made only where its masks are PyTorch's; its numbers need not be near
    found = difference("embedding", encoder.encode(image).numpy(), want, "bf16" if int8 else precision)
    if not int8:
        require([found], f"the encoder of {graphs.spec.name} on {encoder.runtime}")
    return found.max_share


def _peak_mib() -> int:
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
