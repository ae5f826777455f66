"""``cvat-onnx``: the decoder that CVAT's browser plugin runs as ``/assets/decoder.onnx``.

Inputs are the official ones. ``masks`` is uint8 0/1, cut to its bounding box, and the box comes as ``xtl, ytl, xbr,
ybr`` (int64 scalars, inclusive). The plugin hard-wires a 1x256x64x64 embedding. Its 2023 version padded the clicks
itself, the present one does not and sends boxes and previous masks too; the graph pads where the caller did not, so
both are right.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from livesam.engine.values.errors import ExportError
from livesam.export.files.manifest import Manifest
from livesam.export.formats.sam_onnx import write_graph
from livesam.export.graphs.official_graph import MIN_OPSET, Dialect

if TYPE_CHECKING:
    from livesam.export.formats.source import DecoderSource

PLUGIN_SIZE = 1024


def export(source: DecoderSource, out: Path, *, opset: int = MIN_OPSET) -> Manifest:
    """Write CVAT's decoder graph.

    Args:
        opset: ONNX operator set, 17 or newer.

    Raises:
        ExportError: the model's embedding is not the one that the plugin knows, or the file could not be written.
        ParityError: the answers differ from PyTorch's; nothing was written.
    """
    if source.spec.image_size != PLUGIN_SIZE:
        raise ExportError(
            f"CVAT's plugin knows only 64x64 embeddings of {PLUGIN_SIZE}-px models, this {source.spec.name} has "
            f"{source.spec.embedding_hw[0]}x{source.spec.embedding_hw[1]}: export it in size {PLUGIN_SIZE}"
        )
    return write_graph(source, out, DIALECT, "cvat-onnx", opset=opset)


DIALECT = Dialect(single=True, crop=True, pad=True)
