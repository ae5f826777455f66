"""What is known of engines that were prepared, beside the graphs they are made of."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from livesam.engine.files.atomic import write_json
from livesam.engine.runtimes.gpu_name import gpu_name
from livesam.engine.runtimes.selection import Choice, gpu_count, select
from livesam.engine.values.errors import RuntimeUnavailable
from livesam.export.files.manifest import Manifest, manifest_path, versions

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
        files: graphs, plans and manifests, relative to the cache folder; all have to be there.
        gpu: name and driver of the GPU that they were checked on; empty where they run on the CPU.
    """

    model: str
    size: int
    encoder: str
    decoder: str
    difference: float
    seconds: float
    peak_mib: int
    versions: Mapping[str, str]
    files: tuple[str, ...]
    gpu: str

    def write(self, folder: Path, encoder: Choice, decoder: Choice) -> None:
        """Keep it in a model's folder of graphs.

        Raises:
            OSError: it cannot be written.
        """
        path = _path(folder, encoder, decoder)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, asdict(self))


def find(folder: Path, encoder: Choice, decoder: Choice) -> Prepared | None:
    """The record of these engines in a model's folder of graphs.

    None if there is none, or of other versions, if a file is missing, or they were checked on another GPU.
    """
    found = _read(_path(folder, encoder, decoder))
    fits = found is not None and _holds(found, _root(folder)) and found.gpu == gpu_of(encoder, decoder)
    return found if fits else None


def forget(folder: Path, encoder: Choice, decoder: Choice) -> None:
    """Remove the record of these engines, before one of their files changes.

    Raises:
        OSError: it cannot be removed.
    """
    _path(folder, encoder, decoder).unlink(missing_ok=True)


def files_of(root: Path, used: Iterable[Path]) -> tuple[str, ...]:
    """Graphs and plans with their manifests and external data, relative to the cache folder.

    Raises:
        ExportError: a manifest is missing or damaged.
    """
    found = {path.parent / name for path in used for name in Manifest.read(path).files}
    return tuple(sorted(path.relative_to(root).as_posix() for path in found | {manifest_path(path) for path in used}))


def gpu_of(encoder: Choice, decoder: Choice) -> str:
    """Name and driver of the GPU that these use; empty if none does."""
    found = [gpu_name(one.gpu) for one in (encoder, decoder) if one.device.startswith("cuda")]
    return "; ".join(dict.fromkeys(found))


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
    """All records in a cache folder that are of the installed versions and of this machine, all files there."""
    here = {"", *map(gpu_name, range(gpu_count()))}
    for path in sorted((root / "graphs").glob(f"*/{FOLDER}/*.json")):
        found = _read(path)
        if found is not None and _holds(found, root) and found.gpu in here:
            yield found


def installed() -> dict[str, str]:
    """The versions of the runtimes that are installed."""
    return versions(("livesam", *_RUNTIMES))


def _holds(found: Prepared, root: Path) -> bool:
    return found.versions == installed() and all((root / name).is_file() for name in found.files)


def _root(folder: Path) -> Path:
    """The cache folder of a model's folder of graphs."""
    return folder.parent.parent


def _path(folder: Path, encoder: Choice, decoder: Choice) -> Path:
    name = "-".join(f"{one.name}-{one.device}-{one.precision}" for one in (encoder, decoder))
    return folder / FOLDER / f"{name.replace(':', '_')}.json"


def _read(path: Path) -> Prepared | None:
    try:
        raw: dict[str, Any] = json.loads(path.read_text())
        return Prepared(**{**raw, "files": tuple(raw["files"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None
