"""``tensorrt``: the decoder as a TensorRT plan, for this machine's GPU or (TensorRT for RTX) ahead of time for named
ones.

The plan is built from the serving decoder graph, not from the official one: there ``orig_im_size`` would be a shape
tensor, and post-processing inside an engine is a known trap. The graph is compared with PyTorch; the plan itself too
where a GPU can run
it, which has never been the case so far: plans for this machine's GPU have not been tried.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from livesam.engine.files.hashing import file_sha256
from livesam.export.files.manifest import Manifest
from livesam.export.files.staging import staged

if TYPE_CHECKING:
    from livesam.export.formats.source import DecoderSource


def export(
    source: DecoderSource,
    out: Path,
    *,
    precision: str = "fp32",
    library: str = "auto",
    capabilities: Sequence[str] = (),
) -> Manifest:
    """Write a plan of the decoder.

    Inputs (float32): ``embedding (1, 256, h, w)``, ``point_coords (P, N, 2)``, ``point_labels (P, N)``, ``mask_input
    (M, 1, 4h, 4w)``, ``has_mask (M,)``. Outputs: ``low_res_logits (P, 4, 4h, 4w)``, ``ious (P, 4)``.

    Args:
        precision: ``fp32``, ``fp16`` or ``bf16`` inside.
        library: ``tensorrt``, ``tensorrt_rtx`` or ``auto``.
        capabilities: GPUs to build for ahead of time, e.g. ``("SM86", "SM89")``, TensorRT for RTX only; empty: this
            machine's GPU.

    Raises:
        ValueError: an unknown precision or capability.
        RuntimeUnavailable: the library is not installed, or there is no GPU and no capability was named.
        ExportError: the graph does not build, or the file could not be written.
        ParityError: the answers differ from PyTorch's; nothing was written.
    """
    with staged(out) as target:
        work = Path(tempfile.mkdtemp(prefix="livesam-plan-"))
        try:
            written, plan = _built(source, work, precision, library, capabilities)
            built = Manifest.read(plan)
            checked = _check_plan(source, plan, capabilities)
            told = "gave PyTorch's answers to one prompt at a time" if isinstance(checked, list) else f"was {checked}"
            parity: dict[str, Any] = {
                "claim": f"the graph was compared with PyTorch before it became a plan; the plan {told}",
                "graph": dict(written.parity),
                "plan": checked,
            }
            shutil.move(plan, target)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        manifest = source.manifest(
            "tensorrt",
            files={out.name: file_sha256(target)},
            inputs=built.inputs,
            outputs=built.outputs,
            parity=parity,
            precision=precision,
            opset=built.opset,
            options=built.options,
        )
        manifest = replace(manifest, weights=built.weights)
        manifest.write(target)
    return manifest


def _built(
    source: DecoderSource, work: Path, precision: str, library: str, capabilities: Sequence[str]
) -> tuple[Manifest, Path]:
    """The graph's manifest, and the plan that was built from it in ``work``."""
    from livesam.export.graphs.decoder_graph import export_serving_decoder
    from livesam.export.graphs.plans import build_plan, decoder_profiles

    graph = work / "decoder.onnx"
    written = export_serving_decoder(source.sam, source.spec, graph, weights_as_inputs=False, precision=precision)
    plan = build_plan(
        graph,
        work / "plans",
        library=library,
        profiles=decoder_profiles(source.spec.embedding_hw),
        capabilities=tuple(capabilities),
    )
    return written, plan


def _check_plan(source: DecoderSource, plan: Path, capabilities: Sequence[str]) -> Any:
    """Run the plan on the graph's own probes for one prompt (its first profile) where this machine's GPU can."""
    if capabilities:
        return "not compared: built ahead of time for other GPUs"
    import torch
    from livesam.engine.runtimes.tensorrt import PlanEngine
    from livesam.export.graphs.decoder_graph import PROBES, decoder_feeds, reference_decode
    from livesam.export.graphs.parity import difference, require

    engine = PlanEngine(plan)
    stream: torch.cuda.Stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    found = []
    for probe in PROBES:
        if probe[0] > 1:
            continue
        feeds = decoder_feeds(source.spec.embedding_hw, probe)
        want = reference_decode(source.sam, feeds)
        tensors = {name: torch.from_numpy(value).cuda() for name, value in feeds.items()}
        tensors |= {name: torch.zeros(value.shape, device="cuda") for name, value in want.items()}
        torch.cuda.synchronize()
        run = engine.bind(tensors)  # lives until the stream is done: it holds the execution context
        run(stream)
        stream.synchronize()
        precision = str(engine.manifest["precision"])
        found += [difference(name, tensors[name].cpu().numpy(), want[name], precision) for name in want]
    require(found, plan.name)
    return [entry.as_dict() for entry in found]
