"""What lies beside a file: its manifest, and whether the file is still the one that the manifest is about."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def digest(path: Path) -> str:
    """The file's SHA-256, hex."""
    from livesam.engine.files.hashing import file_sha256

    return file_sha256(path)


def manifest_of(path: Path) -> tuple[dict[str, Any], list[str]]:
    """The manifest beside a file as plain JSON, and whether the file is still what it says."""
    beside = path.with_name(f"{path.name}.json")
    if not beside.is_file() or beside.stat().st_size > 16 * 2**20:
        return {}, []
    try:
        manifest = json.loads(beside.read_text())
        expected = manifest["files"][path.name]
    except (ValueError, KeyError, TypeError, OSError):
        return {}, [f"{beside.name} beside it is not a livesam manifest"]
    if expected != digest(path):
        return {}, [f"it has changed since {beside.name} was written"]
    return manifest, []


def origin(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What a manifest says of where its decoder comes from, as fields of ``Inspection``."""
    options = manifest.get("options") or {}
    return {
        "base_sha256": str(options.get("base_sha256", "")),
        "method": str(options.get("method", "")),
        "learned": {"domain": options["domain"], **options.get("counts", {})} if "domain" in options else {},
        "metrics": options.get("metrics", {}),
    }
