"""The prompts on which every export is compared with PyTorch before it keeps its name.

They are the rows of the official contract's prompt table: padded and not, boxes, previous masks, no points at all, and
the ``has_mask_input`` of -1 that some clients send. The reference is ``segment_anything.utils.onnx.SamOnnxModel``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from livesam.engine.values.errors import ParityError
from livesam.export.graphs.official_graph import Dialect
from livesam.export.graphs.parity import TOLERANCE, Difference, require

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

Array = npt.NDArray[Any]
Feeds: TypeAlias = dict[str, Array]
Run: TypeAlias = Callable[[Feeds], Mapping[str, Array]]

TEXT = "segment_anything.utils.onnx.SamOnnxModel in PyTorch float32"
WORKERS = 4  # probes at a time, at most; small products use several cores better side by side than one after another


@dataclass(frozen=True, slots=True)
class Probe:
    """One kind of prompt: the labels of its points, whether a mask comes along, and the image's height and width."""

    kind: str
    labels: tuple[int, ...]
    has_mask: float
    original_hw: tuple[int, int]


PROBES = (
    Probe("a click", (1, -1), 0, (90, 120)),
    Probe("a click without padding", (1,), 0, (120, 90)),
    Probe("two clicks", (1, 0, -1), 0, (64, 64)),
    Probe("a box", (2, 3), 0, (90, 120)),
    Probe("a padded box", (2, 3, -1), 0, (90, 120)),
    Probe("a click, a box and the previous mask", (1, 2, 3), 1, (31, 120)),
    Probe("a click and the previous mask", (1, -1), 1, (120, 77)),
    Probe("a mask alone", (), 1, (90, 120)),
    Probe("a click and has_mask_input -1", (1, -1), -1, (120, 90)),
)


