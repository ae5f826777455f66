"""The official SAM decoder contract as an ONNX graph, written node by node instead of traced.

Inputs and outputs are those of ``segment_anything``'s ``scripts/export_onnx_model.py``, and so is the arithmetic
(``utils/onnx.py``, ``SamOnnxModel``): batch 1, ``has_mask_input`` blends, the single-mask rule counts points, logits
come out at the original size. Against a trace:

* every tensor of the prompt encoder and the mask decoder is an initializer under its state-dict name and in its
  state-dict shape (a trace keeps 80 of the decoder's 120 names and transposes the rest), so weights can be read back,
  compared and replaced;
* the crop of the padding follows ``orig_im_size`` at run time (a trace bakes in the aspect ratio of its dummy image);
* it takes milliseconds, needs no torch, and nothing has to be cached.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from livesam.export.graphs.graph import GraphBuilder
from onnx import TensorProto

Array = npt.NDArray[Any]

CHANNELS = 256
HEADS = 8
LAYERS = 2
MASKS = 4
MIN_OPSET = 17  # LayerNormalization

OUTPUTS = ("masks", "iou_predictions", "low_res_masks")
CVAT_OUTPUTS = (*OUTPUTS, "xtl", "ytl", "xbr", "ybr")


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a graph gives and takes beyond the plain contract.

    Attributes:
        single: one mask by the official single-mask rule; False gives tokens 0 to 3.
        crop: ``masks`` becomes uint8 0/1, cut to its bounding box, and ``xtl, ytl, xbr, ybr`` (int64 scalars,
        inclusive) are
            added: what CVAT's browser plugin reads. Needs ``single``.
        pad: append SAM's padding point inside the graph when the caller sent neither a box nor a padding point. CVAT's
            plugin padded in 2023 and does not any more; so both generations get PyTorch's masks.
    """

    single: bool = False
    crop: bool = False
    pad: bool = False


def build_official(
    state: Mapping[str, Array], image_size: int, dialect: Dialect | None = None, *, opset: int = MIN_OPSET
) -> onnx.ModelProto:
    """The graph for these weights.

    Args:
        state: the ``prompt_encoder.*`` and ``mask_decoder.*`` tensors of a ``Sam``, float32, official names.
        image_size: side of the encoder's input; the embedding is a sixteenth of it, mask prompts a quarter.

    Raises:
        ValueError: the opset is too old, the dialect contradicts itself, or a tensor is missing.
    """
    dialect = dialect or Dialect()
    if opset < MIN_OPSET:
        raise ValueError(f"opset must be {MIN_OPSET} or newer (LayerNormalization), got {opset}")
    if dialect.crop and not dialect.single:
        raise ValueError("cropped masks come one at a time: crop needs single")
    try:
        return _OfficialGraph(state, image_size, dialect, opset).build()
    except KeyError as error:
        raise ValueError(f"the tensor {error} is missing") from error


