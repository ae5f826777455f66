"""The process in which ``inspect_file`` opens a file: limits first, then one look, then one line of JSON."""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from livesam.engine.errors import CheckpointError, ExportError
from livesam.export.child import answer
from livesam.export.inspect import Inspection

if TYPE_CHECKING:
    from livesam.export.manifest import Manifest

PREFIXES = ("module.", "sam.", "model.")  # what data parallelism and training wrappers leave
_FLOATS = {"F32": "fp32", "F16": "fp16", "BF16": "bf16", "F64": "fp64"}
_TORCH_FLOATS = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "float64": "fp64"}
_CONTRACT = ("image_embeddings", "point_coords", "point_labels", "mask_input", "has_mask_input", "orig_im_size")
_SERVING = ("embedding", "point_coords", "point_labels", "mask_input", "has_mask")


def look(path: Path) -> Inspection:
    """Find out what ``path`` is by its content.

    Raises:
        CheckpointError, ExportError: damaged, unsafe or unknown.
    """
    if path.is_dir():
        return _folder(path)
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(4096)
    if not head:
        raise CheckpointError(f"{path} is empty: get it again")
    if head.startswith(b"PK"):
        return _torch(path, size)
    if path.suffix == ".safetensors" or head[8:9] == b"{":
        return _safetensors(path, size)
    if head[:1] == b"\x80":
        raise CheckpointError(
            f"{path} is a bare pickle, which may run code, so it was not opened: save it again as safetensors"
        )
    if b"<net " in head and head.lstrip().startswith(b"<?xml"):
        return _by_manifest(path, size, "OpenVINO model")
    if path.suffix == ".plan":
        return _by_manifest(path, size, "TensorRT plan")
    if head[:1] == b"\x08" or path.suffix == ".onnx":
        return _onnx(path, size)
    raise CheckpointError(f"{path} is no weights file, graph or plan that livesam knows")


def _digest(path: Path) -> str:
    from livesam.engine.hashing import file_sha256

    return file_sha256(path)


def _manifest(path: Path) -> tuple[dict[str, Any], list[str]]:
    """The manifest beside a file as plain JSON, and whether the file is still what it says."""
    beside = path.with_name(f"{path.name}.json")
    if not beside.is_file() or beside.stat().st_size > 16 * 2**20:
        return {}, []
    try:
        manifest = json.loads(beside.read_text())
        expected = manifest["files"][path.name]
    except (ValueError, KeyError, TypeError, OSError):
        return {}, [f"{beside.name} beside it is not a livesam manifest"]
    if expected != _digest(path):
        return {}, [f"it has changed since {beside.name} was written"]
    return manifest, []


def _origin(manifest: Mapping[str, Any]) -> dict[str, Any]:
    options = manifest.get("options") or {}
    return {
        "base_sha256": str(options.get("base_sha256", "")),
        "method": str(options.get("method", "")),
        "learned": {"domain": options["domain"], **options.get("counts", {})} if "domain" in options else {},
        "metrics": options.get("metrics", {}),
    }


def _tensor(dtype: str, shape: Any) -> str:
    return f"{dtype} ({', '.join(str(d) for d in shape)}{',' if len(shape) == 1 else ''})"


def _signature(tensors: Any) -> dict[str, str]:
    return {name: _tensor(t["dtype"], t["shape"]) for name, t in (tensors or {}).items()}


def _by_manifest(path: Path, size: int, kind: str) -> Inspection:
    """Files that only their own library can read: what their manifest says, when its hash fits."""
    manifest, warnings = _manifest(path)
    if not manifest:
        reason = warnings[0] if warnings else "no manifest lies beside it"
        raise ExportError(f"{path} looks like an {kind}, but {reason}")
    return Inspection(
        path=str(path),
        kind=kind,
        summary=f"{kind} of {manifest['model']}'s decoder, {manifest['precision']}",
        model=manifest["model"],
        size_bytes=size,
        sha256=_digest(path),
        precision=manifest["precision"],
        inputs=_signature(manifest["inputs"]),
        outputs=_signature(manifest["outputs"]),
        details={
            "claim": str(manifest["parity"].get("claim", "")),
            "parity": manifest["parity"],
            "versions": manifest["versions"],
        },
        **_origin(manifest),
    )