def probe_feeds(probe: Probe, image_size: int, seed: int = 0) -> Feeds:
    """The six official inputs for a probe, random where the probe leaves them open."""
    rng = np.random.default_rng([seed, *map(ord, probe.kind)])
    height, width = probe.original_hw
    scale = image_size / max(probe.original_hw)
    points = rng.random((1, len(probe.labels), 2)) * (width * scale, height * scale)
    if 2 in probe.labels:
        corner = probe.labels.index(2)
        points[0, corner : corner + 2] = np.sort(points[0, corner : corner + 2], axis=0)
    labels = np.array([probe.labels], dtype=np.float32).reshape(1, -1)
    points[labels == -1] = 0
    return {
        "image_embeddings": probe_embedding(image_size // 16, seed).copy(),
        "point_coords": points.astype(np.float32),
        "point_labels": labels,
        "mask_input": rng.standard_normal((1, 1, image_size // 4, image_size // 4), dtype=np.float32) * np.float32(5),
        "has_mask_input": np.array([probe.has_mask], dtype=np.float32),
        "orig_im_size": np.array(probe.original_hw, dtype=np.float32),
    }


@lru_cache(maxsize=4)
def probe_embedding(side: int, seed: int = 0) -> Array:
    """The image on which all probes of a seed are asked: (1, 256, side, side), read-only."""
    rng = np.random.default_rng(seed)
    embedding = rng.standard_normal((1, 256, side, side), dtype=np.float32) * np.float32(0.3)
    embedding.setflags(write=False)
    return embedding


def reference(sam: Sam, feeds: Mapping[str, Array], dialect: Dialect | None = None) -> dict[str, Array]:
    """What the official module answers to these inputs, in the dialect's terms (``masks`` stay logits)."""
    import torch
    from segment_anything.utils.onnx import SamOnnxModel

    dialect = dialect or Dialect()
    tensors = {name: torch.tensor(value) for name, value in feeds.items()}
    labels = tensors["point_labels"]
    if dialect.pad and not bool(((labels == -1) | (labels >= 2)).any()):
        tensors["point_coords"] = torch.cat([tensors["point_coords"], torch.zeros(1, 1, 2)], dim=1)
        tensors["point_labels"] = torch.cat([labels, -torch.ones(1, 1)], dim=1)
    module = SamOnnxModel(sam, return_single_mask=dialect.single)
    with torch.no_grad():
        masks, ious, low_res = module(**tensors)
    return {"masks": masks.numpy(), "iou_predictions": ious.numpy(), "low_res_masks": low_res.numpy()}


def each(check: Callable[[Probe], list[Difference]], probes: tuple[Probe, ...]) -> list[Difference]:
    """``check`` on every probe, several at a time; the differences in the probes' order."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ThreadPoolExecutor(min(WORKERS, cores), "livesam-parity") as pool:
        return [entry for found in pool.map(check, probes) for entry in found]


def require_parity(
    run: Run,
    sam: Sam,
    what: str,
    dialect: Dialect | None = None,
    *,
    tolerance: tuple[float, float] = TOLERANCE["fp32"],
    probes: tuple[Probe, ...] = PROBES,
) -> list[Difference]:
    """Compare ``run`` with PyTorch on all probes.

    Args:
        run: takes the six official inputs and gives the outputs by name; an output that it leaves out is not compared.
            It is called from several threads at a time.
        what: the file, for the message.
        tolerance: largest and mean difference, as shares of the reference's range.

    Returns:
        One entry for each output and probe.

    Raises:
        ParityError: names the worst output and prompt; or an output has another shape, or is not finite.
    """
    asked = dialect or Dialect()

    def check(probe: Probe) -> list[Difference]:
        feeds = probe_feeds(probe, sam.image_encoder.img_size)
        want = reference(sam, feeds, asked)
        got = dict(run(feeds))
        if asked.crop and "masks" in got:
            _require_crop(got, want["masks"], f"{what} for {probe.kind}", tolerance[0])
            del got["masks"]
        return [compare(name, probe, got[name], want[name], tolerance) for name in want if name in got]

    found = each(check, probes)
    require(found, what)
    return found


def parity_report(found: list[Difference], checker: str, what: str = "the written file") -> dict[str, Any]:
    """The part of a manifest that says what was compared, and the largest difference of each output.

    ``claim`` is a sentence for people; ``prompts`` are those that were really run.
    """
    worst: dict[str, Difference] = {}
    kinds: dict[str, None] = {}
    for entry in found:
        name, _, kind = entry.output.partition(" for ")
        kinds[kind] = None
        if name not in worst or entry.max_share > worst[name].max_share:
            worst[name] = entry
    largest = max(entry.max_share for entry in found)
    return {
        "claim": f"{what} gave PyTorch's answers to {len(kinds)} kinds of prompts, within {largest:.1e} of their range",
        "against": TEXT,
        "checker": checker,
        "prompts": list(kinds),
        "differences": [entry.as_dict() for entry in worst.values()],
    }


def onnx_runner(model: Path | bytes) -> tuple[Run, str]:
    """A function that runs an ONNX graph on the CPU, and the name of what runs it."""
    source = str(model) if isinstance(model, Path) else model
    if find_spec("onnxruntime") is not None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # PyTorch works beside it
        session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return (
            lambda feeds: dict(zip(names, session.run(names, feeds), strict=True)),
            f"onnxruntime {onnxruntime.__version__}",
        )
    import onnx
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(source)
    wanted = list(evaluator.output_names)
    return (
        lambda feeds: dict(zip(wanted, evaluator.run(wanted, feeds), strict=True)),
        f"onnx {onnx.__version__} reference evaluator",
    )


def compare(name: str, probe: Probe, got: Array, want: Array, tolerance: tuple[float, float]) -> Difference:
    """One output of one probe.

    Raises:
        ParityError: it has another shape, or is not finite.
    """
    label = f"{name} for {probe.kind}"
    if got.shape != want.shape:
        raise ParityError(f"{label} has shape {got.shape}, PyTorch gives {want.shape}; nothing was written")
    if not np.isfinite(got).all():
        raise ParityError(f"{label} has values that are not finite; nothing was written")
    span = float(want.max() - want.min()) if want.size > 1 else 0.0
    delta = np.abs(got.astype(np.float64) - want.astype(np.float64))
    share = 1.0 / (span or 1.0)
    return Difference(label, float(delta.max()) * share, float(delta.mean()) * share, *tolerance)


def _require_crop(got: Mapping[str, Array], logits: Array, what: str, share: float) -> None:
    """The mask, pasted back, is PyTorch's wherever its logits are beyond rounding of 0; the box is tight."""
    box = [int(got[name]) for name in ("xtl", "ytl", "xbr", "ybr")]
    x0, y0, x1, y1 = box
    mask = got["masks"]
    if mask.dtype != np.uint8 or mask.shape != (1, 1, y1 - y0 + 1, x1 - x0 + 1):
        raise ParityError(f"{what}: the mask is {mask.dtype} {mask.shape}, its box is {box}; nothing was written")
    pasted = np.zeros(logits.shape, dtype=bool)
    pasted[:, :, y0 : y1 + 1, x0 : x1 + 1] = mask > 0
    sure = np.abs(logits) > share * float(logits.max() - logits.min())
    wrong = int(((pasted != (logits > 0)) & sure).sum())
    rows, columns = np.nonzero(pasted[0, 0])
    tight = [columns.min(), rows.min(), columns.max(), rows.max()] == box if len(rows) else box == [0, 0, 0, 0]
    if wrong or not tight:
        raise ParityError(f"{what}: {wrong} pixels differ from PyTorch's mask, box {box}; nothing was written")
