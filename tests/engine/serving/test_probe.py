"""The probe takes a decoder that rounds as its precision does, and none with a wrong or a stale layer.

No GPU is needed: operands of products are rounded as its tensor cores do (TF32 keeps 10 bits of mantissa), and the
decoder for GPUs computes in fp16 and bf16 on the CPU.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from livesam.engine.models.loading import decoder_weights, load
from livesam.engine.runtimes.graphed_decoder import GraphedDecoder
from livesam.engine.runtimes.torch_decoder import TorchDecoder
from livesam.engine.runtimes.torch_graph import TorchGraph
from livesam.engine.serving.probe import Probe
from livesam.engine.serving.slot import DecoderSlot
from livesam.engine.serving.tolerance import TOLERANCE, served_precision
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.errors import SwapError
from livesam.engine.values.prompt import Prompt
from livesam.engine.values.result import DecoderOutput
from segment_anything.modeling import Sam
from torch import Tensor
from torch.overrides import TorchFunctionMode

Weights = dict[str, np.ndarray]
CPU = torch.device("cpu")
PRODUCTS = {"linear", "matmul", "__matmul__", "conv2d", "conv_transpose2d"}


class Rounded(TorchFunctionMode):
    """Rounds the operands of products and convolutions."""

    def __init__(self, rounding: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._rounding = rounding

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in PRODUCTS:
            args = [self._rounding(a) if isinstance(a, Tensor) and a.dtype == torch.float32 else a for a in args]
        return func(*args, **(kwargs or {}))


def tf32(x: Tensor) -> Tensor:
    """Float32 with 10 bits of mantissa, rounded to nearest, ties to even."""
    bits = x.contiguous().view(torch.int32)
    kept = (bits + 0xFFF + ((bits >> 13) & 1)) & ~0x1FFF
    return kept.view(torch.float32)


def int8_rows(weights: Weights) -> Weights:
    """Matrices with 8 bits a weight and one scale a row."""
    rounded = dict(weights)
    for name, value in weights.items():
        if value.ndim >= 2:
            rows = value.reshape(len(value), -1)
            scale = np.abs(rows).max(1, keepdims=True) / 127
            rounded[name] = (np.rint(rows / scale) * scale).reshape(value.shape).astype(np.float32)
    return rounded


class Served(TorchDecoder):
    """A decoder that computes as hardware would, or holds other weights than it was given."""

    def __init__(
        self, sam: Sam, rounding: Callable[[Tensor], Tensor] | None, change: Callable[[Weights], Weights]
    ) -> None:
        super().__init__(sam)
        self._rounding, self._change = rounding, change

    def load_weights(self, weights: Any) -> None:
        super().load_weights(self._change(dict(weights)))

    def decode(self, embedding: ImageEmbedding, prompts: Sequence[Prompt]) -> DecoderOutput:
        with contextlib.nullcontext() if self._rounding is None else Rounded(self._rounding):
            return super().decode(embedding, prompts)


@pytest.fixture(scope="module")
def nano() -> Sam:
    return load("nano", encoder=False)


@pytest.fixture(scope="module")
def base(nano: Sam) -> Weights:
    return decoder_weights(nano)


@pytest.fixture(scope="module")
def learned(base: Weights) -> Weights:
    """Late layers moved by a fortieth of their size and in few directions, as `live` moves them in some objects."""
    rng, moved = np.random.default_rng(0), dict(base)
    late = ("transformer.final_attn", "output_", "iou_prediction_head")
    for name, value in base.items():
        if name.startswith(late) and value.ndim >= 2:
            rows = value.reshape(len(value), -1)
            left, _, right = np.linalg.svd(rows, full_matrices=False)
            step = np.outer(left[:, rng.integers(4)], right[rng.integers(4)]).reshape(value.shape)
            moved[name] = np.asarray(value + 0.025 * np.linalg.norm(value) * step, np.float32)
    return moved


@pytest.fixture(scope="module")
def graph(nano: Sam) -> TorchGraph:
    return TorchGraph(nano)


def probe(graph: TorchGraph, precision: str) -> Probe:
    return Probe.standard((32, 32), graph.reference, TOLERANCE[precision])


def checked(decoder: Any, graph: TorchGraph, precision: str, weights: Weights) -> None:
    decoder.load_weights(weights)
    probe(graph, precision).check(decoder, weights)


ROUNDED: dict[str, tuple[Callable[[Tensor], Tensor] | None, Callable[[Weights], Weights]]] = {
    "tf32": (tf32, lambda weights: weights),
    "fp16": (lambda x: x.half().float(), lambda weights: weights),
    "bf16": (lambda x: x.bfloat16().float(), lambda weights: weights),
    "int8": (None, int8_rows),
}


@pytest.mark.parametrize("precision", list(ROUNDED))
def test_a_decoder_that_rounds_as_its_precision_does_is_taken(
    precision: str, nano: Sam, graph: TorchGraph, base: Weights, learned: Weights
) -> None:
    decoder = Served(nano, *ROUNDED[precision])
    for weights in (base, learned):
        checked(decoder, graph, precision, weights)
    with pytest.raises(SwapError, match="off PyTorch's"):  # and is none of float32
        checked(decoder, graph, "fp32", learned)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_the_decoder_for_gpus_is_taken_in_every_precision(
    precision: str, nano: Sam, graph: TorchGraph, base: Weights, learned: Weights
) -> None:
    """All of a publish, twice, so that both decoders of the slot serve; half a tolerance is left."""
    half = TOLERANCE[precision] / 2

    def compiler(weights: Any) -> GraphedDecoder:
        return GraphedDecoder(nano, CPU, precision=precision)

    slot = DecoderSlot(compiler, base, probe=Probe.standard((32, 32), graph.reference, half))
    assert [slot.publish(learned), slot.publish(base)] == [1, 2]


def stale(name: str, base: Weights) -> Callable[[Weights], Weights]:
    return lambda weights: {**weights, name: base[name]}


STALE = [
    "output_hypernetworks_mlps.0.layers.2.weight",
    "output_hypernetworks_mlps.3.layers.0.weight",
    "output_upscaling.0.weight",
    "transformer.final_attn_token_to_image.v_proj.weight",
    "iou_prediction_head.layers.0.weight",
]


@pytest.mark.parametrize("name", STALE)
@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16"])
def test_one_stale_late_layer_is_refused(
    name: str, precision: str, nano: Sam, graph: TorchGraph, base: Weights, learned: Weights
) -> None:
    """The layer is still the base's, as after a refit that lost it; rounding may not hide that."""
    rounding = None if precision == "fp32" else ROUNDED[precision][0]
    decoder = Served(nano, rounding, stale(name, base))
    checked(decoder, graph, precision, base)
    with pytest.raises(SwapError, match="off PyTorch's"):
        checked(decoder, graph, precision, learned)


