"""uint8 weights for ``sam-onnx``, and what proves that such a file is right.

uint8 moves logits by some percent of their range, so no bound on the answers alone tells a slightly wrong graph from
a right one. Three checks together do, and all must hold:

1. the float32 graph that is quantised gives PyTorch's answers within 1e-4 of their range: the graph is right;
2. every quantised weight in the file is the source's within half a step of its grid, every other tensor is the source's
   bit for bit: these are the weights of this decoder;
3. the file's answers stay within ``LIMITS``: the two were put together rightly.

Measured on all probes with two trainings of nano and with random weights: four masks' logits off by at most 1.6 % of
their range (2.0 % where the range is one mask's) and 1.2 % on average, predicted IoU by at most 0.004, and masks, cut
at the reference's median, of IoU 0.944 or more. (At 0 there is nothing to cut: an embedding of noise gives masks of ten
pixels.) Graphs with swapped labels or box corners, a missing padding token, exchanged projections or mask tokens gave
6 to 111 % and IoUs of 0.83 down to 0.01. What such limits cannot see (two norms exchanged: 2 %; an adapted decoder that
was mistaken for its base) the first two checks do.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from livesam.engine.values.errors import ExportError, ParityError
from livesam.export.formats.probes import (
    PROBES,
    TEXT,
    Array,
    Feeds,
    Probe,
    compare,
    each,
    onnx_runner,
    probe_feeds,
    reference,
)
from livesam.export.graphs.official_graph import Dialect
from livesam.export.graphs.parity import TOLERANCE, Difference, require

if TYPE_CHECKING:
    import onnx
    from livesam.export.formats.source import DecoderSource
    from segment_anything.modeling import Sam

POSITIONS = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"  # kept: uint8 would move the clicks
LOGITS = (0.05, 0.02)  # largest and mean difference, as shares of the range
IOU_PREDICTION = 0.02
MASK_IOU = 0.9  # of masks that are cut at the reference's median
LIMITS = {"logits_max": LOGITS[0], "logits_mean": LOGITS[1], "iou_prediction": IOU_PREDICTION, "mask_iou": MASK_IOU}


def quantise(model: onnx.ModelProto, target: Path) -> None:
    """Write ``model`` with the weights of its linear layers as uint8, activations quantised at run time.

    Raises:
        ExportError: onnxruntime is not installed.
    """
    try:
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError as error:
        raise ExportError("quantisation needs onnxruntime: pip install 'livesam[cpu]'") from error
    exact = [node.name for node in model.graph.node if POSITIONS in node.input]
    if not all(exact):
        raise ExportError("the graph's nodes have no names: it was not built by livesam")
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)  # it advises to pre-process on the root logger, which this graph has no need of
    try:
        quantize_dynamic(
            model,
            str(target),
            op_types_to_quantize=["MatMul", "Gemm"],
            weight_type=QuantType.QUInt8,
            per_channel=False,
            nodes_to_exclude=exact,
        )
    finally:
        logger.setLevel(level)


def check_quantised(
    path: Path,
    single: onnx.ModelProto,
    source: DecoderSource,
    what: str,
    dialect: Dialect,
    *,
    probes: tuple[Probe, ...] = PROBES,
) -> dict[str, Any]:
    """All three checks of a file; what was found, for its manifest.

    Args:
        single: the float32 graph that was quantised.
        dialect: four masks or one; neither cropped nor padded by the graph.

    Raises:
        ParityError: says which check failed.
    """
    count = require_weights(path, source.decoder_state(), what)
    run_single, _ = onnx_runner(single.SerializeToString())
    run, checker = onnx_runner(path)
    plain: list[Difference] = []
    overlaps: list[float] = []
    ious_off: list[float] = []

    def check(probe: Probe) -> list[Difference]:
        feeds = probe_feeds(probe, source.sam.image_encoder.img_size)
        four = reference(source.sam, feeds)
        want = official_choice(source.sam, four, feeds) if dialect.single else four
        unquantised = run_single(feeds)
        plain.extend(compare(name, probe, unquantised[name], want[name], TOLERANCE["fp32"]) for name in want)
        got = run(feeds)
        if dialect.single:
            want = nearest_choice(four, got, feeds)
        overlaps.append(mask_overlap(got["low_res_masks"], want["low_res_masks"]))
        ious_off.append(float(np.abs(got["iou_predictions"] - want["iou_predictions"]).max()))
        return [compare(name, probe, got[name], want[name], LOGITS) for name in ("masks", "low_res_masks")]

    found = each(check, probes)
    require(plain, f"{what}, before it is quantised")
    require(found, what)
    if min(overlaps) < MASK_IOU or max(ious_off) > IOU_PREDICTION:
        raise ParityError(
            f"{what}: a mask overlaps PyTorch's by {min(overlaps):.3f} (at least {MASK_IOU} is allowed), a predicted "
            f"IoU is off by {max(ious_off):.3f} (at most {IOU_PREDICTION}); nothing was written"
        )
    return {
        **_differences(found, plain, len(probes)),
        "against": TEXT,
        "checker": checker,
        "prompts": [probe.kind for probe in probes],
        "limits": LIMITS,
        "least_mask_iou": round(min(overlaps), 4),
        "largest_iou_prediction_error": round(max(ious_off), 5),
        "quantised_tensors": count,
    }


def _differences(found: list[Difference], plain: list[Difference], kinds: int) -> dict[str, Any]:
    """What was compared, in words and numbers, after and before quantising."""
    worst, before = (max(some, key=lambda entry: entry.max_share) for some in (found, plain))
    return {
        "claim": (
            f"in uint8 the written file's logits are off PyTorch's by up to {worst.max_share:.1%} of their range on "
            f"{kinds} kinds of prompts; before that the graph was within {before.max_share:.1e}"
        ),
        "differences": [
            max((d for d in found if d.output.startswith(f"{name} ")), key=lambda d: d.max_share).as_dict()
            for name in ("masks", "low_res_masks")
        ],
        "differences_before": [before.as_dict()],
    }


def require_weights(path: Path, state: dict[str, Array], what: str) -> int:
    """Compare a file's tensors with the source's; returns how many are quantised.

    Raises:
        ParityError: a tensor is missing, or is not the source's within half a step of its grid.
    """
    import onnx
    from onnx import numpy_helper

    stored = {t.name: t for t in onnx.load(path).graph.initializer}
    quantised = 0
    for key, value in state.items():
        kept = next((name for name in (key, f"{key}_Transposed") if f"{name}_quantized" in stored), None)
        if key in stored:
            good = np.array_equal(numpy_helper.to_array(stored[key]), value)
        elif kept is not None:
            quantised += 1
            grid = numpy_helper.to_array(stored[f"{kept}_quantized"]).astype(np.float32)
            scale = float(numpy_helper.to_array(stored[f"{kept}_scale"]))
            zero = float(numpy_helper.to_array(stored[f"{kept}_zero_point"]))
            found = (grid - zero) * scale
            found = found if kept == key else found.T
            good = found.shape == value.shape and bool(np.abs(found - value).max() <= 0.51 * scale)
        else:
            good = False
        if not good:
            raise ParityError(f"{what}: {key} is not the decoder's own in the quantised file; nothing was written")
    return quantised


def official_choice(sam: Sam, four: dict[str, Array], feeds: Feeds) -> dict[str, Array]:
    """The one mask that the official module would choose of its four."""
    import torch
    from segment_anything.utils.onnx import SamOnnxModel

    module = SamOnnxModel(sam, return_single_mask=True)
    ious, count = torch.from_numpy(four["iou_predictions"]), feeds["point_coords"].shape[1]
    chosen = {}
    for name in ("masks", "low_res_masks"):
        mask, iou = module.select_masks(torch.from_numpy(four[name]), ious, count)
        chosen[name], chosen["iou_predictions"] = mask.numpy(), iou.numpy()
    return chosen


def nearest_choice(four: dict[str, Array], got: dict[str, Array] | Any, feeds: Feeds) -> dict[str, Array]:
    """The mask of the four that a quantised graph has chosen, among those that the official rule allows it to.

    Where predicted IoUs are closer than quantisation moves them, either mask is right.
    """
    ious = four["iou_predictions"][0]
    allowed = [0]
    if feeds["point_coords"].shape[1] < 3:
        allowed = [i for i in (1, 2, 3) if ious[i] >= ious[1:].max() - 2 * IOU_PREDICTION]
    low = four["low_res_masks"]
    token = min(allowed, key=lambda i: float(np.abs(got["low_res_masks"][:, 0] - low[:, i]).mean()))
    return {name: value[:, token : token + 1] for name, value in four.items()}


def mask_overlap(got: Array, want: Array) -> float:
    """The smallest IoU of the masks (1, M, h, w), each cut at the reference's median."""
    if got.shape != want.shape:
        raise ParityError(f"masks have shape {got.shape}, PyTorch gives {want.shape}; nothing was written")
    cut = np.median(want, axis=(2, 3), keepdims=True)
    ours, theirs = got > cut, want > cut
    union = np.maximum((ours | theirs).sum(axis=(2, 3)), 1)
    return float(((ours & theirs).sum(axis=(2, 3)) / union).min())
