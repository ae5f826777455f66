"""Everything that a borrowed GPU should be asked, in one run: ``python -m livesam.benchmarks.gpu --out FILE``.

Parity, encoder latency and throughput with their share of what the device reaches at best, clicks, many prompts, swaps,
clicks beside a learner, memory. What is not installed is skipped with its reason; the file is whole after each section.

``--device cpu --models nano --quick`` runs the same code where there is none.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from livesam.benchmarks.gpu import pytorch as gpu_torch
from livesam.benchmarks.gpu import runtimes as gpu_runtimes
from livesam.benchmarks.gpu.device_clock import ceilings
from livesam.benchmarks.gpu.power import PowerMeter
from livesam.benchmarks.gpu.sections import Section, SectionRunner, Skipped
from livesam.benchmarks.latency.stream import picture
from livesam.benchmarks.reports.environment import environment
from livesam.engine.models.loading import build
from livesam.engine.models.spec import MODELS, spec
from livesam.engine.values.errors import RuntimeUnavailable

if TYPE_CHECKING:
    from livesam.engine.session.session import Session
    from livesam.export.opening import Opening, Swap
    from segment_anything.modeling import Sam

RUNTIMES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("torch", ("fp32", "bf16")),
    ("onnxruntime", ("fp32", "fp16")),
    ("tensorrt", ("bf16", "fp16")),
    ("tensorrt_rtx", ("bf16", "fp16")),
)
BATCH_PRECISION = {"torch": "bf16", "onnxruntime": "fp16", "tensorrt": "bf16", "tensorrt_rtx": "bf16"}
BATCHES = (1, 2, 4, 8, 16, 32)


class ModelBench:
    """One model's sections; its random weights, checkpoint file and reference embedding are made when first needed."""

    def __init__(self, model: str, device: str, folder: Path, *, quick: bool) -> None:
        self.model, self.device, self.folder = model, device, folder
        self.seconds = 0.05 if quick else 1.0
        self.batches = BATCHES[:2] if quick else BATCHES
        self.prompts = (1, 2) if quick else (1, 8, 64)
        self.swap_count = 3 if quick else 20
        self.clicks = 8 if quick else 120
        self.image = picture()
        self.ceilings: Mapping[str, Any] = {}

    @cached_property
    def sam(self) -> Sam:
        return build(self.model)

    @cached_property
    def checkpoint(self) -> Path:
        path = self.folder / f"{self.model}.pth"
        gpu_runtimes.save_random(self.sam, path)
        return path

    @cached_property
    def reference(self) -> npt.NDArray[np.float32]:
        """The embedding by ``segment_anything`` in fp32 on this device, TF32 off (torch's default)."""
        import torch
        from livesam.engine.view.geometry import prepare

        side = spec(self.model).image_size
        encoder = self.sam.image_encoder.to(self.device)
        with torch.inference_mode():
            features = encoder(torch.from_numpy(prepare(self.image, side)).to(self.device))
        self.sam.to("cpu")
        found: npt.NDArray[np.float32] = features.float().cpu().numpy()
        return found

    def sections(self) -> list[Section]:
        """In order of what one would miss most if the time ran out."""
        found = [Section(f"{self.model}/encoder/eager", self._eager)]
        for runtime, precisions in RUNTIMES:
            found += [
                Section(f"{self.model}/encoder/{runtime}/{precision}", partial(self._encoder, runtime, precision))
                for precision in precisions
            ]
        for runtime, _ in RUNTIMES:
            ways: tuple[Swap, ...] = ("inputs", "refit") if runtime.startswith("tensorrt") else ("inputs",)
            for way in ways:
                name = runtime if way == "inputs" else f"{runtime}/{way}"
                found.append(Section(f"{self.model}/decoder/{name}", partial(self._decoder, runtime, way)))
                found.append(Section(f"{self.model}/swap/{name}", partial(self._swap, runtime, way)))
        found.append(Section(f"{self.model}/learning", self._learning))
        found.append(Section(f"{self.model}/throughput/eager", self._eager_throughput))
        for runtime, _ in RUNTIMES:
            found.append(Section(f"{self.model}/throughput/{runtime}", partial(self._throughput, runtime)))
        return found

    def _eager(self) -> Mapping[str, Any]:
        found = gpu_torch.encoder_latency(self.sam, self.device, seconds=self.seconds)
        return {**found, **gpu_torch.memory(self.device)}

    def _encoder(self, runtime: str, precision: str) -> Mapping[str, Any]:
        _require(runtime)
        opening = self._opening(runtime, precision)
        return gpu_runtimes.encoder(opening, self.image, self.reference, seconds=self.seconds)

    def _opening(self, runtime: str, precision: str | None = None) -> Opening:
        from livesam.export.opening import Opening

        return Opening(self.model, self.checkpoint, runtime, precision, self.device, self.folder / "cache")

    def _session(self, runtime: str, swap: Swap = "inputs") -> Session:
        from livesam.export.opening import open_session

        _require(runtime)
        try:
            return open_session(self._opening(runtime), swap=swap)
        except RuntimeUnavailable as error:
            raise Skipped(str(error)) from None

    def _decoder(self, runtime: str, swap: Swap) -> Mapping[str, Any]:
        with contextlib.closing(self._session(runtime, swap)) as session:
            found = gpu_runtimes.decoder(session, self.image, self.device, prompts=self.prompts, seconds=self.seconds)
            mask = self._click(session)
        if runtime != "torch":
            with contextlib.closing(self._session("torch")) as session:
                found["mask_iou"] = round(gpu_runtimes.mask_iou(mask, self._click(session)), 5)
        return found

    def _click(self, session: Session) -> npt.NDArray[np.bool_]:
        from livesam.engine.values.prompt import Click, Prompt

        session.set_image(self.image)
        height, width = self.image.shape[:2]
        return session.predict(Prompt((Click(width / 2, height / 2),))).mask

    def _swap(self, runtime: str, swap: Swap) -> Mapping[str, Any]:
        with contextlib.closing(self._session(runtime, swap)) as session:
            return gpu_runtimes.swaps(session, self.image, self.model, count=self.swap_count)

    def _learning(self) -> Mapping[str, Any]:
        from livesam.benchmarks.gpu.learning import clicks_beside_a_learner

        with contextlib.closing(self._session("torch")) as session:
            return clicks_beside_a_learner(session, self.model, self.image, self.device, clicks=self.clicks)

    def _throughput(self, runtime: str) -> Mapping[str, Any]:
        _require(runtime)
        precision = BATCH_PRECISION[runtime] if self.device.startswith("cuda") else "fp32"
        opening = self._opening(runtime, precision)
        return gpu_runtimes.throughput(opening, self.image, batches=self.batches, seconds=self.seconds)

    def _eager_throughput(self) -> Mapping[str, Any]:
        precision = "bf16" if self.device.startswith("cuda") else "fp32"
        rows = gpu_torch.encoder_throughput(
            self.sam, self.device, self.batches, self.ceilings, precision=precision, seconds=self.seconds
        )
        return {precision: rows}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all sections and write the report; 0 when it is complete, 2 where there is no such device."""
    options = _options(arguments)
    missing = _missing_device(options.device)
    if missing:
        sys.stderr.write(f"livesam.benchmarks.gpu: {missing}\n")
        return 2
    meter = PowerMeter() if options.power else None
    with tempfile.TemporaryDirectory(prefix="livesam-gpu-") as folder:
        benches = [ModelBench(name, options.device, Path(folder), quick=options.quick) for name in options.models]

        def measure_ceilings() -> Mapping[str, Any]:
            quick = options.quick
            found = ceilings(options.device, size=512, copy_mib=16, seconds=0.05) if quick else ceilings(options.device)
            for bench in benches:
                bench.ceilings = found
            return found

        sections = [Section("ceilings", measure_ceilings)]
        for bench in benches:
            sections += bench.sections()
        runner = SectionRunner(
            {"environment": environment().to_json(), "device": gpu_torch.device_facts(options.device)},
            options.limit,
            options.out,
            progress=_say,
            span=partial(_span, options.device),
        )
        with meter or contextlib.nullcontext():
            runner.run(sections)
        if meter is not None:
            runner.results["power"] = meter.to_json()
            runner.run([])
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m livesam.benchmarks.gpu", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the report, JSON")
    parser.add_argument("--device", default="cuda")
    parser.add_argument(
        "--models", nargs="+", choices=list(MODELS), default=["vit_b", "vit_t", "nano", "vit_h", "vit_l"]
    )
    parser.add_argument("--limit", type=float, default=460.0, help="no section begins after so many seconds")
    parser.add_argument("--power", action="store_true", help="also measure power, through nvidia-ml-py")
    parser.add_argument("--quick", action="store_true", help="tiny measurements, to try the script itself")
    return parser.parse_args(arguments)


def _missing_device(device: str) -> str | None:
    import torch

    if device.startswith("cuda") and not torch.cuda.is_available():
        return "PyTorch sees no NVIDIA GPU here; --device cpu --models nano --quick tries the script without one"
    return None


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _require(runtime: str) -> None:
    """The runtime ``tensorrt`` also takes TensorRT for RTX, which has sections of its own here.

    Raises:
        Skipped: TensorRT itself is not installed.
    """
    if runtime == "tensorrt" and importlib.util.find_spec("tensorrt") is None:
        raise Skipped("tensorrt is not installed: pip install 'livesam[tensorrt]'")


def _span(device: str, name: str) -> AbstractContextManager[Any]:
    """Around each section: its own peak of memory, and on a GPU an NVTX range."""
    import torch

    gpu_torch.reset_memory(device)
    return torch.cuda.nvtx.range(name) if device.startswith("cuda") else contextlib.nullcontext()
