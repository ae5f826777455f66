"""Building TensorRT plans from our graphs, with `tensorrt` or `tensorrt_rtx`, and finding them again.

Precision is in the graph (strong typing is all that TensorRT 11 has left), so a build has no precision flags. TensorRT
for RTX builds ahead of time for GPUs that are not there; that is how every model and precision is parsed and built on
machines without one. Building for the GPU of this machine (`tensorrt`, refittable plans, timing cache) has never been
run on one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from livesam.engine.files.hashing import file_sha256
from livesam.engine.runtimes.tensorrt import Library, device_name, load_library
from livesam.engine.values.errors import ExportError, RuntimeUnavailable
from livesam.export.files.manifest import GRAPH_VERSION, Manifest, manifest_path, versions
from livesam.export.files.staging import staged

Shape = tuple[int, ...]
Progress = Callable[[str], None]

MAX_PROMPTS = 64
MAX_POINTS = 32


@dataclass(frozen=True)
class Profile:
    """Smallest, expected and largest shape of each dynamic input, for one optimisation profile."""

    shapes: Mapping[str, tuple[Shape, Shape, Shape]]


def decoder_profiles(
    embedding_hw: tuple[int, int], prompts: int = MAX_PROMPTS, points: int = MAX_POINTS
) -> list[Profile]:
    """Profiles of the serving decoder: one prompt with at most ``points`` points, and batches of up to ``prompts``.

    In a batch the mask input may be one for all prompts (M = 1) or one each. A lone mask has no points: N begins at 0.
    """
    h, w = 4 * embedding_hw[0], 4 * embedding_hw[1]

    def profile(p: Shape, n: Shape, m: Shape) -> Profile:
        shapes: dict[str, tuple[Shape, Shape, Shape]] = {
            "point_coords": ((p[0], n[0], 2), (p[1], n[1], 2), (p[2], n[2], 2)),
            "point_labels": ((p[0], n[0]), (p[1], n[1]), (p[2], n[2])),
            "mask_input": ((m[0], 1, h, w), (m[1], 1, h, w), (m[2], 1, h, w)),
            "has_mask": ((m[0],), (m[1],), (m[2],)),
        }
        return Profile(shapes)

    one = profile((1, 1, 1), (0, 2, points), (1, 1, 1))
    many = profile((1, min(16, prompts), prompts), (0, 2, points), (1, 1, prompts))
    return [one, many] if prompts > 1 else [one]


def encoder_profiles(image_size: int, batches: tuple[int, int, int] = (1, 1, 1)) -> list[Profile]:
    """The profile of an encoder with a dynamic batch: smallest, expected and largest number of images."""
    lo, best, hi = ((b, 3, image_size, image_size) for b in batches)
    return [Profile({"image": (lo, best, hi)})]


@dataclass(frozen=True)
class PlanKey:
    """Everything that a plan depends on; plans of equal keys are interchangeable.

    Attributes:
        graph: SHA-256 of the graph and its external data.
        device: ``sm90:NVIDIA H200`` for a plan of this machine's GPU, ``aot:SM80,SM86`` for one built ahead of time.
        refit: whether weights may be exchanged after the build.
    """

    graph: str
    library: str
    version: str
    device: str
    precision: str
    profiles: tuple[Profile, ...]
    refit: bool

    @property
    def digest(self) -> str:
        described = asdict(self) | {"profiles": [sorted(p.shapes.items()) for p in self.profiles]}
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()

    def path(self, folder: Path, graph: Path) -> Path:
        """Where the plan lies in a cache folder."""
        return folder / f"{graph.stem}-{self.digest[:20]}.plan"


def plan_key(
    graph: Path, library: Library, profiles: Sequence[Profile], *, capabilities: Sequence[str] = (), refit: bool = False
) -> PlanKey:
    """The key of a plan of ``graph``, whose precision is read from its manifest.

    Raises:
        ExportError: the graph has no manifest.
        RuntimeUnavailable: no capabilities were given and there is no GPU whose plan it could be.
    """
    manifest = Manifest.read(graph)
    hashes = "+".join(sha for _, sha in sorted(manifest.files.items()))
    device = f"aot:{','.join(capabilities)}" if capabilities else device_name()
    return PlanKey(hashes, library.name, library.version, device, manifest.precision, tuple(profiles), refit)


def build_plan(
    graph: Path,
    folder: Path,
    *,
    library: str = "auto",
    profiles: Sequence[Profile] = (),
    capabilities: Sequence[str] = (),
    refit: bool = False,
    optimisation_level: int | None = None,
    progress: Progress = lambda stage: None,
) -> Path:
    """The plan of a graph, from the cache in ``folder`` or newly built, with a manifest beside it.

    Args:
        library: ``tensorrt``, ``tensorrt_rtx``, or ``auto`` for the first that is installed.
        profiles: for graphs with dynamic shapes (``decoder_profiles``, ``encoder_profiles``).
        capabilities: GPUs to build for ahead of time, e.g. ``("SM86", "SM89")``; TensorRT for RTX only. Empty: the
            GPU of this machine.
        refit: make a plan whose decoder weights can be exchanged; needs a GPU (a build without one fails).

    Raises:
        ValueError: capabilities that the library does not know.
        RuntimeUnavailable: no library, no GPU where one is needed, or ahead-of-time building with `tensorrt`.
        ExportError: the graph has no manifest, does not parse or does not build; the parser's words are in the message.
    """
    lib = load_library(library)
    _check_capabilities(lib, capabilities, refit)
    key = plan_key(graph, lib, profiles, capabilities=capabilities, refit=refit)
    path = key.path(folder, graph)
    if _usable(path):
        return path
    progress("parse")
    log = _log(lib.module)
    builder, network = _parsed(lib, graph, log)
    config = _config(lib.module, builder, network, profiles, capabilities, refit, optimisation_level)
    timing = folder / f"{lib.name}-{lib.version}-{key.device.split(':')[0]}.timing"
    if not capabilities:
        saved = timing.read_bytes() if timing.is_file() else b""
        config.set_timing_cache(config.create_timing_cache(saved), ignore_mismatch=False)
    progress("build")
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise ExportError(f"{lib.name} {lib.version} cannot build {graph.name}: {log.last}")
    with staged(path) as target:
        target.write_bytes(memoryview(plan))
        _manifest(Manifest.read(graph), key, {path.name: file_sha256(target)}).write(target)
    if not capabilities:
        with staged(timing) as target:
            target.write_bytes(memoryview(config.get_timing_cache().serialize()))
    return path


def _parsed(lib: Library, graph: Path, log: Any) -> tuple[Any, Any]:
    """A builder, and the network that it made of the graph."""
    trt = lib.module
    builder = trt.Builder(log)
    typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)  # the default of 11, needed on 10
    network = builder.create_network(typed)
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(graph)):
        raise ExportError(f"{lib.name} {lib.version} cannot parse {graph.name}: {_parser_errors(parser)}")
    return builder, network


def _manifest(source: Manifest, key: PlanKey, files: Mapping[str, str]) -> Manifest:
    """Of the plan that was built from a graph."""
    shapes = [{n: [list(s) for s in shapes] for n, shapes in p.shapes.items()} for p in key.profiles]
    return replace(
        source,
        kind="plan",
        files=dict(files),
        parity={"checked": "nothing: a plan is compared with PyTorch on the GPU that runs it"},
        versions=versions(("livesam", "onnx", "torch")),
        options={
            "library": key.library,
            "library_version": key.version,
            "device": key.device,
            "refit": key.refit,
            "graph": dict(source.files),
            "profiles": shapes,
        },
        graph_version=GRAPH_VERSION,
    )


def _check_capabilities(lib: Library, capabilities: Sequence[str], refit: bool) -> None:
    if not capabilities:
        device_name()
        return
    if not lib.ahead_of_time:
        raise RuntimeUnavailable(
            "`tensorrt` builds for the GPU of this machine only; ahead of time builds `tensorrt_rtx`"
        )
    known = [n for n in lib.module.ComputeCapability.__members__ if n.startswith("SM")]
    unknown = [c for c in capabilities if c not in known]
    if unknown:
        raise ValueError(f"{lib.name} {lib.version} builds for {', '.join(known)}, not for {', '.join(unknown)}")
    if refit:
        raise RuntimeUnavailable(
            "a refittable plan can only be built on a machine with a GPU: leave `capabilities` empty there, or take "
            "weights as inputs"
        )


def _config(
    trt: Any,
    builder: Any,
    network: Any,
    profiles: Sequence[Profile],
    capabilities: Sequence[str],
    refit: bool,
    level: int | None,
) -> Any:
    config = builder.create_builder_config()
    if capabilities:
        config.num_compute_capabilities = len(capabilities)
        for i, name in enumerate(capabilities):
            config.set_compute_capability(trt.ComputeCapability.__members__[name], i)
    if refit:
        config.set_flag(trt.BuilderFlag.REFIT)
    if level is not None:
        config.builder_optimization_level = level
    dynamic = {network.get_input(i).name for i in range(network.num_inputs) if -1 in tuple(network.get_input(i).shape)}
    for wanted in profiles:
        profile = builder.create_optimization_profile()
        missing = dynamic - set(wanted.shapes)
        if missing:
            raise ExportError(f"a profile leaves out the dynamic inputs {', '.join(sorted(missing))}")
        for name in sorted(dynamic):
            lo, best, hi = wanted.shapes[name]
            profile.set_shape(name, lo, best, hi)
        config.add_optimization_profile(profile)
    if dynamic and not profiles:
        raise ExportError(f"the inputs {', '.join(sorted(dynamic))} are dynamic: give profiles")
    return config


def _usable(path: Path) -> bool:
    if not (path.is_file() and manifest_path(path).is_file()):
        return False
    try:
        Manifest.read(path).verify(path.parent)
    except ExportError:
        return False
    return True


def _parser_errors(parser: Any) -> str:
    return "; ".join(str(parser.get_error(i).desc()) for i in range(min(parser.num_errors, 3))) or "no reason given"


def _log(trt: Any) -> Any:
    class Log(trt.ILogger):  # type: ignore[misc]
        """Keeps the last error for the message of an exception; a library does not print."""

        def __init__(self) -> None:
            super().__init__()
            self.last = "no reason given"

        def log(self, severity: Any, msg: str) -> None:
            if severity <= trt.ILogger.ERROR:
                self.last = msg

    return Log()
