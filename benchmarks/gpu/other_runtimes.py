"""TensorRT, TensorRT for RTX and ONNX Runtime on a device, where they are installed."""

from __future__ import annotations

import contextlib
import importlib.util
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from livesam.benchmarks.gpu import ours
from livesam.benchmarks.gpu.answers import mask_iou
from livesam.benchmarks.gpu.device_clock import time_calls
from livesam.benchmarks.gpu.model_bench import ModelBench
from livesam.benchmarks.gpu.sections import Section, Skipped
from livesam.engine.files.hashing import image_hash
from livesam.engine.values.errors import RuntimeUnavailable
from livesam.engine.values.prompt import Click, Prompt

if TYPE_CHECKING:
    from livesam.export.engines import Swap

RUNTIMES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("onnxruntime", ("fp32", "fp16")),
    ("tensorrt", ("bf16", "fp16")),
    ("tensorrt_rtx", ("bf16", "fp16")),
)


def sections(bench: ModelBench) -> list[Section]:
    """Encoder by precision, then decoder and swap by each way to swap. What is not installed says so."""
    found = []
    for runtime, precisions in RUNTIMES:
        for precision in precisions:
            name = f"{bench.model}/encoder/{runtime}/{precision}"
            found.append(Section(name, partial(_encoder, bench, runtime, precision)))
        ways: tuple[Swap, ...] = ("inputs", "refit") if runtime.startswith("tensorrt") else ("inputs",)
        for way in ways:
            name = runtime if way == "inputs" else f"{runtime}/{way}"
            found.append(Section(f"{bench.model}/decoder/{name}", partial(_decoder, bench, runtime, way)))
    return found


def _encoder(bench: ModelBench, runtime: str, precision: str) -> dict[str, Any]:
    """Latency from 1 Mpx in host memory to the embedding, and how far that is from the session's on PyTorch."""
    from livesam.export.opening import open_encoder

    _require(runtime)
    started = time.perf_counter()
    try:
        engine = open_encoder(bench.opening(runtime, precision))
    except RuntimeUnavailable as error:
        raise Skipped(str(error)) from None
    try:
        open_s, digest = round(time.perf_counter() - started, 2), image_hash(bench.small)
        got = engine.encode(bench.small, digest).numpy()
        right = bench.session.encoder.encoder.encode(bench.small, digest).numpy()
        timing = time_calls(lambda: engine.encode(bench.small, digest), bench.device, seconds=bench.effort.seconds)
        off = float(np.linalg.norm(got - right) / np.linalg.norm(right))
        return {"runtime": engine.runtime, "open_s": open_s, "embedding_error": round(off, 6), **timing.to_json()}
    finally:
        engine.close()


def _decoder(bench: ModelBench, runtime: str, way: Swap) -> dict[str, Any]:
    """One click and many prompts, the mask's IoU with the session's on PyTorch, and swaps under clicks."""
    from livesam.export.opening import open_session

    _require(runtime)
    try:
        session = open_session(bench.opening(runtime), swap=way)
    except RuntimeUnavailable as error:
        raise Skipped(str(error)) from None
    with contextlib.closing(session):
        height, width = bench.small.shape[:2]
        points = [Prompt((Click(x, height / 2),)) for x in np.linspace(1, width - 1, bench.effort.prompts[-1])]
        for one in (session, bench.session):
            one.set_image(bench.small)
        seconds = bench.effort.seconds
        alike = mask_iou(session.predict(points[-1]).mask, bench.session.predict(points[-1]).mask)
        found = {
            "runtime": session.runtime,
            "mask_iou": round(alike, 5),
            "click": time_calls(lambda: session.predict(points[0]), bench.device, seconds=seconds).to_json(),
            "prompts": len(points),
            "many": time_calls(lambda: session.predict_many(points), bench.device, seconds=seconds).to_json(),
        }
        return found | {"swap": ours.swap_of(session, bench)}


def _require(runtime: str) -> None:
    """The runtime ``tensorrt`` also takes TensorRT for RTX, which has sections of its own here.

    Raises:
        Skipped: TensorRT itself is not installed.
    """
    if runtime == "tensorrt" and importlib.util.find_spec("tensorrt") is None:
        raise Skipped("tensorrt is not installed: pip install 'livesam[tensorrt]'")
