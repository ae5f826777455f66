"""What every kind of file is told about: its hash, the manifest beside it, its tensors in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from livesam.engine.files.hashing import file_sha256


def digest_of(path: Path) -> str:
    """The file's SHA-256, hex."""
    return file_sha256(path)


def manifest_beside(path: Path) -> tuple[dict[str, Any], list[str]]:
    """The manifest beside a file as plain JSON, and whether the file is still what it says."""
    beside = path.with_name(f"{path.name}.json")
    if not beside.is_file() or beside.stat().st_size > 16 * 2**20:
        return {}, []
    try:
        manifest = json.loads(beside.read_text())
        expected = manifest["files"][path.name]
    except (ValueError, KeyError, TypeError, OSError):
        return {}, [f"{beside.name} beside it is not a livesam manifest"]
    if expected != digest_of(path):
        return {}, [f"it has changed since {beside.name} was written"]
    return manifest, []


def origin_of(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Where its weights come from, as far as its manifest says."""
    options = manifest.get("options") or {}
    return {
        "base_sha256": str(options.get("base_sha256", "")),
        "method": str(options.get("method", "")),
        "learned": {"domain": options["domain"], **options.get("counts", {})} if "domain" in options else {},
        "metrics": options.get("metrics", {}),
    }


def tensor_text(dtype: str, shape: Any) -> str:
    """A tensor's type and shape in words."""
    return f"{dtype} ({', '.join(str(d) for d in shape)}{',' if len(shape) == 1 else ''})"


def signature_text(tensors: Any) -> dict[str, str]:
    """A manifest's tensors in words, by name."""
    return {name: tensor_text(t["dtype"], t["shape"]) for name, t in (tensors or {}).items()}
