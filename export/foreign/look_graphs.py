"""A look at graphs and plans. Runs in ``inspect_child``'s process."""

from __future__ import annotations

from pathlib import Path

from livesam.engine.values.errors import ExportError
from livesam.export.foreign.findings import digest_of, manifest_beside, origin_of, signature_text, tensor_text
from livesam.export.foreign.inspect import Inspection

_CONTRACT = ("image_embeddings", "point_coords", "point_labels", "mask_input", "has_mask_input", "orig_im_size")
_SERVING = ("embedding", "point_coords", "point_labels", "mask_input", "has_mask")


def by_manifest(path: Path, size: int, kind: str) -> Inspection:
    """Files that only their own library can read: what their manifest says, when its hash fits."""
    manifest, warnings = manifest_beside(path)
    if not manifest:
        reason = warnings[0] if warnings else "no manifest lies beside it"
        raise ExportError(f"{path} looks like an {kind}, but {reason}")
    return Inspection(
        path=str(path),
        kind=kind,
        summary=f"{kind} of {manifest['model']}'s decoder, {manifest['precision']}",
        model=manifest["model"],
        size_bytes=size,
        sha256=digest_of(path),
        precision=manifest["precision"],
        inputs=signature_text(manifest["inputs"]),
        outputs=signature_text(manifest["outputs"]),
        details={
            "claim": str(manifest["parity"].get("claim", "")),
            "parity": manifest["parity"],
            "versions": manifest["versions"],
        },
        **origin_of(manifest),
    )


def onnx_file(path: Path, size: int) -> Inspection:
    """An ONNX graph, by its inputs and outputs."""
    from livesam.export.foreign.onnx_guard import external_files, read_onnx
    from livesam.export.formats.sam_onnx import signature

    model = read_onnx(path)
    inputs, outputs = signature(model)
    names = {tensor.name for tensor in model.graph.initializer}
    kept = sum(name.startswith("mask_decoder.") for name in names)
    manifest, warnings = manifest_beside(path)
    kept = kept or len(manifest.get("weights") or {})
    summary, side = "an ONNX graph that is no SAM decoder or encoder of a known contract", 0
    contract = set(_CONTRACT) == set(inputs)
    if contract and {"xtl", "ytl", "xbr", "ybr"} <= set(outputs):
        summary = "SAM decoder for CVAT's browser plugin"
    elif contract:
        masks = outputs["masks"].shape[1] if "masks" in outputs and len(outputs["masks"].shape) > 1 else "?"
        summary = f"SAM decoder of the official contract, {'one mask' if masks == 1 else 'four masks'}"
    elif set(_SERVING) == set(inputs):
        summary = "livesam's serving decoder"
    elif len(inputs) == 1 and len(outputs) == 1 and tuple(next(iter(outputs.values())).shape[1:2]) == (256,):
        summary = "SAM image encoder"
    embedding = inputs.get("image_embeddings") or inputs.get("embedding")
    if embedding is not None and len(embedding.shape) == 4 and isinstance(embedding.shape[2], int):
        side = 16 * embedding.shape[2]
        summary += f" of a {side}-px model"
    types = {tensor.data_type for tensor in model.graph.initializer}
    precision = manifest.get("precision") or ("quint8" if 2 in types else "fp16" if 10 in types else "fp32")
    return Inspection(
        path=str(path),
        kind="ONNX graph",
        summary=summary,
        model=manifest.get("model"),
        size_bytes=size,
        sha256=digest_of(path),
        precision=precision,
        inputs={name: tensor_text(t.dtype, t.shape) for name, t in inputs.items()},
        outputs={name: tensor_text(t.dtype, t.shape) for name, t in outputs.items()},
        details={
            "opset": model.opset_import[0].version if model.opset_import else 0,
            "producer": str(model.producer_name)[:80],
            "nodes": len(model.graph.node),
            "decoder tensors by official name": kept,
            "external data": external_files(model),
        },
        warnings=tuple(warnings),
        **origin_of(manifest),
    )
