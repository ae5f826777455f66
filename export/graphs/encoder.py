"""Writing image encoders: the graph in the asked precision, compared with PyTorch before it gets its name."""

from __future__ import annotations

import copy
import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx
from livesam.engine.files.hashing import file_sha256, weights_hash
from livesam.engine.models.spec import PIXEL_MEAN, PIXEL_STD
from livesam.engine.values.errors import ExportError
from livesam.export.files.manifest import Manifest, Tensor, versions
from livesam.export.files.staging import save_graph, staged
from livesam.export.graphs.attention import RelPos
from livesam.export.graphs.graph import GraphBuilder
from livesam.export.graphs.parity import difference, require, run_onnx
from livesam.export.graphs.precision import checkable, convert, require_precision
from livesam.export.graphs.vit_graph import write_vit
from onnx import TensorProto, compose

if TYPE_CHECKING:
    from livesam.engine.models.spec import ModelSpec
    from segment_anything.modeling import Sam
    from torch import nn

Array = npt.NDArray[Any]


def export_encoder(
    sam: Sam,
    spec: ModelSpec,
    path: Path,
    precision: str = "fp32",
    opset: int = 17,
    uint8_input: bool = False,
    *,
    batch: int | None = 1,
    rel_pos: RelPos = "augment",
) -> Manifest:
    """Write the image encoder as ONNX and its manifest.

    Input ``image``: float32 ``(batch, 3, S, S)``, normalised and padded; or with ``uint8_input`` uint8 ``(H, W, 3)``
    RGB, already resized so that the long side is S. Output ``embedding``: float32 ``(batch, 256, S/16, S/16)``.
    Weights beyond 2 GB (vit_h in fp32) go to one file ``NAME.data`` beside the graph.

    Args:
        precision: ``fp32``, ``fp16`` or ``bf16`` weights and arithmetic. Convolutions in bf16 need opset 22, so such
            graphs have it whatever ``opset`` says.
        batch: a fixed number of images, or None for a dynamic one; always 1 with ``uint8_input``.
        rel_pos: how SAM's relative positions enter the attention of vit_b, vit_l, vit_h (see ``export.attention``).

    Raises:
        ValueError: the precision is unknown, or the batch is not positive.
        ParityError: the graph's embedding differs from PyTorch's; nothing was written.
        ExportError: the file could not be written.
    """
    require_precision(precision)
    if batch is not None and (batch < 1 or (uint8_input and batch != 1)):
        raise ValueError(f"batch must be positive, and 1 with uint8 input, got {batch}")
    size = spec.image_size
    model = encoder_model(sam.image_encoder, size, opset=opset, batch=batch, rel_pos=rel_pos)
    if uint8_input:
        model = _with_preprocessing(model, size)
    model = convert(model, precision)
    with staged(path) as target:
        files = save_graph(model, target)
        written_opset = model.opset_import[0].version
        del model
        parity = _check(sam, target, size, precision, uint8_input, batch or 2)
        count: int | str = "batch" if batch is None else batch
        image = Tensor("uint8", ("height", "width", 3)) if uint8_input else Tensor("float32", (count, 3, size, size))
        state = {k: v.detach().cpu().numpy() for k, v in sam.image_encoder.state_dict().items()}
        manifest = Manifest(
            kind="encoder",
            model=spec.name,
            precision=precision,
            opset=written_opset,
            files={f.name: file_sha256(f) for f in files},
            inputs={"image": image},
            outputs={"embedding": Tensor("float32", (count, 256, *spec.embedding_hw))},
            image_size=size,
            weights_hash=weights_hash(state),
            parity=parity,
            versions=versions(),
            options={"uint8_input": uint8_input, "rel_pos": rel_pos if _is_sam_vit(sam.image_encoder) else "none"},
        )
        manifest.write(target)
    return manifest