def _torch(path: Path, size: int) -> Inspection:
    from livesam.engine.torch_file import load_torch_file

    loaded = load_torch_file(path)
    import torch

    if not isinstance(loaded, dict):
        raise CheckpointError(f"{path} holds a {type(loaded).__name__}, not a dict of tensors")
    warnings = []
    inner = [key for key, value in loaded.items() if isinstance(value, dict)]
    if inner and not any(isinstance(value, torch.Tensor) for value in loaded.values()):
        warnings.append(f"its weights are wrapped under {inner[0]!r}: `livesam import` takes them out")
        loaded = loaded[inner[0]]
    tensors = {str(k): v for k, v in loaded.items() if isinstance(v, torch.Tensor)}
    if not tensors:
        raise CheckpointError(f"{path} holds no tensors")
    prefix = next((p for p in PREFIXES if all(key.startswith(p) for key in tensors)), "")
    if prefix:
        warnings.append(f"every name begins with {prefix!r}: `livesam import` takes it off")
    shapes = {key.removeprefix(prefix): tuple(value.shape) for key, value in tensors.items()}
    types = {_TORCH_FLOATS.get(str(v.dtype).removeprefix("torch."), str(v.dtype)) for v in tensors.values()}
    manifest, more = _manifest(path)
    return _weights(path, size, shapes, types, manifest, [*warnings, *more])


def _safetensors(path: Path, size: int) -> Inspection:
    header = _safetensors_header(path, size)
    metadata = header.pop("__metadata__", {}) or {}
    if isinstance(metadata, dict) and metadata.get("format") == "livesam-adapted-decoder":
        return _adapted(path, size)
    try:
        shapes = {key: tuple(int(d) for d in entry["shape"]) for key, entry in header.items()}
        types = {_FLOATS.get(entry["dtype"], str(entry["dtype"])) for entry in header.values()}
        ends = [int(entry["data_offsets"][1]) for entry in header.values()]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise CheckpointError(f"{path} is damaged: its header is not safetensors'") from error
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
    if 8 + length + max(ends, default=0) != size:
        raise CheckpointError(f"{path} is truncated: its header declares other sizes than the file has")
    manifest, warnings = _manifest(path)
    return _weights(path, size, shapes, types, manifest, warnings)


def _safetensors_header(path: Path, size: int) -> dict[str, Any]:
    from livesam.engine.checkpoints import MAX_HEADER_BYTES, MAX_TENSORS

    try:
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(MAX_HEADER_BYTES, size - 8):
                raise CheckpointError(f"{path} is truncated or not safetensors: its header claims {length} bytes")
            header = json.loads(file.read(length))
    except (struct.error, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged or not safetensors") from error
    if not isinstance(header, dict) or len(header) > MAX_TENSORS + 1:
        raise CheckpointError(f"{path} has more entries than a SAM checkpoint: at most {MAX_TENSORS} are allowed")
    return header


def _adapted(path: Path, size: int) -> Inspection:
    from livesam.engine.adapted import read_adapted

    decoder = read_adapted(path)
    info = decoder.info
    precision = "fp16" if next(iter(decoder.tensors.values())).dtype == "float16" else "fp32"
    what = "its difference to the base" if decoder.kind == "difference" else "all of its weights"
    return Inspection(
        path=str(path),
        kind="adapted decoder",
        summary=f"mask decoder of {info.model}, adapted by {info.method} on {info.domain!r}; the file holds {what}",
        model=info.model,
        size_bytes=size,
        sha256=_digest(path),
        precision=precision,
        base_sha256=decoder.base_sha256,
        method=info.method,
        learned={"domain": info.domain, **info.counts},
        metrics=dict(info.metrics),
        details={
            "stored": decoder.kind,
            "learned at px": info.image_size,
            "settings": dict(info.settings),
            "versions": dict(info.versions),
            "livesam": decoder.livesam,
            "saved_at": decoder.saved_at,
            "tensors": len(decoder.tensors),
        },
    )


def _weights(
    path: Path,
    size: int,
    shapes: Mapping[str, tuple[int, ...]],
    types: set[str],
    manifest: Mapping[str, Any],
    warnings: list[str],
) -> Inspection:
    """A plain dict of tensors, official or Hugging Face's names."""
    from livesam.engine.checkpoints import identify
    from livesam.engine.download import OFFICIAL_FILES
    from livesam.engine.hf_layout import from_hf, is_hf

    layout = "official names"
    if is_hf(shapes):
        shapes, layout = from_hf(shapes), "Hugging Face's names"
    found = identify(shapes)
    digest = _digest(path)
    official = next((name for name, file in OFFICIAL_FILES.items() if file.sha256 == digest), None)
    if found is None:
        raise CheckpointError(f"{path} holds {len(shapes)} tensors, but not those of a SAM that livesam knows")
    decoder = found.startswith("a mask decoder")
    known = found in {"nano", "vit_t", "vit_b", "vit_l", "vit_h"}
    precision = "/".join(sorted(types & set(_FLOATS.values()))) or "/".join(sorted(types))
    summary = f"{found}, {len(shapes)} tensors by {layout}"
    if known:
        summary = f"full checkpoint of {found}, {len(shapes)} tensors by {layout}"
    if official:
        summary += "; the official file, bit for bit"
    return Inspection(
        path=str(path),
        kind="mask decoder" if decoder else "checkpoint",
        summary=summary,
        model=found if known else None,
        size_bytes=size,
        sha256=digest,
        precision=precision,
        details={"tensors": len(shapes), "layout": layout, "official": bool(official)},
        warnings=tuple(warnings),
        **_origin(manifest),
    )


def _onnx(path: Path, size: int) -> Inspection:
    from livesam.export.formats.sam_onnx import signature
    from livesam.export.onnx_guard import external_files, read_onnx

    model = read_onnx(path)
    inputs, outputs = signature(model)
    names = {tensor.name for tensor in model.graph.initializer}
    kept = sum(name.startswith("mask_decoder.") for name in names)
    manifest, warnings = _manifest(path)
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
        sha256=_digest(path),
        precision=precision,
        inputs={name: _tensor(t.dtype, t.shape) for name, t in inputs.items()},
        outputs={name: _tensor(t.dtype, t.shape) for name, t in outputs.items()},
        details={
            "opset": model.opset_import[0].version if model.opset_import else 0,
            "producer": str(model.producer_name)[:80],
            "nodes": len(model.graph.node),
            "decoder tensors by official name": kept,
            "external data": external_files(model),
        },
        warnings=tuple(warnings),
        **_origin(manifest),
    )


