"""SAM's ViT attention with decomposed relative positions, written so that runtimes see plain attention.

The reference adds ``rel_h[q, k_row] + rel_w[q, k_column]`` to the scores with two einsums and two broadcast additions
over a ``(heads, 4096, 4096)`` tensor. Two exact forms of the same:

* ``augment``: the additions become part of the product. With ``Q' = [scale q, rel_h(q), rel_w(q)]`` and
  ``K' = [k, onehot(row), onehot(column)]``, ``Q' K'^T`` is the biased score: plain attention, which flash kernels take.
* ``bias``: plain attention with an additive bias, which costs fewer operations and more memory traffic.

CPUs are faster with ``bias`` (one global block of 3 heads, one Zen core without AVX-512, CPU time: ONNX Runtime 0.68 s
against 1.11, OpenVINO 0.62 against 0.97, PyTorch's reference 1.20; windows are equal), so CPU runtimes are given that.
``augment`` never writes the bias, 400 MB for vit_b in bf16, and is for GPUs; there it has not been measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from livesam.export.graphs.graph import GraphBuilder

Array = npt.NDArray[Any]
RelPos = Literal["augment", "bias"]


@dataclass(frozen=True)
class AttentionWeights:
    """One attention layer: ``qkv`` as (C, 3C) and (3C,), ``rel_h``/``rel_w`` as (query, key, depth) or None."""

    key: str
    qkv: Array
    qkv_bias: Array
    proj: Array
    proj_bias: Array
    heads: int
    rel_h: Array | None
    rel_w: Array | None


def _relative(b: GraphBuilder, q: str, w: AttentionWeights, hw: tuple[int, int], depth: int) -> tuple[str, str]:
    """Dot products of queries (B, heads, h*w, depth) with the relative positions: (B, heads, h*w, h), (.., w)."""
    if w.rel_h is None or w.rel_w is None:
        raise ValueError("this attention layer has no relative positions")
    h, width = hw
    grid = b.reshape(q, [-1, w.heads, h, width, depth])
    # The row index comes first, so that all windows and heads share one product per row instead of one each.
    rows = b.reshape(b.transpose(grid, [2, 0, 1, 3, 4]), [h, -1, depth])
    table_h = b.weight(f"{w.key}.rel_pos_h", w.rel_h.transpose(0, 2, 1))  # (h, depth, h)
    rel_h = b.reshape(b.matmul(rows, table_h), [h, -1, w.heads, width, h])
    rel_h = b.reshape(b.transpose(rel_h, [1, 2, 0, 3, 4]), [-1, w.heads, h * width, h])
    columns = b.reshape(b.transpose(grid, [3, 0, 1, 2, 4]), [width, -1, depth])
    table_w = b.weight(f"{w.key}.rel_pos_w", w.rel_w.transpose(0, 2, 1))
    rel_w = b.reshape(b.matmul(columns, table_w), [width, -1, w.heads, h, width])
    return rel_h, b.reshape(b.transpose(rel_w, [1, 2, 3, 0, 4]), [-1, w.heads, h * width, width])


def _one_hot(hw: tuple[int, int]) -> Array:
    """(h + w, h*w): rows and columns of each key."""
    h, w = hw
    rows = np.repeat(np.eye(h, dtype=np.float32), w, axis=1)
    columns = np.tile(np.eye(w, dtype=np.float32), (1, h))
    return np.concatenate([rows, columns])


def attend(b: GraphBuilder, qkv: list[str], w: AttentionWeights, hw: tuple[int, int], depth: int, form: RelPos) -> str:
    """Attention over one grid of h*w tokens: q, k, v (B, heads, h*w, depth) -> the same shape."""
    q, k, v = qkv
    n = hw[0] * hw[1]
    scaled = b.mul(q, b.const(depth**-0.5))
    k = b.transpose(k, [0, 1, 3, 2])
    if w.rel_h is None:
        scores = b.matmul(scaled, k)
    elif form == "augment":
        rel_h, rel_w = _relative(b, q, w, hw, depth)
        ones = b.const(_one_hot(hw)[None, None])
        ones = b.op("Expand", ones, b.concat([b.op("Shape", k, start=0, end=2), b.ints([sum(hw), n])], 0))
        scores = b.matmul(b.concat([scaled, rel_h, rel_w], 3), b.concat([k, ones], 2))
    else:
        rel_h, rel_w = _relative(b, q, w, hw, depth)
        rel_h = b.reshape(rel_h, [0, 0, n, hw[0], 1])
        rel_w = b.reshape(rel_w, [0, 0, n, 1, hw[1]])
        bias = b.reshape(b.add(rel_h, rel_w), [0, 0, n, n])
        scores = b.add(b.matmul(scaled, k), bias)
    return b.matmul(b.op("Softmax", scores, axis=-1), v)


def _thirds(b: GraphBuilder, qkv: str) -> list[str]:
    """(3, ...) -> q, k, v. The sizes are given, because opset 18 changed what their absence means."""
    return [b.op("Squeeze", part, b.ints([0])) for part in b.multi("Split", 3, qkv, b.ints([1, 1, 1]), axis=0)]


def attention(
    b: GraphBuilder, x: str, w: AttentionWeights, hw: tuple[int, int], window: int, form: RelPos = "augment"
) -> str:
    """Multi-head attention over normed tokens x (B, h*w, C), in windows or, with ``window`` 0, over the whole grid.

    Padding a window with zeros before the projection gives the projection's bias there; so the projection runs on the
    h*w real tokens only, and padding is done on its result, before the bias is added.
    """
    h, width = hw
    channels = w.qkv.shape[0]
    depth = channels // w.heads
    qkv = b.matmul(x, b.weight(f"{w.key}.qkv.weight", w.qkv))
    bias = b.weight(f"{w.key}.qkv.bias", w.qkv_bias)
    if window == 0:
        qkv = b.reshape(b.add(qkv, bias), [-1, h * width, 3, w.heads, depth])
        parts = _thirds(b, b.transpose(qkv, [2, 0, 3, 1, 4]))
        out = attend(b, parts, w, hw, depth, form)  # (B, heads, h*w, depth)
        out = b.reshape(b.transpose(out, [0, 2, 1, 3]), [-1, h * width, channels])
    else:
        rows, columns = -(-h // window), -(-width // window)
        padded = (rows * window, columns * window)
        qkv = b.reshape(qkv, [-1, h, width, 3 * channels])
        if padded != hw:
            qkv = b.op("Pad", qkv, b.ints([0, 0, 0, 0, 0, padded[0] - h, padded[1] - width, 0]))
        qkv = b.reshape(b.add(qkv, bias), [-1, rows, window, columns, window, 3, w.heads * depth])
        qkv = b.transpose(qkv, [5, 0, 1, 3, 2, 4, 6])  # (3, B, rows, columns, window, window, C)
        qkv = b.reshape(qkv, [3, -1, window * window, w.heads, depth])
        parts = _thirds(b, b.transpose(qkv, [0, 1, 3, 2, 4]))
        out = attend(b, parts, w, (window, window), depth, form)  # (B*windows, heads, window^2, depth)
        out = b.reshape(b.transpose(out, [0, 2, 1, 3]), [-1, rows, columns, window, window, channels])
        out = b.reshape(b.transpose(out, [0, 1, 3, 2, 4, 5]), [-1, padded[0], padded[1], channels])
        if padded != hw:
            out = b.op("Slice", out, b.ints([0, 0]), b.ints([h, width]), b.ints([1, 2]))
        out = b.reshape(out, [-1, h * width, channels])
    out = b.matmul(out, b.weight(f"{w.key}.proj.weight", w.proj))
    return b.add(out, b.weight(f"{w.key}.proj.bias", w.proj_bias))
