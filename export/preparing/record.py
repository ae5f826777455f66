"""What is known of engines that were prepared, beside the graphs they are made of."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from livesam.engine.files.atomic import write_json
from livesam.engine.runtimes.selection import Choice, select
from livesam.engine.values.errors import RuntimeUnavailable
from livesam.export.files.manifest import versions

FOLDER = "prepared"
_RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "tensorrt-rtx-cu13")


@dataclass(frozen=True, slots=True)
class Prepared:
    """Engines that were built, and agree with PyTorch.

    Attributes:
        model, size: of which model, and the side of its input in pixels.
        encoder, decoder: what runs them, e.g. ``openvino:cpu:fp32``.
        difference: the encoder's largest difference from PyTorch, as a share of the embedding's range.
        seconds: what it took; the least that was written if nothing had to be exported.
        peak_mib: the most memory that the process had.
        versions: of the runtimes that were installed; with others the engines are made and checked anew.
    """

    model: str
    size: int
    encoder: str
    decoder: str
    difference: float
    seconds: float
    peak_mib: int
    versions: Mapping[str, str]

    def write(self, folder: Path, encoder: Choice, decoder: Choice) -> None:
        """Keep it in a model's folder of graphs.

        Raises:
            OSError: it cannot be written.
        """
        path = _path(folder, encoder, decoder)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, asdict(self))


def find(folder: Path, encoder: Choice, decoder: Choice) -> Prepared | None:
    """The record of these engines in a model's folder of graphs; None if there is none, or of other versions."""
    found = _read(_path(folder, encoder, decoder))
    return found if found is not None and found.versions == installed() else None


def is_prepared(folder: Path, encoder: Choice, decoder: Choice) -> bool:
    """Whether a session starts on these engines without building anything."""
    return encoder.name == decoder.name == "torch" or find(folder, encoder, decoder) is not None


def stand_in_for(choice: Choice) -> Choice:
    """PyTorch where the engine will run, in its precision; where PyTorch cannot do that, on the CPU."""
    try:
        return select("encoder", "torch", device=choice.device, precision=choice.precision)
    except RuntimeUnavailable:
        return select("encoder", "torch", device="cpu")


def every(root: Path) -> Iterator[Prepared]:
    """All records in a cache folder that are of the installed versions."""
    for path in sorted((root / "graphs").glob(f"*/{FOLDER}/*.json")):
        found = _read(path)
        if found is not None and found.versions == installed():
            yield found


def installed() -> dict[str, str]:
    """The versions of the runtimes that are installed."""
    return versions(("livesam", *_RUNTIMES))


def _path(folder: Path, encoder: Choice, decoder: Choice) -> Path:
    name = "-".join(f"{one.name}-{one.device}-{one.precision}" for one in (encoder, decoder))
    return folder / FOLDER / f"{name.replace(':', '_')}.json"


def _read(path: Path) -> Prepared | None:
    try:
        raw: dict[str, Any] = json.loads(path.read_text())
        return Prepared(**raw)
    except (OSError, ValueError, TypeError):
        return None
