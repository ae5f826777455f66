"""Precision written into a graph: TensorRT 11 takes types from there only, and everyone else reads them there too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from livesam.export.files.staging import save_graph
from onnx import TensorProto, helper, numpy_helper

PRECISIONS = ("fp32", "fp16", "bf16")
_ELEM = {"fp32": TensorProto.FLOAT, "fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
# Convolutions take bfloat16 from this opset on; everything else that we write does since 13 or 17.
BF16_CONV_OPSET = 22
_CONVOLUTIONS = {"Conv", "ConvTranspose"}
# Nodes whose name begins like this stay float32.
KEEP_FLOAT32 = "fp32_"


def require_precision(precision: str) -> str:
    """``precision`` itself.

    Raises:
        ValueError: it is not one of ``fp32``, ``fp16``, ``bf16``.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    return precision


def _low(array: np.ndarray[tuple[int, ...], np.dtype[np.float32]], name: str, elem: int) -> onnx.TensorProto:
    if elem == TensorProto.FLOAT16:
        with np.errstate(over="raise"):
            return numpy_helper.from_array(array.astype(np.float16), name)
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    rounded = ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)  # to nearest, ties to even
    tensor = TensorProto(name=name, data_type=TensorProto.BFLOAT16, dims=array.shape)
    tensor.raw_data = rounded.tobytes()
    return tensor


def convert(model: onnx.ModelProto, precision: str) -> onnx.ModelProto:
    """Give a float32 graph low-precision weights and arithmetic; its data inputs and outputs stay float32.

    Overridable initializers change type together with their graph input. Nodes named ``fp32_...`` stay float32 (angles
    of point coordinates, normalisation of pixels). LayerNormalization still accumulates in float32 (``stash_type`` 1).
    ``model`` is changed in place.

    Raises:
        ValueError: the precision is unknown.
    """
    elem = _ELEM[require_precision(precision)]
    if precision == "fp32":
        return model
    graph = model.graph
    _constants_to_initializers(graph)
    wide = {node.name for node in graph.node if node.name.startswith(KEEP_FLOAT32)}
    duplicates = _convert_initializers(graph, wide, elem)
    initializers = {t.name: t.data_type for t in graph.initializer}
    for value in graph.input:
        if value.name in initializers:
            value.type.tensor_type.elem_type = initializers[value.name]
    # Float32 values that low-precision nodes must not see: data inputs, and what float32 nodes give.
    floats = {
        i.name for i in graph.input if i.name not in initializers and i.type.tensor_type.elem_type == TensorProto.FLOAT
    }
    nodes = _lowered(graph, wide, floats, duplicates, elem)
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]
    if precision == "bf16" and any(n.op_type in _CONVOLUTIONS for n in graph.node):
        model.opset_import[0].version = max(BF16_CONV_OPSET, model.opset_import[0].version)
        model.ir_version = max(model.ir_version, helper.find_min_ir_version_for(list(model.opset_import)))
    return model


def _lowered(
    graph: onnx.GraphProto, wide: set[str], floats: set[str], duplicates: set[str], elem: int
) -> list[onnx.NodeProto]:
    """The nodes with low-precision inputs, and the casts between them and what stays float32.

    Args:
        wide: names of nodes that stay float32; what they give is added to ``floats``.
        floats: values that low-precision nodes must not see.
        duplicates: initializers that have a low-precision copy ``NAME_low``.
    """
    outputs = {o.name for o in graph.output}
    nodes: list[onnx.NodeProto] = []
    lowered: set[str] = set()
    for source in graph.node:
        node = onnx.NodeProto()
        node.CopyFrom(source)
        if node.name in wide:
            floats |= set(node.output)
            nodes.append(node)
            continue
        for i, name in enumerate(node.input):
            if name in duplicates:
                node.input[i] = f"{name}_low"
            elif name in floats and node.op_type not in {"Shape", "Cast"}:
                if name not in lowered:
                    lowered.add(name)
                    nodes.append(helper.make_node("Cast", [name], [f"{name}_low"], name=f"cast_{name}", to=elem))
                node.input[i] = f"{name}_low"
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = elem
            if attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == TensorProto.FLOAT:
                attribute.t.CopyFrom(_low(numpy_helper.to_array(attribute.t), attribute.t.name, elem))
        nodes.append(node)
        for i, name in enumerate(node.output):
            if name in outputs:
                node.output[i] = f"{name}_low"
                nodes.append(
                    helper.make_node("Cast", [f"{name}_low"], [name], name=f"cast_{name}", to=TensorProto.FLOAT)
                )
    return nodes


def _constants_to_initializers(graph: onnx.GraphProto) -> None:
    """Tracing writes constants as nodes; as initializers their uses can be told apart."""
    nodes = []
    for node in graph.node:
        if node.op_type == "Constant" and len(node.attribute) == 1 and node.attribute[0].name == "value":
            graph.initializer.add().CopyFrom(node.attribute[0].t)
            graph.initializer[-1].name = node.output[0]
        else:
            nodes.append(node)
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)


def _convert_initializers(graph: onnx.GraphProto, wide: set[str], elem: int) -> set[str]:
    """Convert in place; names of those that float32 nodes use too, which get a low-precision copy ``NAME_low``."""
    kept: set[str] = set()
    wanted: set[str] = set()
    for node in graph.node:
        for i, name in enumerate(node.input):
            # The scales of a Resize are float32 in every precision.
            (kept if node.name in wide or (node.op_type == "Resize" and i) else wanted).add(name)
    copies = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        if tensor.name not in kept:
            tensor.CopyFrom(_low(numpy_helper.to_array(tensor), tensor.name, elem))
        elif tensor.name in wanted:
            copies.append(_low(numpy_helper.to_array(tensor), f"{tensor.name}_low", elem))
    graph.initializer.extend(copies)
    return {t.name.removesuffix("_low") for t in copies}


def checkable(path: Path, precision: str) -> tuple[Path, str]:
    """A graph that can be run on a CPU to check ``path``, and in words what such a check covers.

    CPU kernels exist for fp32 only. ONNX Runtime runs an fp16 graph by casting around each of its nodes, which rounds
    every intermediate as fp16 does. For bf16 there is no such path: a twin of the graph with the rounded weights in
    float32 arithmetic is checked instead.
    """
    if precision == "fp32":
        return path, "the file itself"
    if precision == "fp16":
        return path, "the file itself; the CPU rounds every intermediate to fp16, sums inside a node are float32"
    model = onnx.load(str(path))
    graph = model.graph
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.BFLOAT16:
            bits = np.frombuffer(tensor.raw_data, np.uint16).astype(np.uint32) << 16
            tensor.CopyFrom(numpy_helper.from_array(bits.view(np.float32).reshape(tuple(tensor.dims)), tensor.name))
    names = {t.name for t in graph.initializer}
    for value in graph.input:
        if value.name in names and value.type.tensor_type.elem_type == TensorProto.BFLOAT16:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.BFLOAT16:
                attribute.i = TensorProto.FLOAT
    twin = path.with_name(f"{path.stem}.twin.onnx")
    save_graph(model, twin)
    return twin, "a twin of the file: its bf16-rounded weights in float32 arithmetic (no CPU kernels for bf16)"
