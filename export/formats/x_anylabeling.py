"""``x-anylabeling``: encoder, decoder and the YAML that X-AnyLabeling and AnyLabeling load as a custom model.

Facts that the files must meet (their ``segment_anything`` model type): the picture is warped to a 684 x 1024 canvas,
black where it does not reach, and given to the encoder's only input as float32 ``(height, width, 3)`` RGB 0 to 255, so
cutting the black off, normalising and padding are in the graph; every prompt is padded with a point of label -1, boxes
too; the mask prompt is always absent, 256 x 256; the first of ``masks`` is taken, so the decoder is the single-mask
one. A file is looked for in the program's working directory before the YAML's own, so its name says which weights it
holds: no other model's can be taken for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from livesam.engine.files.hashing import weights_hash
from livesam.engine.models.spec import PIXEL_MEAN, PIXEL_STD
from livesam.engine.values.errors import ExportError
from livesam.export.files.manifest import Manifest, Tensor, manifest_path
from livesam.export.formats.folders import MANIFEST, hashes, staged_folder
from livesam.export.formats.probes import onnx_runner
from livesam.export.formats.sam_onnx import write_graph
from livesam.export.graphs.graph import GraphBuilder
from livesam.export.graphs.official_graph import Dialect
from livesam.export.graphs.parity import difference, require
from onnx import TensorProto

if TYPE_CHECKING:
    import onnx
    from livesam.export.formats.source import DecoderSource

FRAME = 1024
CANVAS_HW = (684, 1024)
CONFIG = "model.yaml"


def export(source: DecoderSource, out: Path, *, name: str | None = None, display_name: str | None = None) -> Manifest:
    """Write a folder with ``model.yaml``, ``NAME-HASH.encoder.onnx`` and ``NAME-HASH.decoder.onnx``.

    In the program: "Load custom model", then choose the YAML.

    Args:
        name: identifier in the YAML; letters, digits, ``-``, ``_`` and ``.``. Default: ``livesam-MODEL``.
        display_name: what the program's list shows.

    Raises:
        ValueError: ``name`` holds other characters.
        ExportError: the model's size is not the one that these programs know, or the folder could not be written.
        ParityError: encoder or decoder differ from PyTorch; nothing was written.
    """
    name = name or f"livesam-{source.spec.name}"
    if not re.fullmatch(r"[\w.-]{1,64}", name):
        raise ValueError(f"name must be letters, digits, '-', '_' and '.', got {name!r}")
    if source.spec.image_size != FRAME:
        raise ExportError(
            f"X-AnyLabeling gives clicks in a frame of {FRAME} px, this {source.spec.name} has "
            f"{source.spec.image_size}: export it in size {FRAME}"
        )
    stem = f"{name}-{weights_hash(dict(source.weights))[:8]}"
    files = {"encoder": f"{stem}.encoder.onnx", "decoder": f"{stem}.decoder.onnx"}
    with staged_folder(out) as folder:
        path = folder / files["decoder"]
        decoder = write_graph(source, path, Dialect(single=True), "x-anylabeling", name=f"{out.name}/{path.name}")
        manifest_path(path).unlink()
        encoder_parity = _write_encoder(source, folder / files["encoder"])
        (folder / CONFIG).write_text(_yaml(name, display_name or f"livesam {source.spec.name}", files))
        manifest = source.manifest(
            "x-anylabeling",
            files=hashes(folder),
            inputs={"input_image": Tensor("float32", ("height", "width", 3)), **decoder.inputs},
            outputs={"image_embeddings": Tensor("float32", (1, 256, *source.spec.embedding_hw)), **decoder.outputs},
            parity={
                "claim": f"{decoder.parity['claim']}; the encoder gave PyTorch's embedding of a picture in a corner of "
                "the canvas",
                "decoder": dict(decoder.parity),
                "encoder": encoder_parity,
            },
            opset=decoder.opset,
            options={"name": name},
        )
        manifest.write(folder / MANIFEST)
    return manifest


def _yaml(name: str, display_name: str, files: Mapping[str, str]) -> str:
    """A JSON string is a YAML string, so nothing in a name can break out of its line."""
    entries: dict[str, Any] = {
        "type": "segment_anything",
        "name": name,
        "display_name": display_name,
        "encoder_model_path": files["encoder"],
        "decoder_model_path": files["decoder"],
        "input_size": FRAME,
        "max_width": FRAME,
        "max_height": 682,
    }
    return "".join(f"{key}: {json.dumps(value)}\n" for key, value in entries.items())


def _write_encoder(source: DecoderSource, path: Path) -> dict[str, Any]:
    import torch
    from livesam.export.files.staging import save_graph
    from livesam.export.graphs.encoder import encoder_model, normalised, probe_image

    save_graph(with_canvas_input(encoder_model(source.sam.image_encoder, FRAME), FRAME), path)
    photo = probe_image(FRAME)[: CANVAS_HW[0] - 84, :-100]  # fills neither side
    with torch.no_grad():
        want = source.sam.image_encoder(torch.from_numpy(normalised(photo, FRAME))).numpy()
    run, checker = onnx_runner(path)
    differences = [difference("image_embeddings", run({"input_image": on_canvas(photo)})["image_embeddings"], want)]
    require(differences, path.name)
    return {
        "against": "the image encoder in PyTorch float32",
        "checker": checker,
        "differences": [entry.as_dict() for entry in differences],
    }


def on_canvas(photo: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """What the programs give to the encoder for a photo (H, W, 3) that is scaled already: float32 (684, 1024, 3)."""
    canvas = np.zeros((*CANVAS_HW, 3), np.float32)
    canvas[: photo.shape[0], : photo.shape[1]] = photo
    return canvas


def with_canvas_input(encoder: onnx.ModelProto, size: int) -> onnx.ModelProto:
    """Put cutting, normalising and padding before an encoder graph: ``input_image`` to ``image_embeddings``.

    The canvas's black rest would be far below the mean, where SAM has zeros; so the rows and columns at the end that
    are black throughout are cut off. A photo that ends in black itself loses nothing but that.
    """
    from livesam.export.graphs.encoder import joined

    b = GraphBuilder("canvas", encoder.opset_import[0].version)
    image = b.input("input_image", ["image_height", "image_width", 3])
    ends = [_end(b, b.reduce_max(image, [other, 2])) for other in (1, 0)]
    x = b.op("Slice", image, b.ints([0, 0]), b.concat(ends, 0), b.ints([0, 1]))
    x = b.op("Div", b.op("Sub", x, b.const(PIXEL_MEAN)), b.const(PIXEL_STD))
    missing = b.op("Sub", b.ints([size, size]), b.op("Shape", x, start=0, end=2))
    x = b.op("Pad", x, b.concat([b.ints([0, 0, 0]), missing, b.ints([0])], 0))
    b.output("pixels", b.reshape(b.transpose(x, [2, 0, 1]), [1, 3, size, size]), [1, 3, size, size])
    return joined(b.model(), encoder, "image_embeddings")


def _end(b: GraphBuilder, brightest: str) -> str:
    """One after the last position that is not black; all of them in a black picture. (1,)"""
    seen = b.op("Cast", b.op("Greater", brightest, b.const(0.0)), to=TensorProto.FLOAT)
    return b.add(b.op("ArgMax", seen, axis=0, keepdims=1, select_last_index=1), b.ints([1]))
