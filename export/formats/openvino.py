"""``openvino``: the official decoder as OpenVINO's own files, ``NAME.xml`` and ``NAME.bin``."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from livesam.engine.files.hashing import file_sha256
from livesam.engine.values.errors import ExportError, RuntimeUnavailable
from livesam.export.files.manifest import Manifest
from livesam.export.files.staging import staged
from livesam.export.formats.probes import Feeds, Run, parity_report, require_parity
from livesam.export.formats.sam_onnx import signature
from livesam.export.graphs.official_graph import Dialect, build_official
from livesam.export.graphs.parity import TOLERANCE

if TYPE_CHECKING:
    from livesam.export.formats.source import DecoderSource


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
            openvino.save_model(model, str(target), compress_to_fp16=precision == "fp16")
        except RuntimeError as error:
            raise ExportError(f"OpenVINO could not convert the decoder: {str(error).splitlines()[0]}") from error
        run, checker = openvino_runner(target)
        found = require_parity(run, source.sam, out.name, dialect, tolerance=TOLERANCE[precision])
        inputs, outputs = signature(graph)
        manifest = source.manifest(
            "openvino",
            files={file.name: file_sha256(file) for file in sorted(target.parent.iterdir())},
            inputs=inputs,
            outputs=outputs,
            parity=parity_report(found, checker),
            precision=precision,
            options={"single": single, "crop": False, "pads_itself": False, "frame": source.spec.image_size},
        )
        manifest.write(target)
    return manifest


def openvino_runner(path: Path) -> tuple[Run, str]:
    """A function, for several threads, that runs an OpenVINO model on the CPU in float32, and what it runs on."""
    import openvino

    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    names = [output.get_any_name() for output in compiled.outputs]

    def run(feeds: Feeds) -> dict[str, Any]:
        answers = compiled.create_infer_request().infer(dict(feeds))
        return {name: np.array(answers[name]) for name in names}

    return run, f"openvino {openvino.__version__.split('-')[0]}"
