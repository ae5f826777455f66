"""What a written file is, next to it: ``decoder.onnx`` gets ``decoder.onnx.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from livesam.engine.files.hashing import file_sha256
from livesam.engine.values.errors import ExportError

# Raised whenever the graphs change, so that cached files of an older livesam are not taken for new ones.
GRAPH_VERSION = 5


def manifest_path(path: Path) -> Path:
    """Where the manifest of ``path`` lies."""
    return path.with_name(path.name + ".json")


@dataclass(frozen=True)
class Tensor:
    """An input or output: ONNX element type (``float32``) and shape, dynamic dimensions by name."""

    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class Weight:
    """How an ONNX initializer comes from a state-dict tensor.

    ``shape`` is the stored one; ``transpose`` reverses all axes.
    """

    key: str
    transpose: bool
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Manifest:
    """Everything that a reader of the file has to know.

    Attributes:
        kind: ``encoder``, ``decoder`` or ``plan``.
        model: ``nano``, ``vit_t``, ``vit_b``, ``vit_l``, ``vit_h``, or another name given by the caller.
        precision: ``fp32``, ``fp16`` or ``bf16`` weights and arithmetic inside; inputs and outputs are float32.
        files: SHA-256 by file name; more than one where weights lie in an external data file.
        weights: for decoders, the 120 mask-decoder tensors by ONNX name.
        parity: what was compared with what, how, and the largest differences; says so when nothing was checked.
        versions: libraries that wrote and checked the file.
    """

    kind: str
    model: str
    precision: str
    opset: int
    files: Mapping[str, str]
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    image_size: int = 1024
    weights_hash: str = ""
    weights_as_inputs: bool = False
    weights: Mapping[str, Weight] = field(default_factory=dict)
    parity: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    graph_version: int = GRAPH_VERSION

    def write(self, path: Path) -> Path:
        """Write beside ``path`` (the file that this manifest is about)."""
        target = manifest_path(path)
        target.write_text(json.dumps(asdict(self), indent=1, sort_keys=True) + "\n")
        return target

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """The manifest of the file ``path``.

        Raises:
            ExportError: it is missing, or not one of ours.
        """
        source = manifest_path(path)
        try:
            raw = json.loads(source.read_text())
            raw["inputs"] = {k: Tensor(v["dtype"], tuple(v["shape"])) for k, v in raw["inputs"].items()}
            raw["outputs"] = {k: Tensor(v["dtype"], tuple(v["shape"])) for k, v in raw["outputs"].items()}
            raw["weights"] = {
                k: Weight(v["key"], bool(v["transpose"]), tuple(v["shape"])) for k, v in raw["weights"].items()
            }
            return cls(**raw)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ExportError(f"{source} is not a livesam manifest ({error}): export the file again") from error

    def verify(self, folder: Path) -> None:
        """Compare the files in ``folder`` with their hashes.

        Raises:
            ExportError: a file is missing or has changed.
        """
        for name, expected in self.files.items():
            target = folder / name
            if not target.is_file():
                raise ExportError(f"{target} is missing: export it again")
            actual = file_sha256(target)
            if actual != expected:
                raise ExportError(f"{target} has SHA-256 {actual}, its manifest says {expected}: export it again")


def versions(names: Sequence[str] = ("livesam", "onnx", "torch", "onnxruntime", "openvino")) -> dict[str, str]:
    """Installed versions of the named distributions, read from metadata: nothing is imported."""
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