@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "bf16"])
def test_a_decoder_with_one_wrong_tensor_or_all_of_them_stale_is_refused(
    precision: str, nano: Sam, graph: TorchGraph, base: Weights, learned: Weights
) -> None:
    rounding = None if precision == "fp32" else ROUNDED[precision][0]
    changes: list[Callable[[Weights], Weights]] = [
        lambda weights: dict(base),
        lambda weights: {**weights, "output_upscaling.3.weight": -weights["output_upscaling.3.weight"]},
        lambda weights: {**weights, "mask_tokens.weight": weights["mask_tokens.weight"][::-1]},
        lambda weights: {**weights, "iou_token.weight": weights["iou_token.weight"][:, ::-1]},
    ]
    for change in changes:
        with pytest.raises(SwapError, match="off PyTorch's"):
            checked(Served(nano, rounding, change), graph, precision, learned)


def test_a_small_mask_is_judged_by_its_own_size(graph: TorchGraph, base: Weights) -> None:
    """Token 0 is shown from the second click on, and its logits may be a tenth of another token's."""
    one = probe(graph, "tf32")
    right = graph.reference(one.embedding, one.prompts, base)
    small = int(np.sqrt(np.square(right.low_res_logits[0]).mean((1, 2))).argmin())
    wrong = right.low_res_logits.copy()
    wrong[:, small] *= 1.002
    assert np.abs(wrong - right.low_res_logits).max() / np.abs(wrong).max() < 2 * TOLERANCE["tf32"]

    class Wrong:
        def decode(self, embedding: ImageEmbedding, prompts: Sequence[Prompt]) -> DecoderOutput:
            rows = [one.prompts.index(prompt) for prompt in prompts]
            return DecoderOutput(wrong[rows], right.ious[rows])

        @property
        def aside(self) -> Wrong:
            return self

    with pytest.raises(SwapError, match="low_res_logits is"):
        one.check(Wrong(), base)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "judged"),
    [
        (("fp32", "torch", "cuda"), "fp32"),
        (("fp32", "onnxruntime", "cuda:1"), "tf32"),
        (("fp32", "tensorrt", "cuda"), "tf32"),
        (("fp32", "onnxruntime", "cpu"), "fp32"),
        (("bf16", "openvino", "cpu"), "bf16"),
        (("fp16", "torch", "cuda"), "fp16"),
    ],
)
def test_who_opens_a_decoder_says_how_it_is_judged(asked: tuple[str, str, str], judged: str) -> None:
    assert served_precision(*asked) == judged
    assert judged in TOLERANCE
