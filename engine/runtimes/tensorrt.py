"""TensorRT and TensorRT for RTX: one backend for both, over plan files that ``livesam.export.graphs.plans`` builds."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from livesam.engine.files.hashing import file_sha256
from livesam.engine.runtimes.tensorrt_profiles import Ranges, fitting_profile
from livesam.engine.values.errors import RuntimeUnavailable, SessionError

if TYPE_CHECKING:
    import torch
    from livesam.engine.runtimes.recorder import Work

LIBRARIES = ("tensorrt", "tensorrt_rtx")
_EXTRA = {"tensorrt": "tensorrt", "tensorrt_rtx": "rtx"}


@dataclass(frozen=True)
class Library:
    """One of the two Python packages; both have the same API as far as it is used here."""

    name: str
    version: str
    module: Any

    @property
    def ahead_of_time(self) -> bool:
        """Builds plans for GPUs that are not in this machine."""
        return self.name == "tensorrt_rtx"


def load_library(name: str = "auto") -> Library:
    """Import TensorRT (``tensorrt``), TensorRT for RTX (``tensorrt_rtx``), or the first that is there (``auto``).

    Raises:
        ValueError: the name is unknown.
        RuntimeUnavailable: the package is not installed or does not load.
    """
    if name not in (*LIBRARIES, "auto"):
        raise ValueError(f"library must be auto, {' or '.join(LIBRARIES)}, got {name!r}")
    reasons = []
    for candidate in LIBRARIES if name == "auto" else (name,):
        try:
            module = importlib.import_module(candidate)
        except Exception as error:  # a missing CUDA library shows up as OSError, a wrong one as RuntimeError
            reasons.append(f"{candidate}: {type(error).__name__}: {error} (pip install 'livesam[{_EXTRA[candidate]}]')")
            continue
        return Library(candidate, str(module.__version__), module)
    raise RuntimeUnavailable(f"TensorRT cannot be used: {'; '.join(reasons)}")


def device_name() -> str:
    """The GPU that plans are bound to, e.g. ``sm90:NVIDIA H200``.

    Raises:
        RuntimeUnavailable: there is no NVIDIA GPU, or its driver is missing or too old for this PyTorch.
    """
    import torch

    if not torch.cuda.is_available():
        built = torch.version.cuda or "no CUDA at all"
        raise RuntimeUnavailable(
            f"no usable NVIDIA GPU: PyTorch {torch.__version__} (built for CUDA {built}) finds no device; check "
            "nvidia-smi and that the driver is new enough, or choose another runtime"
        )
    major, minor = torch.cuda.get_device_capability()
    return f"sm{major}{minor}:{torch.cuda.get_device_name()}"


@contextmanager
def on_gpu(gpu: int) -> Iterator[None]:
    """Make this GPU the current one of the thread; plans are built, opened and run on it.

    Raises:
        RuntimeUnavailable: there is no such GPU, or PyTorch cannot use it.
    """
    import torch

    device_name()
    count = torch.cuda.device_count()
    if not 0 <= gpu < count:
        raise RuntimeUnavailable(f"there is no GPU {gpu}: PyTorch finds {count}, counted from 0")
    with torch.cuda.device(gpu):
        yield


def read_plan(path: Path, library: Library) -> dict[str, Any]:
    """The manifest of a plan after all checks that need no GPU.

    Raises:
        RuntimeUnavailable: no plan or no manifest, a damaged plan, or one of another library or version.
    """
    again = "build it again (livesam.export.graphs.plans.build_plan)"
    try:
        manifest: dict[str, Any] = json.loads(path.with_name(path.name + ".json").read_text())
        options = manifest["options"]
        built_with, version = options["library"], options["library_version"]
        expected = manifest["files"][path.name]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RuntimeUnavailable(f"{path} has no readable plan manifest ({error}): {again}") from error
    if manifest.get("kind") != "plan":
        raise RuntimeUnavailable(f"{path} is a {manifest.get('kind')}, not a TensorRT plan: {again}")
    if not path.is_file() or file_sha256(path) != expected:
        raise RuntimeUnavailable(f"{path} is missing or damaged (its SHA-256 is not that of its manifest): {again}")
    if (built_with, version) != (library.name, library.version):
        raise RuntimeUnavailable(
            f"{path} was built with {built_with} {version}, here is {library.name} {library.version}: {again}"
        )
    return manifest


class PlanEngine:
    """A deserialised plan on the current GPU.

    What it runs has an execution context of its own: a captured CUDA graph does not survive that its context takes
    other shapes (NVIDIA/TensorRT#3798). All of them share one piece of scratch memory, so they belong on one stream.

    Attributes:
        gpu: number of that GPU; what touches the engine later, on any thread, makes it current (``on_gpu``).
    """

    def __init__(self, path: Path, library: str = "auto") -> None:
        self.library = load_library(library)
        self.manifest = read_plan(path, self.library)
        built_for = self.manifest["options"]["device"]
        here = device_name()
        if not built_for.startswith("aot:") and built_for != here:
            raise RuntimeUnavailable(f"{path} was built for {built_for}, this machine has {here}: build it again")
        import torch

        self.gpu = torch.cuda.current_device()
        self._runtime_name = f"{self.library.name}:cuda:{self.gpu}:{here}:{self.manifest['precision']}"
        trt = self.library.module
        self._logger = trt.Logger(trt.Logger.WARNING)
        self._runtime = trt.Runtime(self._logger)
        self.engine = self._runtime.deserialize_cuda_engine(path.read_bytes())
        if self.engine is None:
            raise RuntimeUnavailable(f"{self.library.name} {self.library.version} refuses {path} on {here}")
        self._ranges = [self._profile(index) for index in range(self.engine.num_optimization_profiles)]
        self._scratch = torch.empty(max(1, self.engine.device_memory_size_v2), dtype=torch.uint8, device="cuda")

    @property
    def runtime(self) -> str:
        return self._runtime_name

    def _inputs(self) -> list[str]:
        names = (self.engine.get_tensor_name(i) for i in range(self.engine.num_io_tensors))
        return [n for n in names if self.engine.get_tensor_mode(n) == self.library.module.TensorIOMode.INPUT]

    def _profile(self, index: int) -> Ranges:
        found: Ranges = {}
        for name in self._inputs():
            smallest, _, largest = self.engine.get_tensor_profile_shape(name, index)
            found[name] = tuple(smallest), tuple(largest)
        return found

    def _context(self, profile: int) -> Any:
        import torch

        strategy = self.library.module.ExecutionContextAllocationStrategy.USER_MANAGED
        context = self.engine.create_execution_context(strategy)
        if context is None:
            raise RuntimeUnavailable(f"no execution context on {self.runtime}: the GPU's memory may be full")
        context.set_device_memory(self._scratch.data_ptr(), self._scratch.numel())
        stream = torch.cuda.current_stream()
        if profile and not context.set_optimization_profile_async(profile, stream.cuda_stream):
            raise RuntimeUnavailable(f"the plan has no optimisation profile {profile}: build it again")
        stream.synchronize()
        return context

    def largest(self, name: str) -> tuple[int, ...]:
        """The largest shape of an input in any profile."""
        return max(ranges[name][1] for ranges in self._ranges)

    def bind(self, tensors: Mapping[str, torch.Tensor]) -> _Run:
        """What runs the engine on these device tensors; both must stay alive while it runs, or is part of a graph.

        Raises:
            ValueError: a shape is in no profile of the plan.
            RuntimeUnavailable: there is no memory for an execution context.
        """
        inputs = {name: tuple(tensors[name].shape) for name in self._inputs() if name in tensors}
        context = self._context(fitting_profile(self._ranges, inputs))
        for name, tensor in tensors.items():
            if name in inputs and not context.set_input_shape(name, inputs[name]):
                raise ValueError(f"{name} of shape {inputs[name]} is outside of the plan's profile")
            context.set_tensor_address(name, tensor.data_ptr())
        return _Run(context, self)


@dataclass(frozen=True)
class _Run:
    """An engine with all of its inputs and outputs in place; puts one run of it on a stream."""

    context: Any
    engine: PlanEngine  # owns the scratch memory

    def __call__(self, stream: torch.cuda.Stream) -> None:
        if not self.context.execute_async_v3(stream.cuda_stream):
            raise SessionError("TensorRT could not run the engine: see its log")


def capture(run: Callable[[], None], stream: torch.cuda.Stream) -> Work:
    """Record ``run`` on ``stream`` as a CUDA graph, once the current stream has filled what it reads."""
    import torch
    from livesam.engine.runtimes.recorder import CudaRecorder

    def work() -> tuple[torch.Tensor, ...]:
        run()
        return ()

    torch.cuda.current_stream().synchronize()
    return CudaRecorder(stream, exact=False)(work)  # TensorRT's engine decides for itself what is TF32
