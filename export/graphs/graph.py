"""A small builder of ONNX graphs: exact initializer names, no shape arithmetic left over from tracing.

Graphs of the decoder and of SAM's ViT are written with it instead of traced: a trace renames transposed weights, leaves
shape sub-graphs behind that runtimes cannot fold, and runs a 6-TFLOP model once only to record it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from livesam.export.graphs.precision import KEEP_FLOAT32
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[Any]
Dim = int | str


class GraphBuilder:
    """Collects nodes and float32 initializers; every method returns the name of the value that it adds."""

    def __init__(self, name: str, opset: int) -> None:
        self.name = name
        self.opset = opset
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._count = 0
        self._prefix = ""

    @contextmanager
    def float32(self) -> Iterator[None]:
        """Nodes added inside stay float32 when the graph is converted to a lower precision."""
        self._prefix = KEEP_FLOAT32
        yield
        self._prefix = ""

    def input(self, name: str, shape: Sequence[Dim], elem_type: int = TensorProto.FLOAT) -> str:
        self._inputs.append(helper.make_tensor_value_info(name, elem_type, list(shape)))
        return name

    def output(self, name: str, value: str, shape: Sequence[Dim], elem_type: int = TensorProto.FLOAT) -> None:
        """Declare ``value`` as the graph's output ``name``."""
        self._nodes.append(helper.make_node("Identity", [value], [name], name=f"output_{name}"))
        self._outputs.append(helper.make_tensor_value_info(name, elem_type, list(shape)))

    def weight(self, name: str, array: Array) -> str:
        """An initializer under its own name; the same name twice is the same tensor."""
        if name not in self._initializers:
            self._initializers[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def const(self, array: npt.ArrayLike, dtype: type[np.generic] = np.float32) -> str:
        """An anonymous initializer; equal constants are stored once."""
        value = np.ascontiguousarray(np.asarray(array, dtype=dtype))
        key = (value.dtype.str, np.shape(array), value.tobytes())
        if key not in self._constants:
            name = f"const_{len(self._constants)}"
            self._initializers[name] = numpy_helper.from_array(value.reshape(np.shape(array)), name)
            self._constants[key] = name
        return self._constants[key]

    def ints(self, values: Sequence[int]) -> str:
        return self.const(np.asarray(values), np.int64)

    def op(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output."""
        return self.multi(op_type, 1, *inputs, **attributes)[0]

    def multi(self, op_type: str, outputs: int, *inputs: str, **attributes: Any) -> list[str]:
        """Add a node with several outputs."""
        self._count += 1
        stem = f"{self._prefix}{op_type.lower()}_{self._count}"
        names = [stem if outputs == 1 else f"{stem}_{i}" for i in range(outputs)]
        self._nodes.append(helper.make_node(op_type, list(inputs), names, name=stem, **attributes))
        return names

    def add(self, a: str, b: str) -> str:
        return self.op("Add", a, b)

    def mul(self, a: str, b: str) -> str:
        return self.op("Mul", a, b)

    def matmul(self, a: str, b: str) -> str:
        return self.op("MatMul", a, b)

    def reshape(self, x: str, shape: Sequence[int]) -> str:
        """Reshape; 0 keeps a dimension, -1 infers one."""
        return self.op("Reshape", x, self.ints(shape))

    def transpose(self, x: str, perm: Sequence[int]) -> str:
        return self.op("Transpose", x, perm=list(perm))

    def reduce_max(self, x: str, axes: Sequence[int]) -> str:
        """Over ``axes``, which are dropped; they became an input in opset 18."""
        if self.opset < 18:
            return self.op("ReduceMax", x, axes=list(axes), keepdims=0)
        return self.op("ReduceMax", x, self.ints(axes), keepdims=0)

    def slice(self, x: str, axis: int, start: int, end: int) -> str:
        return self.op("Slice", x, self.ints([start]), self.ints([end]), self.ints([axis]))

    def concat(self, values: Sequence[str], axis: int) -> str:
        return self.op("Concat", *values, axis=axis)

    def layer_norm(self, x: str, weight: str, bias: str, eps: float) -> str:
        """Over the last axis. One LayerNormalization node (opset 17): runtimes accumulate it in float32."""
        return self.op("LayerNormalization", x, weight, bias, axis=-1, epsilon=eps)

    def gelu(self, x: str) -> str:
        """The exact GELU, x * 0.5 * (1 + erf(x / sqrt 2)): a pattern that runtimes fuse (Gelu itself is opset 20)."""
        erf = self.op("Erf", self.op("Div", x, self.const(2.0**0.5)))
        return self.mul(self.mul(x, self.add(erf, self.const(1.0))), self.const(0.5))

    def model(self, weights_as_inputs: Sequence[str] = ()) -> onnx.ModelProto:
        """The finished model; ``weights_as_inputs`` names initializers that a caller may override at run time."""
        overridable = [
            helper.make_tensor_value_info(n, self._initializers[n].data_type, list(self._initializers[n].dims))
            for n in weights_as_inputs
        ]
        graph = helper.make_graph(
            self._nodes,
            self.name,
            [*self._inputs, *overridable],
            self._outputs,
            list(self._initializers.values()),
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], producer_name="livesam")
        # The lowest IR version that has this opset, so that older runtimes still load the file.
        model.ir_version = max(8, helper.find_min_ir_version_for([helper.make_opsetid("", self.opset)]))
        return model
