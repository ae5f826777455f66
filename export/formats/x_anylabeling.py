"""``x-anylabeling``: encoder, decoder and the YAML that X-AnyLabeling and AnyLabeling load as a custom model.

Facts that the files must meet (their ``segment_anything`` model type): the picture is warped to a 684 x 1024 canvas
and given to the encoder's only input as float32 ``(height, width, 3)`` RGB 0 to 255, so normalising and padding are in
the graph; every prompt is padded with a point of label -1, boxes too; the mask prompt is always absent, 256 x 256; the
first of ``masks`` is taken, so the decoder is the single-mask one. Coordinates are in the 1024-px frame whatever the
model's own size is.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from livesam.engine.models.spec import PIXEL_MEAN, PIXEL_STD
from livesam.export.files.manifest import Manifest, Tensor, manifest_path
from livesam.export.formats.folders import MANIFEST, hashes, staged_folder
from livesam.export.formats.probes import onnx_runner
from livesam.export.formats.sam_onnx import write_graph
from livesam.export.graphs.graph import GraphBuilder
from livesam.export.graphs.official_graph import Dialect
from livesam.export.graphs.parity import difference, require

if TYPE_CHECKING:
    import onnx
    from livesam.export.formats.source import DecoderSource

FRAME = 1024
CANVAS_HW = (684, 1024)
ENCODER, DECODER, CONFIG = "encoder.onnx", "decoder.onnx", "model.yaml"


def export(source: DecoderSource, out: Path, *, name: str | None = None, display_name: str | None = None) -> Manifest:
    """Write a folder with ``encoder.onnx``, ``decoder.onnx`` and ``model.yaml``.

    In the program: "Load custom model", then choose the YAML. A model of another size than 1024 px is wrapped: its
    graphs take the 1024-px frame and scale inside.

    Args:
        name: identifier in the YAML; letters, digits, ``-``, ``_`` and ``.``. Default: ``livesam-MODEL``.
        display_name: what the program's list shows.

    Raises:
        ValueError: ``name`` holds other characters.
        ExportError: the folder could not be written.
        ParityError: encoder or decoder differ from PyTorch; nothing was written.
    """
    name = name or f"livesam-{source.spec.name}"
    if not re.fullmatch(r"[\w.-]{1,64}", name):
        raise ValueError(f"name must be letters, digits, '-', '_' and '.', got {name!r}")
    size = source.spec.image_size
    # Such a client gives coordinates in the 1024-px frame; a smaller or larger model scales them itself.
    dialect = Dialect(single=True, frame=None if size == FRAME else FRAME)
    with staged_folder(out) as folder:
        decoder = write_graph(source, folder / DECODER, dialect, "x-anylabeling", name=f"{out.name}/{DECODER}")
        manifest_path(folder / DECODER).unlink()
        encoder_parity = _write_encoder(source, folder / ENCODER)
        (folder / CONFIG).write_text(_yaml(name, display_name or f"livesam {source.spec.name}"))
        manifest = source.manifest(
            "x-anylabeling",
            files=hashes(folder),
            inputs={"input_image": Tensor("float32", ("height", "width", 3)), **decoder.inputs},
            outputs={"image_embeddings": Tensor("float32", (1, 256, *source.spec.embedding_hw)), **decoder.outputs},
            parity={
                "claim": f"{decoder.parity['claim']}; the encoder gave PyTorch's embedding of a random picture",
                "decoder": dict(decoder.parity),
                "encoder": encoder_parity,
            },
            opset=decoder.opset,
            options={"name": name, "frame": FRAME},
        )
        manifest.write(folder / MANIFEST)
    return manifest


def _yaml(name: str, display_name: str) -> str:
    """A JSON string is a YAML string, so nothing in a name can break out of its line."""
    entries: dict[str, Any] = {
        "type": "segment_anything",
        "name": name,
        "display_name": display_name,
        "encoder_model_path": ENCODER,
        "decoder_model_path": DECODER,
        "input_size": FRAME,
        "max_width": FRAME,
        "max_height": 682,
    }
    return "".join(f"{key}: {json.dumps(value)}\n" for key, value in entries.items())


def _write_encoder(source: DecoderSource, path: Path) -> dict[str, Any]:
    import torch
    from livesam.export.files.staging import save_graph
    from livesam.export.graphs.encoder import encoder_model

    size = source.spec.image_size
    model = with_canvas_input(encoder_model(source.sam.image_encoder, size), size)
    save_graph(model, path)
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (CANVAS_HW[0] // 36, CANVAS_HW[1] // 32, 3)).astype(np.float32)
    image = np.ascontiguousarray(coarse.repeat(36, axis=0).repeat(32, axis=1))  # (684, 1024, 3)
    with torch.no_grad():
        want = source.sam.image_encoder(torch.from_numpy(canvas_pixels(image, size))).numpy()
    run, checker = onnx_runner(path)
    differences = [difference("image_embeddings", run({"input_image": image})["image_embeddings"], want)]
    require(differences, path.name)
    return {
        "against": "the image encoder in PyTorch float32",
        "checker": checker,
        "differences": [entry.as_dict() for entry in differences],
    }


def canvas_pixels(image: np.ndarray[Any, np.dtype[np.float32]], size: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """What the graph makes of a canvas (H, W, 3), in PyTorch: (1, 3, size, size), halved as often as needed."""
    import torch
    from torch.nn import functional as F

    x = (torch.from_numpy(image) - torch.tensor(PIXEL_MEAN)) / torch.tensor(PIXEL_STD)
    x = x.permute(2, 0, 1)[None]
    for _ in range(_halvings(size)):
        x = F.interpolate(x, (x.shape[2] // 2, x.shape[3] // 2), mode="bilinear", antialias=True)
    x = F.pad(x, (0, size - x.shape[3], 0, size - x.shape[2]))
    return np.ascontiguousarray(x.numpy(), np.float32)


def _halvings(size: int) -> int:
    halvings = (FRAME // size).bit_length() - 1
    if size << halvings != FRAME:
        raise ValueError(f"the model's input must be {FRAME} px divided by a power of two, got {size}")
    return halvings


def with_canvas_input(encoder: onnx.ModelProto, size: int) -> onnx.ModelProto:
    """Put normalising, halving and padding before an encoder graph: ``input_image`` to ``image_embeddings``."""
    from onnx import compose

    b = GraphBuilder("canvas", encoder.opset_import[0].version)
    image = b.input("input_image", ["image_height", "image_width", 3])
    x = b.op("Div", b.op("Sub", image, b.const(np.array(PIXEL_MEAN))), b.const(np.array(PIXEL_STD)))
    x = b.op("Unsqueeze", b.transpose(x, [2, 0, 1]), b.ints([0]))  # (1, 3, H, W)
    taps = np.array([1, 3, 3, 1], np.float32) / 8  # bilinear with antialiasing at half size
    kernel = np.broadcast_to(np.outer(taps, taps), (3, 1, 4, 4))
    for _ in range(_halvings(size)):
        # Beyond an edge the filter has no taps; what is left is normalised, and so is a division by the filtered ones.
        ones = b.op("Add", b.mul(x, b.const(0.0)), b.const(1.0))
        shape = {"group": 3, "strides": [2, 2], "pads": [1, 1, 1, 1], "kernel_shape": [4, 4]}
        x = b.op("Div", b.op("Conv", x, b.const(kernel), **shape), b.op("Conv", ones, b.const(kernel), **shape))
    missing = b.op("Sub", b.ints([size, size]), b.op("Shape", x, start=2, end=4))
    x = b.op("Pad", x, b.concat([b.ints([0, 0, 0, 0, 0, 0]), missing], 0))
    b.output("pixels", b.reshape(x, [1, 3, size, size]), [1, 3, size, size])

    front, back = compose.add_prefix(b.model(), "canvas_"), compose.add_prefix(encoder, "encoder_")
    rename(front, "canvas_input_image", "input_image")
    rename(back, "encoder_embedding", "image_embeddings")
    front.ir_version = back.ir_version = max(front.ir_version, back.ir_version)
    merged = compose.merge_models(front, back, io_map=[("canvas_pixels", "encoder_image")])
    merged.producer_name = "livesam"
    return merged


def rename(model: onnx.ModelProto, old: str, new: str) -> None:
    """Give a graph's input or output another name, in place."""
    for value in (*model.graph.input, *model.graph.output):
        if value.name == old:
            value.name = new
    for node in model.graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                if name == old:
                    names[i] = new