def _folder(path: Path) -> Inspection:
    beside = path / "manifest.json"
    size = sum(p.stat().st_size for p in path.rglob("*") if p.is_file() and not p.is_symlink())
    if not beside.is_file():
        if (path / "model.safetensors").is_file():
            return look(path / "model.safetensors")
        raise CheckpointError(f"{path} is a folder without manifest.json or model.safetensors: name a file in it")
    from livesam.export.manifest import Manifest

    manifest = Manifest.read(path / "manifest")
    for name in manifest.files:
        item = (path / name).resolve()
        if not item.is_relative_to(path.resolve()):
            raise ExportError(f"{beside} names {name[:80]!r}, which is not in the folder")
    manifest.verify(path)
    options = manifest.options
    versions = _versions(path) if options.get("format") == "triton" else {}
    newest = versions[max(versions)].options if versions else options
    count = len(manifest.files) + sum(len(version.files) for version in versions.values())
    what = f"{options.get('format', 'unknown')} export of {manifest.model}, {count} files intact"
    return Inspection(
        path=str(path),
        kind="folder",
        summary=what + (f", {len(versions)} versions" if len(versions) > 1 else ""),
        model=manifest.model,
        size_bytes=size,
        sha256=_digest(beside),
        precision=manifest.precision,
        inputs={name: _tensor(t.dtype, t.shape) for name, t in manifest.inputs.items()},
        outputs={name: _tensor(t.dtype, t.shape) for name, t in manifest.outputs.items()},
        details={
            "files": sorted(manifest.files),
            "versions": dict(manifest.versions),
            "options": dict(options),
            "claim": str(manifest.parity.get("claim", "")),
            **({"decoders": {number: _told(version) for number, version in versions.items()}} if versions else {}),
        },
        **_origin({"options": newest}),
    )


def _versions(repository: Path) -> dict[int, Manifest]:
    """The manifests of a Triton repository's decoders by version, files compared with their hashes.

    Raises:
        ExportError: a version has changed, or lacks its manifest.
    """
    from livesam.export.manifest import Manifest

    found: dict[int, Manifest] = {}
    for folder in repository.glob("*-decoder/*"):
        if folder.name.isdecimal() and folder.is_dir():
            graph = folder / "model.onnx"
            manifest = Manifest.read(graph)
            if list(manifest.files) != [graph.name] or not graph.resolve().is_relative_to(repository.resolve()):
                raise ExportError(f"{folder} holds other files than a version has: export it again")
            manifest.verify(folder)
            found[int(folder.name)] = manifest
    return found


def _told(version: Manifest) -> dict[str, Any]:
    origin = _origin({"options": version.options})
    return {"method": origin["method"], "learned": origin["learned"], "claim": str(version.parity.get("claim", ""))}


def main() -> None:
    path = Path(sys.argv[1])
    answer(path, lambda: look(path).as_dict())


if __name__ == "__main__":
    main()
