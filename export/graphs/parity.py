"""Comparing a written graph with PyTorch, before the file gets its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from livesam.engine.values.errors import ParityError

Array = npt.NDArray[Any]

# Largest and mean absolute difference, as a share of the reference's range (max - min). fp32: only the order of sums
# differs. fp16 keeps 11 bits and bf16 8, through 12 to 32 blocks. int8 is judged by its masks (``int8.py``): here
# it only must be the same network, and unrelated embeddings are 1e-1 apart on average.
TOLERANCE = {"fp32": (1e-4, 1e-5), "fp16": (2e-2, 2e-3), "bf16": (1e-1, 1.5e-2), "int8": (5e-1, 5e-2)}


@dataclass(frozen=True)
class Difference:
    """How far an output is from PyTorch's, as shares of the reference's range."""

    output: str
    max_share: float
    mean_share: float
    tolerance_max: float
    tolerance_mean: float

    @property
    def ok(self) -> bool:
        return self.max_share <= self.tolerance_max and self.mean_share <= self.tolerance_mean

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def difference(output: str, got: Array, want: Array, precision: str = "fp32") -> Difference:
    """Compare one output with the reference of the same shape.

    Raises:
        ParityError: shapes differ, or a value is not finite.
    """
    if got.shape != want.shape:
        raise ParityError(f"{output} has shape {got.shape}, PyTorch gives {want.shape}")
    if not np.isfinite(got).all():
        raise ParityError(f"{output} has values that are not finite in {precision}: use bf16 or fp32")
    span = float(want.max() - want.min()) or 1.0
    delta = np.abs(got.astype(np.float64) - want.astype(np.float64))
    maximum, mean = TOLERANCE[precision]
    return Difference(output, float(delta.max()) / span, float(delta.mean()) / span, maximum, mean)


def require(differences: list[Difference], what: str) -> None:
    """Raise unless all are within tolerance.

    Raises:
        ParityError: names the worst output and both figures.
    """
    bad = [d for d in differences if not d.ok]
    if bad:
        worst = max(bad, key=lambda d: d.max_share)
        raise ParityError(
            f"{what}: {worst.output} differs from PyTorch by {worst.max_share:.2e} of its range (allowed "
            f"{worst.tolerance_max:.0e}), {worst.mean_share:.2e} on average (allowed {worst.tolerance_mean:.0e}); "
            "nothing was written"
        )


def run_onnx(path: Path, feeds: Mapping[str, Array]) -> tuple[dict[str, Array], str]:
    """Run a graph on the CPU with ONNX Runtime, or with ONNX's own slow evaluator where that is not installed.

    The graph is loaded by path, because external data is found relative to it.

    Returns:
        The outputs by name, and the name of the checker that ran.
    """
    if find_spec("onnxruntime") is not None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        # One run does not earn a second copy of the weights: vit_b's check peaks at 3.5 GB for 3.9.
        options.enable_cpu_mem_arena = False
        options.add_session_config_entry("session.disable_prepacking", "1")
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        names = [o.name for o in session.get_outputs()]
        outputs = session.run(names, dict(feeds))
        return dict(zip(names, outputs, strict=True)), f"onnxruntime {onnxruntime.__version__}"
    import onnx
    from onnx.reference import ReferenceEvaluator

    model = onnx.load(str(path))
    overridable = {t.name for t in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in overridable]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    names = [o.name for o in model.graph.output]
    outputs = ReferenceEvaluator(model).run(names, dict(feeds))
    return dict(zip(names, outputs, strict=True)), f"onnx {onnx.__version__} reference evaluator"
