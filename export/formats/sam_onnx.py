"""``sam-onnx``: the official ONNX decoder, with four masks or one, in float32 or with uint8 weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from livesam.engine.files.hashing import file_sha256
from livesam.export.files.manifest import Manifest, Tensor
from livesam.export.files.staging import staged
from livesam.export.formats.probes import onnx_runner, parity_report, require_parity
from livesam.export.formats.quantised import check_quantised, quantise
from livesam.export.graphs.official_graph import MIN_OPSET, Dialect, build_official

if TYPE_CHECKING:
    import onnx
    from livesam.export.formats.source import DecoderSource


def export(
    source: DecoderSource, out: Path, *, single: bool = False, quantised: bool = False, opset: int = MIN_OPSET
) -> Manifest:
    """Write the official decoder graph.

    Args:
        single: return one mask by the official single-mask rule, as the official web demo wants it; else four, token 0
            first.
        quantised: uint8 weights for the linear layers (a third of the size); answers then differ visibly from float32,
            within the limits of ``livesam.export.formats.quantised``.
        opset: ONNX operator set.

    Raises:
        ValueError: the opset is older than 17.
        ExportError: the file could not be written, or quantisation needs onnxruntime.
        ParityError: the answers differ from PyTorch's; nothing was written.
    """
    return write_graph(source, out, Dialect(single=single), "sam-onnx", quantised=quantised, opset=opset)


def write_graph(
    source: DecoderSource,
    out: Path,
    dialect: Dialect,
    format_name: str,
    *,
    quantised: bool = False,
    opset: int = MIN_OPSET,
    name: str | None = None,
) -> Manifest:
    """Build, write beside, compare on all kinds of prompts, rename; for every format that is such a graph."""
    model = build_official(source.decoder_state(), source.spec.image_size, dialect, opset=opset)
    label = name or out.name
    with staged(out) as target:
        if quantised:
            quantise(model, target)
            parity = check_quantised(target, model, source, label, dialect)
        else:
            target.write_bytes(model.SerializeToString())
            run, checker = onnx_runner(target)
            parity = parity_report(require_parity(run, source.sam, label, dialect), checker)
        inputs, outputs = signature(model)
        manifest = source.manifest(
            format_name,
            files={out.name: file_sha256(target)},
            inputs=inputs,
            outputs=outputs,
            parity=parity,
            precision="quint8" if quantised else "fp32",
            opset=opset,
            options={
                "single": dialect.single,
                "crop": dialect.crop,
                "pads_itself": dialect.pad,
            },
        )
        manifest.write(target)
    return manifest


def signature(model: onnx.ModelProto) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Inputs and outputs of a graph, in its order."""
    import onnx

    def tensor(value: onnx.ValueInfoProto) -> Tensor:
        kind = value.type.tensor_type
        dims = tuple(d.dim_param or int(d.dim_value) for d in kind.shape.dim)
        return Tensor(str(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)), dims)

    initializers = {tensor.name for tensor in model.graph.initializer}
    return (
        {value.name: tensor(value) for value in model.graph.input if value.name not in initializers},
        {value.name: tensor(value) for value in model.graph.output},
    )
