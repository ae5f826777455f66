"""What a borrowed GPU should be asked, in one run: ``python -m livesam.benchmarks.gpu --out FILE``.

The most valuable questions come first: whether answers are right, then encoding, clicks, many prompts, swaps, learning
and batches, for nano and vit_b, beside the official predictor; then vit_h and vit_t, and what has to be compiled first.
What does not fit into --limit is skipped and says so; the file is whole after each section.

``--device cpu --limit 30 --quick`` runs the same code where there is no GPU, for nano.
``python -m livesam.benchmarks.reports.gpu_table FILE`` makes a table of the report.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

from livesam.benchmarks.gpu.memory import device_facts, reset_memory
from livesam.benchmarks.gpu.model_bench import QUICK, Effort, ModelBench
from livesam.benchmarks.gpu.plan import plan
from livesam.benchmarks.gpu.power import PowerMeter
from livesam.benchmarks.gpu.sections import SectionRunner
from livesam.benchmarks.reports.environment import environment
from livesam.engine.models.spec import MODELS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sections that fit and write the report; 2 where there is no such device."""
    started = time.perf_counter()
    options = _options(arguments)
    missing = _missing_device(options.device)
    if missing:
        sys.stderr.write(f"livesam.benchmarks.gpu: {missing}\n")
        return 2
    meter = PowerMeter() if options.power else None
    with tempfile.TemporaryDirectory(prefix="livesam-gpu-") as name:
        folder = Path(name)
        effort = QUICK if options.quick else Effort()
        whole, encode_only = (
            [ModelBench(model, options.device, folder, effort, quick=options.quick) for model in models]
            for models in (options.models, options.encode_only)
        )
        sections = plan(whole, encode_only, options.device, quick=options.quick, others=options.all_runtimes)
        if options.only:
            sections = [one for one in sections if any(word in one.name for word in options.only)]
        head = {
            "environment": environment().to_json(),
            "device": device_facts(options.device),
            "quick": options.quick,
            "limit_s": options.limit,
            "not_run": {"segment_anything_fast": "it is not on the package index, and nothing of it was copied"},
        }
        span = partial(_span, options.device)
        runner = SectionRunner(head, options.limit, options.out, progress=_say, span=span, started=started)
        with meter or contextlib.nullcontext():
            runner.run(sections)
        if meter is not None:
            runner.results["power"] = meter.to_json()
            runner.run([])
        for bench in whole:
            bench.close()
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m livesam.benchmarks.gpu", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    names = list(MODELS)
    parser.add_argument("--out", type=Path, required=True, help="the report, JSON")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--models", nargs="+", choices=names, help="all sections of these; nano and, on a GPU, vit_b")
    parser.add_argument("--encode-only", nargs="*", choices=names[1:], help="these encoders too; on a GPU vit_h, vit_t")
    parser.add_argument("--only", nargs="+", metavar="WORD", help="only sections with such a word in their name")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds in all; what does not fit is skipped")
    parser.add_argument("--all-runtimes", action="store_true", help="TensorRT and ONNX Runtime as well, at the end")
    parser.add_argument("--power", action="store_true", help="also measure power, through nvidia-ml-py")
    parser.add_argument("--quick", action="store_true", help="tiny measurements, to try the script itself")
    found = parser.parse_args(arguments)
    gpu = found.device.startswith("cuda")
    found.models = found.models or (["nano", "vit_b"] if gpu else ["nano"])
    found.encode_only = found.encode_only if found.encode_only is not None else ["vit_h", "vit_t"] if gpu else []
    return found


def _missing_device(device: str) -> str | None:
    import torch

    if device.startswith("cuda") and not torch.cuda.is_available():
        return "PyTorch sees no NVIDIA GPU here; --device cpu --quick tries the script without one"
    return None


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _span(device: str, name: str) -> AbstractContextManager[Any]:
    """Around each section: its own peak of memory, and on a GPU an NVTX range."""
    import torch

    reset_memory(device)
    return torch.cuda.nvtx.range(name) if device.startswith("cuda") else contextlib.nullcontext()
