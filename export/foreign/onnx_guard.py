"""Looking into an ONNX file of unknown origin.

The file is parsed from bytes, so nothing else is opened. Before anything is made of it: no custom operators or
functions, no sub-graphs, every operator on a list, declared sizes equal to what is there, and external data only as a
plain file beside it. Parse untrusted files in a process of their own (``livesam.export.foreign.inspect`` does): the
parser itself is native code.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from livesam.engine.values.errors import ExportError

if TYPE_CHECKING:
    import onnx

MAX_BYTES = 2 * 2**30  # protobuf's own limit
MAX_NODES = 20_000  # a traced vit_h encoder has 6000
MAX_TENSORS = 10_000
MAX_DIMS = 16

# SAM's encoders and decoders as written here, by torch's two exporters, by simplifiers and by quantize_dynamic; no
# control flow, nothing that reads or keeps state.
_OPERATORS = (
    "Abs Add And ArgMax ArgMin Attention AveragePool BatchNormalization Cast CastLike Ceil Clip Concat "
    "Constant ConstantOfShape Conv ConvInteger ConvTranspose Cos CumSum DequantizeLinear Div "
    "DynamicQuantizeLinear Einsum Equal Erf Exp Expand EyeLike Flatten Floor Gather GatherElements "
    "GatherND Gelu Gemm GlobalAveragePool Greater GreaterOrEqual HardSigmoid HardSwish Identity "
    "InstanceNormalization LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax MatMul "
    "MatMulInteger Max MaxPool Min Mod Mul Neg NonZero Not OneHot Or PRelu Pad Pow QuantizeLinear Range "
    "Reciprocal ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Relu Reshape Resize Round "
    "ScatterElements ScatterND Shape Sigmoid Sign Sin Size Slice Softmax Softplus Split Sqrt Squeeze Sub "
    "Sum Tanh Tile TopK Transpose Trilu Unsqueeze Upsample Where Xor "
)
ALLOWED_OPS = frozenset(_OPERATORS.split())


def read_onnx(path: Path) -> onnx.ModelProto:
    """Parse and check; external data is not read.

    Raises:
        ExportError: one sentence on what is wrong with the file.
        OSError: it cannot be read.
    """
    import onnx

    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ExportError(f"{path} has {size} bytes, an ONNX file has at most {MAX_BYTES}")
    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except Exception as error:  # protobuf's DecodeError has no stable home
        raise ExportError(f"{path} is truncated or no ONNX file: get it again") from error
    if not all(isinstance(text, str) for text in _texts(model)):  # protobuf hands over as bytes what is no UTF-8
        raise ExportError(f"{path} has names that are no text: get it again")
    graph = model.graph
    if not model.ir_version or not graph.node:
        raise ExportError(f"{path} is no ONNX file, or one without a graph")
    if model.functions or model.training_info:
        raise ExportError(f"{path} brings functions of its own, which are not allowed")
    if len(graph.node) > MAX_NODES or len(graph.initializer) > MAX_TENSORS or graph.sparse_initializer:
        raise ExportError(
            f"{path} has {len(graph.node)} nodes and {len(graph.initializer)} tensors, allowed are {MAX_NODES} and "
            f"{MAX_TENSORS}, none of them sparse"
        )
    strange = sorted({_operator(node) for node in graph.node if not _allowed(node)})
    if strange:
        raise ExportError(f"{path} uses operators that are not allowed: {', '.join(strange[:3])}")
    _check_tensors(path, _tensors(graph))
    for value in (*graph.input, *graph.output):
        if value.type.WhichOneof("value") != "tensor_type" or not _is_known(value.type.tensor_type.elem_type):
            raise ExportError(f"{path} has the input or output {value.name[:80]!r}, which is no tensor of a known type")
    return model


def _texts(message: Any) -> Iterable[object]:
    """Every string of a message and of those in it."""
    for field, value in message.ListFields():
        values = [value] if isinstance(value, str | bytes) or hasattr(value, "ListFields") else value
        if field.type == field.TYPE_STRING:
            yield from values
        elif field.type == field.TYPE_MESSAGE:
            for one in values:
                yield from _texts(one)


def external_files(model: onnx.ModelProto) -> list[str]:
    """Names of the files in which a checked graph keeps its weights."""
    return sorted({entry["location"] for entry in map(_external, model.graph.initializer) if entry})


def _operator(node: onnx.NodeProto) -> str:
    return f"{node.domain}::{node.op_type}"[:80] if node.domain else str(node.op_type)[:80]


def _allowed(node: onnx.NodeProto) -> bool:
    import onnx

    subgraphs = {onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS}
    return (
        node.domain in ("", "ai.onnx")
        and node.op_type in ALLOWED_OPS
        and not any(attribute.type in subgraphs or attribute.HasField("g") for attribute in node.attribute)
    )


def _tensors(graph: onnx.GraphProto) -> Iterable[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _external(tensor: onnx.TensorProto) -> dict[str, str]:
    import onnx

    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        return {}
    return {"location": "", **{entry.key: entry.value for entry in tensor.external_data}}


def _is_known(kind: int) -> bool:
    import onnx

    try:
        onnx.helper.tensor_dtype_to_np_dtype(kind)
    except (KeyError, TypeError, ValueError):
        return False
    return True


def _check_tensors(path: Path, tensors: Iterable[onnx.TensorProto]) -> None:
    import onnx

    for tensor in tensors:
        name = tensor.name[:80] or "a constant"
        dims = list(tensor.dims)
        if len(dims) > MAX_DIMS or any(d < 0 for d in dims):
            raise ExportError(f"{path} declares {name} with the impossible shape {dims[:8]}")
        if not _is_known(tensor.data_type):
            raise ExportError(f"{path} declares {name} with an unknown type")
        item = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        count = math.prod(dims)
        external = _external(tensor)
        if external:
            _check_external(path, name, external, count * item)
        elif tensor.HasField("raw_data"):
            if len(tensor.raw_data) != count * item:
                raise ExportError(
                    f"{path} declares {name} with shape {dims[:8]}, which is {count * item} bytes, but holds "
                    f"{len(tensor.raw_data)}"
                )
        elif count > max(len(field) for field in _typed(tensor)) * 2:  # complex and 4-bit types pack differently
            raise ExportError(f"{path} declares {name} with shape {dims[:8]} but does not hold as many values")


def _typed(tensor: onnx.TensorProto) -> list[Any]:
    return [
        tensor.float_data,
        tensor.int32_data,
        tensor.int64_data,
        tensor.double_data,
        tensor.uint64_data,
        tensor.string_data,
    ]


def _check_external(path: Path, name: str, external: dict[str, str], expected: int) -> None:
    location = external["location"]
    plain = location and Path(location).name == location and location not in (".", "..") and "\\" not in location
    if not plain:
        raise ExportError(f"{path} keeps {name} in {location[:80]!r}, which is not a plain file beside it")
    data = path.parent / location
    if data.is_symlink() or not data.is_file():
        raise ExportError(f"{path} keeps {name} in {location!r}, which is missing or a link")
    status = data.stat()
    if status.st_nlink > 1:
        raise ExportError(f"{path} keeps {name} in {location!r}, which is a hard link to another file")
    try:
        offset, length = int(external.get("offset") or 0), int(external.get("length") or expected)
    except ValueError as error:
        raise ExportError(f"{path} places {name} at an offset that is no number") from error
    if offset < 0 or length != expected or offset + length > status.st_size:
        raise ExportError(f"{path} declares {name} with {expected} bytes, but {location!r} does not hold them")
