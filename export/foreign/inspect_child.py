"""The process in which ``inspect_file`` opens a file: limits first, then one look, then one line of JSON."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from livesam.engine.models.weight_files import HF_FILE, HF_INDEX
from livesam.engine.values.errors import CheckpointError, ExportError
from livesam.export.foreign.beside import digest, manifest_of, origin
from livesam.export.foreign.child import answer
from livesam.export.foreign.inspect import Inspection
from livesam.export.foreign.inspect_weights import describe, look_safetensors, look_torch

if TYPE_CHECKING:
    from livesam.export.files.manifest import Manifest

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
        return look_torch(path, size)
    if path.suffix == ".safetensors" or head[8:9] == b"{":
        return look_safetensors(path, size)
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


def _tensor(dtype: str, shape: Any) -> str:
    return f"{dtype} ({', '.join(str(d) for d in shape)}{',' if len(shape) == 1 else ''})"


def _signature(tensors: Any) -> dict[str, str]:
    return {name: _tensor(t["dtype"], t["shape"]) for name, t in (tensors or {}).items()}


def _by_manifest(path: Path, size: int, kind: str) -> Inspection:
    """Files that only their own library can read: what their manifest says, when its hash fits."""
    manifest, warnings = manifest_of(path)
    if not manifest:
        reason = warnings[0] if warnings else "no manifest lies beside it"
        raise ExportError(f"{path} looks like an {kind}, but {reason}")
    return Inspection(
        path=str(path),
        kind=kind,
        summary=f"{kind} of {manifest['model']}'s decoder, {manifest['precision']}",
        model=manifest["model"],
        size_bytes=size,
        sha256=digest(path),
        precision=manifest["precision"],
        inputs=_signature(manifest["inputs"]),
        outputs=_signature(manifest["outputs"]),
        details={
            "claim": str(manifest["parity"].get("claim", "")),
            "parity": manifest["parity"],
            "versions": manifest["versions"],
        },
        **origin(manifest),
    )


def _onnx(path: Path, size: int) -> Inspection:
    from livesam.export.foreign.onnx_guard import external_files, read_onnx
    from livesam.export.formats.sam_onnx import signature

    model = read_onnx(path)
    inputs, outputs = signature(model)
    names = {tensor.name for tensor in model.graph.initializer}
    kept = sum(name.startswith("mask_decoder.") for name in names)
    manifest, warnings = manifest_of(path)
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
        sha256=digest(path),
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
        **origin(manifest),
    )


def _folder(path: Path) -> Inspection:
    beside = path / "manifest.json"
    size = sum(p.stat().st_size for p in path.rglob("*") if p.is_file() and not p.is_symlink())
    if not beside.is_file():
        from livesam.engine.models.checkpoints import read_header

        if (path / HF_FILE).is_file():
            return look(path / HF_FILE)
        if (path / HF_INDEX).is_file():
            return describe(path, size, read_header(path))
        raise CheckpointError(f"{path} is a folder without manifest.json or model.safetensors: name a file in it")
    from livesam.export.files.manifest import Manifest

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
        sha256=digest(beside),
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
        **origin({"options": newest}),
    )


def _versions(repository: Path) -> dict[int, Manifest]:
    """The manifests of a Triton repository's decoders by version, files compared with their hashes.

    Raises:
        ExportError: a version has changed, or lacks its manifest.
    """
    from livesam.export.files.manifest import Manifest

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
    told = origin({"options": version.options})
    return {"method": told["method"], "learned": told["learned"], "claim": str(version.parity.get("claim", ""))}


def main() -> None:
    path = Path(sys.argv[1])
    answer(path, lambda: look(path).as_dict())


if __name__ == "__main__":
    main()
