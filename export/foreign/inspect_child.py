"""The process in which ``inspect_file`` opens a file: limits first, then one look, then one line of JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from livesam.engine.models.contents import PARTS
from livesam.engine.models.weight_files import HF_FILE, HF_INDEX
from livesam.engine.values.errors import CheckpointError, ExportError
from livesam.export.foreign.child import answer
from livesam.export.foreign.inspect import Inspection

if TYPE_CHECKING:
    from livesam.engine.models.contents import Contents
    from livesam.export.files.manifest import Manifest

_FLOATS = {"F32": "fp32", "F16": "fp16", "BF16": "bf16", "F64": "fp64"}
_FLOATS |= {"torch.float32": "fp32", "torch.float16": "fp16", "torch.bfloat16": "bf16", "torch.float64": "fp64"}
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
    from livesam.engine.files.hashing import file_sha256

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
    from livesam.engine.models.checkpoints import read_contents

    return _weights(path, size, read_contents(path))


def _safetensors(path: Path, size: int) -> Inspection:
    from livesam.engine.models.adapted import FORMAT
    from livesam.engine.models.checkpoints import read_header, read_metadata

    if read_metadata(path).get("format") == FORMAT:
        return _adapted(path, size)
    return _weights(path, size, read_header(path))


def _adapted(path: Path, size: int) -> Inspection:
    from livesam.engine.models.adapted import read_adapted

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
            "settings": dict(info.settings),
            "versions": dict(info.versions),
            "livesam": decoder.livesam,
            "saved_at": decoder.saved_at,
            "tensors": len(decoder.tensors),
        },
    )


def _weights(path: Path, size: int, contents: Contents[Any]) -> Inspection:
    """A checkpoint, or a part of one."""
    from livesam.engine.models.checkpoints import identify
    from livesam.engine.models.download import OFFICIAL_FILES

    manifest, warnings = _manifest(path) if path.is_file() else ({}, [])
    found = identify({key: tuple(value.shape) for key, value in contents.tensors.items()})
    digest = _digest(path if path.is_file() else path / HF_INDEX)
    official = next((name for name, file in OFFICIAL_FILES.items() if file.sha256 == digest), None)
    lacking = [part for part in PARTS if part not in contents.parts]
    known = found if found in {"nano", "vit_t", "vit_b", "vit_l", "vit_h"} else None
    what = f"full checkpoint of {known}" if known and not lacking else found or "weights of a SAM of no known size"
    if known and lacking:
        what = f"{known} without its {' and '.join(part.replace('_', ' ') for part in lacking)}"
    if found is not None and found.startswith("a mask decoder") and "prompt_encoder" in contents.parts:
        what = "a mask decoder and its prompt encoder, without the image encoder"
    summary = f"{what}, {len(contents.tensors)} tensors by {contents.layout}"
    types = {_FLOATS.get(str(value.dtype), str(value.dtype)) for value in contents.tensors.values()}
    return Inspection(
        path=str(path),
        kind="checkpoint" if "image_encoder" in contents.parts else "mask decoder",
        summary=summary + ("; the official file, bit for bit" if official else ""),
        model=known,
        size_bytes=size,
        sha256=digest,
        precision="/".join(sorted(types & set(_FLOATS.values()))) or "/".join(sorted(types)),
        details={"tensors": len(contents.tensors), "layout": contents.layout, "official": bool(official)},
        warnings=(*contents.notes, *_misfit(contents, known), *warnings),
        **_origin(manifest),
    )


def _misfit(contents: Contents[Any], known: str | None) -> list[str]:
    """Why no command would open the file, although it looks like this model's."""
    from livesam.engine.models.checkpoints import misfit
    from livesam.engine.models.loading import state_shapes

    alone = "image_encoder" not in contents.parts
    if known is None and not alone:
        return []
    shapes = state_shapes(known or "nano")  # all models have the same decoder
    wanted = {key: shape for key, shape in shapes.items() if not alone or key.partition(".")[0] in contents.parts}
    wrong = misfit(contents, wanted)
    other = [key for key, shape in wanted.items() if key in contents.tensors and contents.tensors[key].shape != shape]
    if not wrong and other:
        wrong = f"{len(other)} tensors of another shape, {other[0]} among them"
    return [f"it does not fit {known or 'any model'}, so it cannot be opened or imported: {wrong}"] if wrong else []


def _onnx(path: Path, size: int) -> Inspection:
    from livesam.export.foreign.onnx_guard import external_files, read_onnx
    from livesam.export.formats.sam_onnx import signature

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
        from livesam.engine.models.checkpoints import read_header

        if (path / HF_FILE).is_file():
            return look(path / HF_FILE)
        if (path / HF_INDEX).is_file():
            return _weights(path, size, read_header(path))
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
    origin = _origin({"options": version.options})
    return {"method": origin["method"], "learned": origin["learned"], "claim": str(version.parity.get("claim", ""))}


def main() -> None:
    path = Path(sys.argv[1])
    answer(path, lambda: look(path).as_dict())


if __name__ == "__main__":
    main()