class _OfficialGraph:
    def __init__(self, state: Mapping[str, Array], image_size: int, dialect: Dialect, opset: int) -> None:
        self.b = GraphBuilder("sam_decoder", opset)
        self.state = state
        self.size = image_size
        self.side = image_size // 16
        self.dialect = dialect

    def weight(self, key: str) -> str:
        return self.b.weight(key, self.state[key])

    # Batch is 1 everywhere, so activations are kept as (rows, channels) and a linear layer is one Gemm on (out, in).

    def linear(self, x: str, key: str) -> str:
        return self.b.op("Gemm", x, self.weight(f"{key}.weight"), self.weight(f"{key}.bias"), transB=1)

    def norm(self, x: str, key: str, eps: float = 1e-5) -> str:
        return self.b.layer_norm(x, self.weight(f"{key}.weight"), self.weight(f"{key}.bias"), eps)

    def norm_2d(self, x: str, key: str) -> str:
        """LayerNorm2d: over the channels of (1, C, h, w)."""
        x = self.norm(self.b.transpose(x, [0, 2, 3, 1]), key, 1e-6)
        return self.b.transpose(x, [0, 3, 1, 2])

    def conv(self, x: str, key: str, stride: int, transposed: bool = False) -> str:
        kernel = list(self.state[f"{key}.weight"].shape[2:])
        op = "ConvTranspose" if transposed else "Conv"
        weight, bias = self.weight(f"{key}.weight"), self.weight(f"{key}.bias")
        return self.b.op(op, x, weight, bias, kernel_shape=kernel, strides=[stride, stride])

    def mlp(self, x: str, key: str) -> str:
        for i in range(3):
            x = self.linear(x, f"{key}.layers.{i}")
            x = self.b.op("Relu", x) if i < 2 else x
        return x

    def position(self, unit: str) -> str:
        """Coordinates (n, 2) in [0, 1] to (n, 256): PositionEmbeddingRandom._pe_encoding."""
        b = self.b
        with b.float32():
            x = b.op("Sub", b.mul(unit, b.const(2.0)), b.const(1.0))
            x = b.matmul(x, self.weight("prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"))
            x = b.mul(x, b.const(2 * np.pi))
            return b.concat([b.op("Sin", x), b.op("Cos", x)], -1)

    def dense_position(self) -> str:
        """(h*w, 256), from the centres of the embedding's pixels; runtimes fold it when they load the graph."""
        centres = (np.arange(self.side, dtype=np.float32) + 0.5) / self.side
        y, x = np.meshgrid(centres, centres, indexing="ij")
        return self.position(self.b.const(np.stack([x.ravel(), y.ravel()], axis=1)))

    def padded(self, coords: str, labels: str) -> tuple[str, str]:
        """One point (0, 0) of label -1 more, unless a label says that there is a box (2, 3) or padding (-1) already."""
        b = self.b
        special = b.op("Or", b.op("Less", labels, b.const(0.0)), b.op("Greater", labels, b.const(1.5)))
        special = b.concat([b.op("Cast", special, to=TensorProto.INT64), b.const(np.zeros((1, 1)), np.int64)], 1)
        free = b.op("Sub", b.ints([1]), b.op("Reshape", b.reduce_max(special, [0, 1]), b.ints([1])))
        end = b.add(b.op("Shape", labels, start=1, end=2), free)
        coords = b.concat([coords, b.const(np.zeros((1, 1, 2)))], 1)
        labels = b.concat([labels, b.const(np.full((1, 1), -1.0))], 1)
        return (
            b.op("Slice", coords, b.ints([0]), end, b.ints([1])),
            b.op("Slice", labels, b.ints([0]), end, b.ints([1])),
        )

    def points(self, coords: str, labels: str) -> str:
        """Coordinates (1, N, 2) and labels (1, N) to (N, 256)."""
        b = self.b
        with b.float32():
            coords = b.reshape(coords, [-1, 2])
            unit = b.op("Div", b.add(coords, b.const(0.5)), b.const(float(self.size)))
        encoded = self.position(unit)
        kinds = b.op("Equal", b.reshape(labels, [-1, 1]), b.const([-1.0, 0.0, 1.0, 2.0, 3.0]))
        one_hot = b.op("Cast", kinds, to=TensorProto.FLOAT)  # (N, 5)
        is_point = b.op("Sub", b.const(1.0), b.slice(one_hot, 1, 0, 1))
        names = ["not_a_point_embed", *(f"point_embeddings.{i}" for i in range(4))]
        table = b.concat([self.weight(f"prompt_encoder.{name}.weight") for name in names], 0)
        return b.add(b.mul(encoded, is_point), b.matmul(one_hot, table))

    def mask(self, mask: str, has_mask: str) -> str:
        """``h * down(mask) + (1 - h) * no_mask``, (1, 256, h, w)."""
        b, key = self.b, "prompt_encoder.mask_downscaling"
        x = b.gelu(self.norm_2d(self.conv(mask, f"{key}.0", 2), f"{key}.1"))
        x = b.gelu(self.norm_2d(self.conv(x, f"{key}.3", 2), f"{key}.4"))
        x = self.conv(x, f"{key}.6", 1)
        no_mask = b.reshape(self.weight("prompt_encoder.no_mask_embed.weight"), [1, CHANNELS, 1, 1])
        return b.add(b.mul(has_mask, x), b.mul(b.op("Sub", b.const(1.0), has_mask), no_mask))

    def attention(self, q: str, k: str, v: str, key: str) -> str:
        """(rows, 256) each; the projections have 256 channels in self-attention and 128 in cross-attention."""
        b = self.b
        width = self.state[f"{key}.q_proj.weight"].shape[0]
        depth = width // HEADS

        def heads(x: str, perm: list[int]) -> str:
            return b.transpose(b.reshape(x, [-1, HEADS, depth]), perm)

        query = heads(self.linear(q, f"{key}.q_proj"), [1, 0, 2])  # (8, rows, depth)
        keys = heads(self.linear(k, f"{key}.k_proj"), [1, 2, 0])  # (8, depth, rows)
        value = heads(self.linear(v, f"{key}.v_proj"), [1, 0, 2])
        scores = b.op("Div", b.matmul(query, keys), b.const(depth**0.5))
        seen = b.matmul(b.op("Softmax", scores, axis=-1), value)
        return self.linear(b.reshape(b.transpose(seen, [1, 0, 2]), [-1, width]), f"{key}.out_proj")

    def transformer(self, keys: str, tokens: str) -> tuple[str, str]:
        """Image tokens (h*w, 256) and prompt tokens (T, 256) through both layers and the last attention."""
        b, place, queries = self.b, self.dense_position(), tokens
        for i in range(LAYERS):
            key = f"mask_decoder.transformer.layers.{i}"
            if i == 0:
                queries = self.attention(queries, queries, queries, f"{key}.self_attn")
            else:
                q = b.add(queries, tokens)
                queries = b.add(queries, self.attention(q, q, queries, f"{key}.self_attn"))
            queries = self.norm(queries, f"{key}.norm1")
            seen = self.attention(b.add(queries, tokens), b.add(keys, place), keys, f"{key}.cross_attn_token_to_image")
            queries = self.norm(b.add(queries, seen), f"{key}.norm2")
            hidden = self.linear(b.op("Relu", self.linear(queries, f"{key}.mlp.lin1")), f"{key}.mlp.lin2")
            queries = self.norm(b.add(queries, hidden), f"{key}.norm3")
            seen = self.attention(
                b.add(keys, place), b.add(queries, tokens), queries, f"{key}.cross_attn_image_to_token"
            )
            keys = self.norm(b.add(keys, seen), f"{key}.norm4")
        key = "mask_decoder.transformer.final_attn_token_to_image"
        seen = self.attention(b.add(queries, tokens), b.add(keys, place), keys, key)
        return self.norm(b.add(queries, seen), "mask_decoder.transformer.norm_final_attn"), keys

    def predict(self, embedding: str, points: str, dense: str) -> tuple[str, str]:
        """``MaskDecoder.predict_masks``: logits (1, 4, 4h, 4w) and IoUs (1, 4)."""
        b, n = self.b, self.side
        learned = [self.weight(f"mask_decoder.{name}.weight") for name in ("iou_token", "mask_tokens")]
        tokens = b.concat([*learned, points], 0)  # (5 + N, 256)
        image = b.reshape(b.add(embedding, dense), [CHANNELS, n * n])
        queries, keys = self.transformer(b.transpose(image, [1, 0]), tokens)
        up = b.reshape(b.transpose(keys, [1, 0]), [1, CHANNELS, n, n])
        up = self.norm_2d(
            self.conv(up, "mask_decoder.output_upscaling.0", 2, transposed=True), "mask_decoder.output_upscaling.1"
        )
        up = b.gelu(self.conv(b.gelu(up), "mask_decoder.output_upscaling.3", 2, transposed=True))  # (1, 32, 4h, 4w)
        hyper = [
            self.mlp(b.slice(queries, 0, 1 + i, 2 + i), f"mask_decoder.output_hypernetworks_mlps.{i}")
            for i in range(MASKS)
        ]
        logits = b.matmul(b.concat(hyper, 0), b.reshape(up, [32, 16 * n * n]))
        ious = self.mlp(b.slice(queries, 0, 0, 1), "mask_decoder.iou_prediction_head")
        return b.reshape(logits, [1, MASKS, 4 * n, 4 * n]), ious

    def select(self, logits: str, ious: str, coords: str) -> tuple[str, str]:
        """The single-mask rule: token 0 from three points on (padding and corners count), else the best of 1 to 3."""
        b = self.b
        count = b.op("Cast", b.op("Shape", coords, start=1, end=2), to=TensorProto.FLOAT)
        weight = b.mul(b.op("Sub", count, b.const(2.5)), b.const(np.array([[1000.0, 0.0, 0.0, 0.0]])))
        best = b.op("ArgMax", b.add(ious, weight), axis=1, keepdims=0)  # (1,)
        return b.op("Gather", logits, best, axis=1), b.op("Gather", ious, best, axis=1)

    def resize(self, x: str, sizes: list[int] | str) -> str:
        b = self.b
        target = sizes if isinstance(sizes, str) else b.ints(sizes)
        return b.op("Resize", x, "", "", target, mode="linear", coordinate_transformation_mode="half_pixel")

    def postprocess(self, logits: str, original: str, masks: int) -> str:
        """Logits to the model's frame, cut off the padding, to the original size."""
        b = self.b
        logits = self.resize(logits, [1, masks, self.size, self.size])
        with b.float32():
            scale = b.op("Div", b.const(float(self.size)), b.reduce_max(original, [0]))
            resized = b.op("Floor", b.add(b.mul(scale, original), b.const(0.5)))
            resized = b.op("Cast", resized, to=TensorProto.INT64)
            whole = b.op("Cast", original, to=TensorProto.INT64)
        logits = b.op("Slice", logits, b.ints([0, 0]), resized, b.ints([2, 3]))
        target = b.concat([b.ints([1, masks]), whole], 0)
        return self.resize(logits, target)

    def crop(self, logits: str) -> tuple[str, dict[str, str]]:
        """uint8 0/1 within the object's box, and the box; an empty mask gives one zero pixel at the origin."""
        b = self.b
        inside = b.op("Cast", b.op("Greater", logits, b.const(0.0)), to=TensorProto.FLOAT)  # (1, 1, H, W)
        some = b.op("Cast", b.reduce_max(inside, [0, 1, 2, 3]), to=TensorProto.INT64)
        box = {}
        for axis, low, high in ((3, "xtl", "xbr"), (2, "ytl", "ybr")):
            profile = b.reduce_max(inside, [0, 1, 5 - axis])  # columns or rows that hold any of the object
            box[low] = b.op("ArgMax", profile, axis=0, keepdims=0)
            box[high] = b.mul(b.op("ArgMax", profile, axis=0, keepdims=0, select_last_index=1), some)
        start = b.concat([b.reshape(box[name], [1]) for name in ("ytl", "xtl")], 0)
        end = b.concat([b.reshape(box[name], [1]) for name in ("ybr", "xbr")], 0)
        cut = b.op("Slice", inside, start, b.add(end, b.ints([1])), b.ints([2, 3]))
        return b.op("Cast", cut, to=TensorProto.UINT8), box

    def build(self) -> onnx.ModelProto:
        b, n, low = self.b, self.side, self.size // 4
        embedding = b.input("image_embeddings", [1, CHANNELS, n, n])
        coords = b.input("point_coords", [1, "num_points", 2])
        labels = b.input("point_labels", [1, "num_points"])
        mask = b.input("mask_input", [1, 1, low, low])
        has_mask = b.input("has_mask_input", [1])
        original = b.input("orig_im_size", [2])
        if self.dialect.pad:
            coords, labels = self.padded(coords, labels)

        logits, ious = self.predict(embedding, self.points(coords, labels), self.mask(mask, has_mask))
        if self.dialect.single:
            logits, ious = self.select(logits, ious, coords)
        masks = 1 if self.dialect.single else MASKS
        full = self.postprocess(logits, original, masks)
        if self.dialect.crop:
            cut, box = self.crop(full)
            b.output("masks", cut, [1, 1, "box_height", "box_width"], TensorProto.UINT8)
        else:
            box = {}
            b.output("masks", full, [1, masks, "height", "width"])
        b.output("iou_predictions", ious, [1, masks])
        b.output("low_res_masks", logits, [1, masks, low, low])
        for name in CVAT_OUTPUTS[3:]:
            if name in box:
                b.output(name, box[name], [], TensorProto.INT64)
        return b.model()
