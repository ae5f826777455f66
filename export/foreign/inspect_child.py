"""The process in which ``inspect_file`` opens a file: limits first, then one look, then one line of JSON."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from livesam.engine.models.weight_files import HF_FILE, HF_INDEX
from livesam.engine.values.errors import CheckpointError, ExportError
from livesam.export.foreign.child import answer
from livesam.export.foreign.findings import digest_of, origin_of, tensor_text
from livesam.export.foreign.inspect import Inspection
from livesam.export.foreign.look_graphs import by_manifest, onnx_file
from livesam.export.foreign.look_weights import safetensors_file, torch_file, weights_of

if TYPE_CHECKING:
    from livesam.export.files.manifest import Manifest


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
        return torch_file(path, size)
    if path.suffix == ".safetensors" or head[8:9] == b"{":
        return safetensors_file(path, size)
    if head[:1] == b"\x80":
        raise CheckpointError(
            f"{path} is a bare pickle, which may run code, so it was not opened: save it again as safetensors"
        )
    if b"<net " in head and head.lstrip().startswith(b"<?xml"):
        return by_manifest(path, size, "OpenVINO model")
    if path.suffix == ".plan":
        return by_manifest(path, size, "TensorRT plan")
    if head[:1] == b"\x08" or path.suffix == ".onnx":
        return onnx_file(path, size)
    raise CheckpointError(f"{path} is no weights file, graph or plan that livesam knows")


def _folder(path: Path) -> Inspection:
    beside = path / "manifest.json"
    size = sum(p.stat().st_size for p in path.rglob("*") if p.is_file() and not p.is_symlink())
    if not beside.is_file():
        from livesam.engine.models.checkpoints import read_header

        if (path / HF_FILE).is_file():
            return look(path / HF_FILE)
        if (path / HF_INDEX).is_file():
            return weights_of(path, size, read_header(path))
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
        sha256=digest_of(beside),
        precision=manifest.precision,
        inputs={name: tensor_text(t.dtype, t.shape) for name, t in manifest.inputs.items()},
        outputs={name: tensor_text(t.dtype, t.shape) for name, t in manifest.outputs.items()},
        details={
            "files": sorted(manifest.files),
            "versions": dict(manifest.versions),
            "options": dict(options),
            "claim": str(manifest.parity.get("claim", "")),
            **({"decoders": {number: _told(version) for number, version in versions.items()}} if versions else {}),
        },
        **origin_of({"options": newest}),
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
            inside = graph.resolve().is_relative_to(repository.resolve())
            if set(manifest.files) - {"model.py"} != {graph.name} or not inside:
                raise ExportError(f"{folder} holds other files than a version has: export it again")
            manifest.verify(folder)
            found[int(folder.name)] = manifest
    return found


def _told(version: Manifest) -> dict[str, Any]:
    origin = origin_of({"options": version.options})
    return {"method": origin["method"], "learned": origin["learned"], "claim": str(version.parity.get("claim", ""))}


def main() -> None:
    path = Path(sys.argv[1])
    answer(path, lambda: look(path).as_dict())


if __name__ == "__main__":
    main()
