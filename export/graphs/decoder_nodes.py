"""The serving decoder: SAM's prompt encoder and mask decoder as one ONNX graph with 120 exchangeable tensors.

Two exact rewritings make it cheaper than the reference while every tensor keeps its official name:

* The image has 4096 tokens, the prompt a dozen. Keys and queries of the image are never computed: ``(W_q q) . (W_k x)``
  is ``(W_k^T W_q q) . x``, so the projection is applied to the few prompt tokens, and values are projected after the
  weighted sum instead of before it. Per head that is 8 T columns instead of 128; T is 7 for one click, so the
  projections of the image cost 44 % of the reference; they break even at T = 16. (A key's bias cancels in the softmax.)
* Until the first image-to-token attention nothing on the image side depends on the prompt, unless it brings a mask:
  with ``mask_input`` of batch 1, P prompts share that work by broadcasting.

Everything is a matrix product over tokens-by-channels: the strided (transposed) convolutions of SAM do not overlap, so
each is one product and a shuffle, and LayerNorm2d is a LayerNorm over the last axis.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx
from livesam.export.files.manifest import Weight
from livesam.export.graphs.graph import GraphBuilder

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

Array = npt.NDArray[Any]
Float = npt.NDArray[np.float32]

CHANNELS = 256
HEADS = 8
LAYERS = 2
TOKENS = 5  # IoU token and four mask tokens
HIDDEN = 128  # cross attention works at half the channels
DEPTH = HIDDEN // HEADS


@dataclass(frozen=True)
class PromptConstants:
    """The frozen prompt encoder, as arrays ready for the graph."""

    gaussian: Float  # (2, 128)
    dense: Float  # (1, h*w, 256)
    table: Float  # (5, 256): not a point, background, foreground, box corners
    no_mask: Float  # (1, 1, 256)
    downscaling: Mapping[str, Float]
    input_hw: tuple[int, int]
    embedding_hw: tuple[int, int]


def prompt_constants(sam: Sam) -> PromptConstants:
    """Read the prompt encoder of ``sam``."""
    encoder = sam.prompt_encoder
    state = {k: v.detach().cpu().float().numpy() for k, v in encoder.state_dict().items()}
    labels = ["not_a_point_embed", *(f"point_embeddings.{i}" for i in range(4))]
    dense = encoder.get_dense_pe().detach().cpu().float().numpy()  # (1, 256, h, w)
    return PromptConstants(
        gaussian=state["pe_layer.positional_encoding_gaussian_matrix"],
        dense=np.ascontiguousarray(dense.reshape(1, CHANNELS, -1).transpose(0, 2, 1)),
        table=np.concatenate([state[f"{name}.weight"] for name in labels]),
        no_mask=state["no_mask_embed.weight"].reshape(1, 1, CHANNELS),
        downscaling={k.removeprefix("mask_downscaling."): v for k, v in state.items() if k.startswith("mask_down")},
        input_hw=tuple(encoder.input_image_size),
        embedding_hw=tuple(encoder.image_embedding_size),
    )


class _DecoderGraph:
    """Writes the nodes. Names of decoder tensors are official keys without the ``mask_decoder.`` prefix."""

    def __init__(self, weights: Mapping[str, Float], prompt: PromptConstants, opset: int) -> None:
        self.b = GraphBuilder("livesam_decoder", opset)
        self.state = weights
        self.prompt = prompt
        self.used: dict[str, Weight] = {}
        self.h, self.w = prompt.embedding_hw

    def weight(self, key: str, transpose: bool = False) -> str:
        array = self.state[key].T if transpose else self.state[key]
        self.used[key] = Weight(key, transpose, tuple(array.shape))
        return self.b.weight(key, array)

    def linear(self, x: str, key: str) -> str:
        return self.b.add(self.b.matmul(x, self.weight(f"{key}.weight", transpose=True)), self.weight(f"{key}.bias"))

    def norm(self, x: str, key: str, eps: float = 1e-5) -> str:
        return self.b.layer_norm(x, self.weight(f"{key}.weight"), self.weight(f"{key}.bias"), eps)

    def mlp(self, x: str, key: str, layers: int) -> str:
        for i in range(layers):
            x = self.linear(x, f"{key}.{i}")
            x = self.b.op("Relu", x) if i < layers - 1 else x
        return x

    def wide_mlp(self, x: str, key: str) -> str:
        """The 256 -> 2048 -> 256 perceptron of a transformer layer over tokens (P, T, 256).

        The weights stand on the left: a dozen tokens are then the side that ONNX Runtime repacks in every run, not
        2 MB of weights. One core, 12 tokens: 1.1 ms instead of 2.1.
        """
        b = self.b
        columns = b.transpose(b.reshape(x, [-1, CHANNELS]), [1, 0])  # (256, P*T)
        for name in ("lin1", "lin2"):
            bias = b.reshape(self.weight(f"{key}.{name}.bias"), [-1, 1])
            columns = b.add(b.matmul(self.weight(f"{key}.{name}.weight"), columns), bias)
            columns = b.op("Relu", columns) if name == "lin1" else columns
        return b.op("Reshape", b.transpose(columns, [1, 0]), b.op("Shape", x))

    def heads(self, x: str, depth: int) -> str:
        """(P, T, 8*depth) -> (P, 8, T, depth)"""
        return self.b.transpose(self.b.reshape(x, [0, 0, HEADS, depth]), [0, 2, 1, 3])

    def merge(self, x: str, width: int) -> str:
        """(P, 8, T, depth) -> (P, T, 8*depth)"""
        return self.b.reshape(self.b.transpose(x, [0, 2, 1, 3]), [0, 0, width])

    def points(self, coords: str, labels: str) -> str:
        """Coordinates (P, N, 2) and labels (P, N) to (P, N, 256), as PromptEncoder does for clicks and box corners."""
        b = self.b
        height, width = self.prompt.input_hw
        with b.float32():  # angles of some 20 rad are not for 8 or 11 bits of mantissa
            unit = b.op("Div", b.add(coords, b.const(0.5)), b.const([float(width), float(height)]))
            angle = b.matmul(
                b.op("Sub", b.mul(unit, b.const(2.0)), b.const(1.0)),
                b.weight("prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", self.prompt.gaussian),
            )
            angle = b.mul(angle, b.const(2 * np.pi))
            encoded = b.concat([b.op("Sin", angle), b.op("Cos", angle)], -1)
            kind = b.op("Equal", b.op("Unsqueeze", labels, b.ints([-1])), b.const([-1.0, 0.0, 1.0, 2.0, 3.0]))
        one_hot = b.op("Cast", kind, to=onnx.TensorProto.FLOAT)  # (P, N, 5)
        is_point = b.op("Sub", b.const(1.0), b.slice(one_hot, 2, 0, 1))
        table = b.weight("prompt_encoder.labels", self.prompt.table)
        return b.add(b.mul(encoded, is_point), b.matmul(one_hot, table))

    def mask(self, mask: str, has_mask: str) -> str:
        """``h * down(mask) + (1 - h) * no_mask`` as tokens, (M, 1, 4h, 4w) -> (M, h*w, 256)."""
        b, state, n = self.b, self.prompt.downscaling, self.h * self.w

        def constant(name: str, array: Array) -> str:
            return b.weight(f"prompt_encoder.mask_downscaling.{name}", array)

        x = b.reshape(mask, [-1, self.h, 2, 2, self.w, 2, 2])
        x = b.reshape(b.transpose(x, [0, 1, 4, 2, 5, 3, 6]), [-1, n * 4, 4])  # 2x2 blocks within 2x2 blocks
        x = b.matmul(x, constant("0.weight", state["0.weight"].reshape(4, 4).T))
        x = b.add(x, constant("0.bias", state["0.bias"]))
        x = b.gelu(b.layer_norm(x, constant("1.weight", state["1.weight"]), constant("1.bias", state["1.bias"]), 1e-6))
        x = b.reshape(x, [-1, n, 16])  # (row, column, channel) of each 2x2 block
        x = b.matmul(x, constant("3.weight", state["3.weight"].transpose(2, 3, 1, 0).reshape(16, 16)))
        x = b.add(x, constant("3.bias", state["3.bias"]))
        x = b.gelu(b.layer_norm(x, constant("4.weight", state["4.weight"]), constant("4.bias", state["4.bias"]), 1e-6))
        # The blend is linear, so it is cheaper before the product, on 16 channels.
        h = b.reshape(has_mask, [-1, 1, 1])
        x = b.matmul(b.mul(h, x), constant("6.weight", state["6.weight"].reshape(CHANNELS, 16).T))  # (M, h*w, 256)
        no_mask = b.weight("prompt_encoder.no_mask_embed.weight", self.prompt.no_mask)
        rest = b.mul(b.op("Sub", b.const(1.0), h), no_mask)
        return b.add(x, b.add(b.mul(h, constant("6.bias", state["6.bias"])), rest))

    def self_attention(self, q: str, v: str, key: str) -> str:
        b, depth = self.b, CHANNELS // HEADS
        query = b.mul(self.heads(self.linear(q, f"{key}.q_proj"), depth), b.const(depth**-0.5))
        k = self.heads(self.linear(q, f"{key}.k_proj"), depth)
        value = self.heads(self.linear(v, f"{key}.v_proj"), depth)
        attention = b.op("Softmax", b.matmul(query, b.transpose(k, [0, 1, 3, 2])), axis=-1)
        return self.linear(self.merge(b.matmul(attention, value), CHANNELS), f"{key}.out_proj")

    def token_to_image(self, q: str, place: str, image: str, key: str) -> str:
        """Prompt tokens q (P, T, 256) look at the image (M, h*w, 256); ``place`` is the image plus its positions."""
        b = self.b
        query = b.mul(self.heads(self.linear(q, f"{key}.q_proj"), DEPTH), b.const(DEPTH**-0.5))  # (P, 8, T, 16)
        w_k = b.reshape(self.weight(f"{key}.k_proj.weight"), [HEADS, DEPTH, CHANNELS])
        self.weight(f"{key}.k_proj.bias")  # cancels in the softmax: the same for every image token
        query = b.reshape(b.matmul(query, w_k), [0, -1, CHANNELS])  # (P, 8T, 256)
        attention = b.op("Softmax", b.matmul(query, b.transpose(place, [0, 2, 1])), axis=-1)  # (P, 8T, h*w)
        seen = b.reshape(b.matmul(attention, image), [0, HEADS, -1, CHANNELS])  # (P, 8, T, 256)
        w_v = b.reshape(self.weight(f"{key}.v_proj.weight", transpose=True), [CHANNELS, HEADS, DEPTH])
        seen = b.matmul(seen, b.transpose(w_v, [1, 0, 2]))  # (P, 8, T, 16)
        seen = b.add(self.merge(seen, HIDDEN), self.weight(f"{key}.v_proj.bias"))
        return self.linear(seen, f"{key}.out_proj")

    def image_to_token(self, place: str, k: str, v: str, key: str) -> str:
        """The image (M, h*w, 256) looks at the prompt tokens k, v (P, T, 256) -> (P, h*w, 256)."""
        b = self.b
        k = b.mul(self.heads(self.linear(k, f"{key}.k_proj"), DEPTH), b.const(DEPTH**-0.5))  # (P, 8, T, 16)
        w_q = b.reshape(self.weight(f"{key}.q_proj.weight"), [HEADS, DEPTH, CHANNELS])
        b_q = b.reshape(self.weight(f"{key}.q_proj.bias"), [HEADS, DEPTH, 1])
        keys = b.reshape(b.matmul(k, w_q), [0, -1, CHANNELS])  # (P, 8T, 256)
        offset = b.reshape(b.matmul(k, b_q), [0, 1, -1])  # (P, 1, 8T)
        scores = b.add(b.matmul(place, b.transpose(keys, [0, 2, 1])), offset)  # (P, h*w, 8T)
        attention = b.op("Softmax", b.reshape(scores, [0, 0, HEADS, -1]), axis=-1)
        value = self.heads(self.linear(v, f"{key}.v_proj"), DEPTH)
        w_o = b.reshape(self.weight(f"{key}.out_proj.weight", transpose=True), [HEADS, DEPTH, CHANNELS])
        # A head's attention sums to 1, so an eighth of the bias on every value is the bias: 8T rows instead of h*w.
        bias = b.mul(self.weight(f"{key}.out_proj.bias"), b.const(1 / HEADS))
        values = b.reshape(b.add(b.matmul(value, w_o), bias), [0, -1, CHANNELS])  # (P, 8T, 256)
        return b.matmul(b.reshape(attention, [0, 0, -1]), values)

    def transformer(self, image: str, tokens: str) -> tuple[str, str]:
        b = self.b
        dense = b.weight("prompt_encoder.dense_pe", self.prompt.dense)
        place = b.add(image, dense)
        queries = tokens
        for i in range(LAYERS):
            key = f"transformer.layers.{i}"
            if i == 0:
                queries = self.self_attention(queries, queries, f"{key}.self_attn")
            else:
                queries = b.add(queries, self.self_attention(b.add(queries, tokens), queries, f"{key}.self_attn"))
            queries = self.norm(queries, f"{key}.norm1")
            seen = self.token_to_image(b.add(queries, tokens), place, image, f"{key}.cross_attn_token_to_image")
            queries = self.norm(b.add(queries, seen), f"{key}.norm2")
            queries = self.norm(b.add(queries, self.wide_mlp(queries, f"{key}.mlp")), f"{key}.norm3")
            seen = self.image_to_token(place, b.add(queries, tokens), queries, f"{key}.cross_attn_image_to_token")
            image = self.norm(b.add(image, seen), f"{key}.norm4")
            place = b.add(image, dense)
        # Of the last attention only the learned tokens are read; what the prompt's own would see is not computed.
        queries, tokens = b.slice(queries, 1, 0, TOKENS), b.slice(tokens, 1, 0, TOKENS)
        seen = self.token_to_image(b.add(queries, tokens), place, image, "transformer.final_attn_token_to_image")
        return self.norm(b.add(queries, seen), "transformer.norm_final_attn"), image

    def upscale(self, image: str) -> str:
        """(P, h*w, 256) -> (P, h*w*16, 32): 4x4 blocks of each embedding pixel, (row1, column1, row2, column2)."""
        b, key, n = self.b, "output_upscaling", self.h * self.w

        def shuffled(x: str, index: int, c_in: int, c_out: int, rows: int) -> str:
            # Stored as (column, row, out, in): of that only blocks are moved in each run, not single weights.
            w = b.transpose(self.weight(f"{key}.{index}.weight", transpose=True), [1, 0, 2, 3])
            w = b.transpose(b.reshape(w, [4 * c_out, c_in]), [1, 0])  # becomes part of the product
            # Added to whole 2x2 blocks: ONNX Runtime's fused bias and GELU is 4 times slower over rows of 32.
            bias = b.concat([self.weight(f"{key}.{index}.bias")] * 4, 0)
            return b.reshape(b.add(b.matmul(x, w), bias), [0, rows, c_out])

        x = shuffled(image, 0, CHANNELS, 64, n * 4)
        x = b.gelu(self.norm(x, f"{key}.1", 1e-6))
        return b.gelu(shuffled(x, 3, 64, 32, n * 16))

    def build(self, weights_as_inputs: bool) -> onnx.ModelProto:
        b, h, w = self.b, self.h, self.w
        embedding = b.input("embedding", [1, CHANNELS, h, w])
        coords = b.input("point_coords", ["prompts", "points", 2])
        labels = b.input("point_labels", ["prompts", "points"])
        mask = b.input("mask_input", ["masks", 1, 4 * h, 4 * w])
        has_mask = b.input("has_mask", ["masks"])

        learned = b.concat([self.weight("iou_token.weight"), self.weight("mask_tokens.weight")], 0)
        count = b.op("Shape", labels, start=0, end=1)
        learned = b.op("Expand", learned, b.concat([count, b.ints([TOKENS, CHANNELS])], 0))
        tokens = b.concat([learned, self.points(coords, labels)], 1)  # (P, T, 256)

        image = b.transpose(b.reshape(embedding, [1, CHANNELS, h * w]), [0, 2, 1])
        image = b.add(image, self.mask(mask, has_mask))  # (M, h*w, 256)
        queries, image = self.transformer(image, tokens)

        picked = [b.op("Gather", queries, b.const(i, np.int64), axis=1) for i in range(TOKENS)]  # (P, 256) each
        hyper = [
            b.op("Unsqueeze", self.mlp(picked[1 + i], f"output_hypernetworks_mlps.{i}.layers", 3), b.ints([1]))
            for i in range(4)
        ]
        masks = b.matmul(b.concat(hyper, 1), b.transpose(self.upscale(image), [0, 2, 1]))  # (P, 4, h*w*16)
        masks = b.transpose(b.reshape(masks, [-1, 4, h, w, 2, 2, 2, 2]), [0, 1, 2, 4, 6, 3, 5, 7])
        b.output("low_res_logits", b.reshape(masks, [-1, 4, 4 * h, 4 * w]), ["prompts", 4, 4 * h, 4 * w])
        b.output("ious", self.mlp(picked[0], "iou_prediction_head.layers", 3), ["prompts", 4])
        return b.model(list(self.used) if weights_as_inputs else [])


def build_decoder(
    weights: Mapping[str, Float], prompt: PromptConstants, *, weights_as_inputs: bool = True, opset: int = 17
) -> tuple[onnx.ModelProto, dict[str, Weight]]:
    """The serving decoder graph and how its initializers come from the 120 decoder tensors.

    Inputs (float32): ``embedding (1, 256, h, w)``, ``point_coords (P, N, 2)`` in the model's input frame,
    ``point_labels (P, N)``, ``mask_input (M, 1, 4h, 4w)``, ``has_mask (M,)``, with M = P, or M = 1 for all prompts
    alike; N may be 0.
    Outputs: ``low_res_logits (P, 4, 4h, 4w)``, ``ious (P, 4)``, token 0 first.

    Args:
        weights: official keys without ``mask_decoder.``, float32.
        weights_as_inputs: list the 120 initializers as graph inputs too, so that a caller may override them.
    """
    graph = _DecoderGraph(weights, prompt, opset)
    model = graph.build(weights_as_inputs)
    missing = sorted(set(weights) - set(graph.used))
    if missing:
        raise ValueError(f"these are no tensors of SAM's mask decoder: {', '.join(missing[:5])}")
    return model, dict(graph.used)
