"""``inspect_file``: what a weights file, a graph or an exported folder is, without trusting it.

Files are opened in a child process with limits on time and memory, which never runs what they contain: pickles pass
the gates of ``livesam.engine.models.torch_file``, ONNX files those of ``livesam.export.foreign.onnx_guard``,
safetensors are read as a header.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from livesam.engine.values.errors import CheckpointError
from livesam.export.foreign.child import TIMEOUT_S, ask

MAX_FILE_BYTES = 8 * 2**30


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a file or folder is.

    Attributes:
        path: as it was given.
        kind: ``adapted decoder``, ``checkpoint``, ``mask decoder``, ``ONNX graph``, ``OpenVINO model``,
            ``TensorRT plan`` or ``folder``.
        summary: one line.
        model: the SAM that it is or belongs to, where that can be told.
        size_bytes: of the file, or of all files of a folder.
        sha256: of the file; of a folder's manifest.
        precision: number format of its weights.
        base_sha256: hash of the base decoder that it was adapted from.
        method: the adaptation method, or ``base``.
        learned: what it was learned on: domain, counts of objects, steps and so on.
        metrics: of the adaptation.
        inputs, outputs: of graphs, as ``float32 (1, num_points, 2)``.
        details: the rest, by name.
        warnings: what a user should know, e.g. a manifest that no longer fits.
    """

    path: str
    kind: str
    summary: str
    model: str | None = None
    size_bytes: int = 0
    sha256: str = ""
    precision: str = ""
    base_sha256: str = ""
    method: str = ""
    learned: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return asdict(self)


def inspect_file(path: Path | str, *, timeout_s: float = TIMEOUT_S) -> Inspection:
    """Say what a file or folder is.

    Raises:
        CheckpointError: a weights file that is missing, damaged or unsafe, or a file of no known kind.
        ExportError: a graph or folder that is damaged or unsafe, or one that could not be read within the limits.
    """
    target = Path(path)
    if not target.exists():
        raise CheckpointError(f"there is no file {target}")
    if not (target.is_file() or target.is_dir()):
        raise CheckpointError(f"{target} is neither a file nor a folder")
    if target.is_file() and target.stat().st_size > MAX_FILE_BYTES:
        raise CheckpointError(f"{target} has {target.stat().st_size} bytes, at most {MAX_FILE_BYTES} are looked into")
    found = ask("livesam.export.foreign.inspect_child", target, timeout_s=timeout_s)
    return Inspection(**{**found, "warnings": tuple(found["warnings"])})