def encoder_model(
    encoder: nn.Module, image_size: int, *, opset: int = 17, batch: int | None = 1, rel_pos: RelPos = "augment"
) -> onnx.ModelProto:
    """The float32 graph of an encoder: SAM's ViT is written node by node, any other module is traced.

    Tracing runs the model once, and one run of vit_h is 6 TFLOP.
    """
    count: int | str = "batch" if batch is None else batch
    if _is_sam_vit(encoder):
        b = GraphBuilder("livesam_encoder", opset)
        image = b.input("image", [count, 3, image_size, image_size])
        value = write_vit(b, image, encoder, rel_pos)
        b.output("embedding", value, [count, 256, image_size // 16, image_size // 16])
        return b.model()
    return _traced(encoder, image_size, opset, batch)


def _is_sam_vit(encoder: nn.Module) -> bool:
    from segment_anything.modeling.image_encoder import ImageEncoderViT

    return isinstance(encoder, ImageEncoderViT)


def _export_friendly(encoder: nn.Module) -> nn.Module:
    """A copy whose LayerNorm2d is permute, layer_norm, permute: one LayerNormalization that is safe in fp16.

    Written out as powers and means it overflows in fp16 (EfficientViT-SAM's and others' fp16 failures).
    """
    import torch
    from segment_anything.modeling.common import LayerNorm2d
    from torch.nn import functional

    class ChannelLayerNorm(torch.nn.Module):
        def __init__(self, source: LayerNorm2d) -> None:
            super().__init__()
            self.weight, self.bias, self.eps = source.weight, source.bias, source.eps
            self.channels = len(source.weight)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x.permute(0, 2, 3, 1)
            return functional.layer_norm(x, (self.channels,), self.weight, self.bias, self.eps).permute(0, 3, 1, 2)

    encoder = copy.deepcopy(encoder).eval()
    for parent in list(encoder.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, LayerNorm2d):
                setattr(parent, name, ChannelLayerNorm(child))
    return encoder


def _traced(encoder: nn.Module, image_size: int, opset: int, batch: int | None) -> onnx.ModelProto:
    import torch

    buffer = io.BytesIO()
    sample = torch.zeros(batch or 2, 3, image_size, image_size)
    with warnings.catch_warnings(), torch.no_grad():
        # This exporter warns of its successor, which renames weights and specialises sizes.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _export_friendly(encoder),
            (sample,),
            buffer,  # type: ignore[arg-type]  # its annotation forgets that it takes file objects
            input_names=["image"],
            output_names=["embedding"],
            opset_version=opset,
            dynamo=False,
            dynamic_axes=None if batch is not None else {"image": {0: "batch"}, "embedding": {0: "batch"}},
        )
    model = onnx.load_model_from_string(buffer.getvalue())
    model.producer_name, model.producer_version = "livesam", ""
    return model


def _with_preprocessing(model: onnx.ModelProto, size: int) -> onnx.ModelProto:
    """uint8 (H, W, 3) -> normalised, then padded with zeros -> the encoder; exactly Sam.preprocess."""
    b = GraphBuilder("preprocessing", model.opset_import[0].version)
    image = b.input("image", ["height", "width", 3], TensorProto.UINT8)
    with b.float32():
        x = b.op("Cast", image, to=TensorProto.FLOAT)
        x = b.op("Div", b.op("Sub", x, b.const(PIXEL_MEAN)), b.const(PIXEL_STD))
        missing = b.op("Sub", b.ints([size, size]), b.op("Shape", image, start=0, end=2))
        x = b.op("Pad", x, b.concat([b.ints([0, 0, 0]), missing, b.ints([0])], 0))
        x = b.reshape(b.transpose(x, [2, 0, 1]), [1, 3, size, size])
    b.output("pixels", x, [1, 3, size, size])
    return joined(b.model(), model)


def joined(front: onnx.ModelProto, encoder: onnx.ModelProto, output: str = "embedding") -> onnx.ModelProto:
    """A graph whose output is ``pixels``, and behind it an encoder's; its embedding is called ``output``."""
    (source,) = (value.name for value in front.graph.input)
    front, encoder = compose.add_prefix(front, "fp32_pre_"), compose.add_prefix(encoder, "encoder_")
    _rename(front, f"fp32_pre_{source}", source)
    _rename(encoder, "encoder_embedding", output)
    front.ir_version = encoder.ir_version = max(front.ir_version, encoder.ir_version)
    merged = compose.merge_models(front, encoder, io_map=[("fp32_pre_pixels", "encoder_image")])
    del merged.opset_import[1:]  # it names the operator set once for each
    merged.producer_name = "livesam"
    return merged


def _rename(model: onnx.ModelProto, old: str, new: str) -> None:
    """Give a graph's input or output another name, in place."""
    for value in (*model.graph.input, *model.graph.output):
        if value.name == old:
            value.name = new
    for node in model.graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                if name == old:
                    names[i] = new


def probe_image(size: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """A picture-like uint8 (3/4 size, size, 3) image: smooth colours, edges and some noise."""
    rng = np.random.default_rng(seed)
    h, w = size * 3 // 4, size
    y, x = np.mgrid[0:h, 0:w].astype(np.float32) / size
    planes = []
    for _ in range(3):
        a, b, c, d = rng.uniform(2, 14, 4)
        planes.append(np.sin(a * x + b * y) + np.sign(np.sin(c * x - d * y)) * 0.5 + rng.normal(0, 0.1, (h, w)))
    stacked = np.stack(planes, -1)
    image: npt.NDArray[np.uint8] = ((stacked - stacked.min()) / np.ptp(stacked) * 255).astype(np.uint8)
    return image


def normalised(image: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.float32]:
    """uint8 (H, W, 3) with both sides at most ``size`` -> float32 (1, 3, size, size), as Sam.preprocess does."""
    mean, std = np.asarray(PIXEL_MEAN, np.float32), np.asarray(PIXEL_STD, np.float32)
    pixels = (image.astype(np.float32) - mean) / std
    canvas = np.zeros((1, 3, size, size), np.float32)
    canvas[0, :, : image.shape[0], : image.shape[1]] = pixels.transpose(2, 0, 1)
    return canvas


def _check(sam: Sam, path: Path, size: int, precision: str, uint8_input: bool, batch: int) -> dict[str, Any]:
    """Compare the file with ``sam.image_encoder`` in float32; what was done, for the manifest."""
    import torch

    images = [probe_image(size, seed) for seed in range(min(batch, 2))]
    pixels = np.concatenate([normalised(image, size) for image in images])
    with torch.no_grad():
        want = sam.image_encoder.eval()(torch.from_numpy(pixels)).numpy()
    if not np.isfinite(want).all():
        raise ExportError("the encoder's own embedding is not finite in PyTorch: the weights are damaged")
    repeat = -(-batch // len(images))
    feeds: dict[str, Array] = {"image": images[0] if uint8_input else np.tile(pixels, (repeat, 1, 1, 1))[:batch]}
    check, note = checkable(path, precision)
    got, checker = run_onnx(check, feeds)
    if check != path:
        for leftover in path.parent.glob(f"{check.name}*"):
            leftover.unlink()
    differences = [difference("embedding", got["embedding"][: len(want)], want, precision)]
    require(differences, f"{path.name} ({precision})")
    return {
        "against": "the image encoder in PyTorch float32",
        "checker": checker,
        "checked": note,
        "differences": [d.as_dict() for d in differences],
    }
