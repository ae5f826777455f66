"""``openvino``: the official decoder as OpenVINO's own files, ``NAME.xml`` and ``NAME.bin``.

On a processor with bf16, OpenVINO computes in bf16 unless told otherwise, inputs included, and bf16 has eight bits: the
size 299 becomes 300, and a mask of another size than the photo comes back. So the file marks the arithmetic on sizes
and coordinates as one that keeps float32. The rest is the user's choice, by ``INFERENCE_PRECISION_HINT``.
"""

from __future__ import annotations

import io
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
from livesam.engine.files.hashing import file_sha256
from livesam.engine.values.errors import ExportError, RuntimeUnavailable
from livesam.export.files.manifest import Manifest
from livesam.export.files.staging import staged
from livesam.export.formats.probes import Feeds, Run, parity_report, require_parity
from livesam.export.formats.sam_onnx import signature
from livesam.export.graphs.official_graph import OUTPUTS, Dialect, build_official
from livesam.export.graphs.parity import TOLERANCE
from livesam.export.graphs.precision import KEEP_FLOAT32

if TYPE_CHECKING:
    from livesam.export.formats.source import DecoderSource

# OpenVINO's mark for an operation that stays in float32, up to 2025 and since 2026; each ignores the other's.
KEEPS_FLOAT32 = (
    {"name": "precise", "version": "0"},
    {"name": "DisablePrecisionConversion", "version": "0", "value": "dynamic:f16,bf16"},
)


def export(source: DecoderSource, out: Path, *, single: bool = False, precision: str = "fp32") -> Manifest:
    """Write the official decoder, same inputs and outputs, as an OpenVINO model.

    Args:
        single: one mask by the official single-mask rule instead of four.
        precision: of the stored weights, ``fp32`` or ``fp16`` (half the size).

    Raises:
        ValueError: another precision, or ``out`` does not end in ``.xml``.
        RuntimeUnavailable: openvino is not installed.
        ExportError: OpenVINO cannot convert the graph, or the files could not be written.
        ParityError: the answers differ from PyTorch's; nothing was written.
    """
    if precision not in ("fp32", "fp16"):
        raise ValueError(f"OpenVINO files hold fp32 or fp16 weights, got {precision!r}")
    if out.suffix != ".xml":
        raise ValueError(f"an OpenVINO model is named NAME.xml, got {out.name!r}")
    try:
        import openvino
    except ImportError as error:
        raise RuntimeUnavailable("openvino is not installed: pip install 'livesam[cpu]'") from error
    dialect = Dialect(single=single)
    graph = build_official(source.decoder_state(), source.spec.image_size, dialect)
    with staged(out) as target:
        try:
            # The reader itself: `convert_model` around it loads a command line's worth of tools first.
            model = openvino.Core().read_model(io.BytesIO(graph.SerializeToString()))
            _name_only_the_contract(model)
            openvino.save_model(model, str(target), compress_to_fp16=precision == "fp16")
        except RuntimeError as error:
            raise ExportError(f"OpenVINO could not convert the decoder: {str(error).splitlines()[0]}") from error
        keep_float32(target)
        run, checker = openvino_runner(target)
        found = require_parity(run, source.sam, out.name, dialect, tolerance=TOLERANCE[precision])
        own = require_parity(
            _masks_of(openvino_runner(target, hint=None)[0]),
            source.sam,
            f"{out.name} without a precision hint",
            dialect,
            tolerance=TOLERANCE["bf16"],
        )
        inputs, outputs = signature(graph)
        manifest = source.manifest(
            "openvino",
            files={file.name: file_sha256(file) for file in sorted(target.parent.iterdir())},
            inputs=inputs,
            outputs=outputs,
            parity={**parity_report(found, checker), "without_hint": parity_report(own, checker)["differences"]},
            precision=precision,
            options={"single": single, "crop": False, "pads_itself": False},
        )
        manifest.write(target)
    return manifest


def _name_only_the_contract(model: Any) -> None:
    """Take the graph's inner names off: compiling joins them to those of outputs, and then any of them is told."""
    inner = [output for operation in model.get_ordered_ops() for output in operation.outputs()]
    for output in inner:
        if output.get_node().get_type_name() != "Parameter":
            output.get_tensor().set_names(set())
    for output, name in zip(model.outputs, OUTPUTS, strict=True):
        output.get_tensor().set_names({name})


def keep_float32(path: Path) -> None:
    """Mark the operations of a written model whose names ask for float32, in place."""
    tree = ElementTree.parse(path)
    for layer in tree.iterfind("./layers/layer"):
        if layer.get("name", "").startswith(KEEP_FLOAT32) and layer.get("type") != "Const":
            marks = layer.find("rt_info")
            if marks is None:
                marks = ElementTree.Element("rt_info")
                layer.insert(0 if layer.find("data") is None else 1, marks)
            for mark in KEEPS_FLOAT32:
                ElementTree.SubElement(marks, "attribute", mark)
    tree.write(path)


def _masks_of(run: Run) -> Run:
    """``run`` without the four IoUs, whose range is no measure of what bf16 may do to them."""
    return lambda feeds: {name: value for name, value in run(feeds).items() if name != "iou_predictions"}


def openvino_runner(path: Path, hint: str | None = "f32") -> tuple[Run, str]:
    """A function, for several threads in turn, that runs an OpenVINO model on the CPU, and what it runs on.

    Args:
        hint: number format; None for OpenVINO's own choice, which is bf16 where the processor has it.
    """
    import openvino

    config = {} if hint is None else {"INFERENCE_PRECISION_HINT": hint}
    compiled = openvino.Core().compile_model(str(path), "CPU", config)
    names = [output.get_any_name() for output in compiled.outputs]

    turn = Lock()  # with two at once, each copying its inputs, OpenVINO 2026.4 hung in one of ten exports

    def run(feeds: Feeds) -> dict[str, Any]:
        with turn:
            answers = compiled.create_infer_request().infer(dict(feeds))
        return {name: np.array(answers[name]) for name in names}

    return run, f"openvino {openvino.__version__.split('-')[0]}"
