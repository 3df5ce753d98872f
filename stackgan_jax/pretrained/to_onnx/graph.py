"""An ONNX graph under construction."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 18
IR_VERSION = 8  # The first with this opset; older runtimes read no newer one.

# ONNX Runtime has no bfloat16 on CPUs, so such networks compute in float32.
TYPES = {
    np.dtype(jnp.bfloat16): TensorProto.FLOAT,
    np.dtype(np.float32): TensorProto.FLOAT,
    np.dtype(np.int32): TensorProto.INT32,
    np.dtype(np.uint8): TensorProto.UINT8,
    np.dtype(np.bool_): TensorProto.BOOL,
}

Value = str | np.ndarray  # The name of what a node computes, or a constant.
Arrays = Mapping[str, jax.ShapeDtypeStruct]


class Graph:
    """Nodes and constants, each with a name that is a number.

    Attributes:
        inputs: shape and type by name; the first size of each is the batch's, which is symbolic.
        nodes: in the order of their computation.
        constants: that the nodes read.
    """

    def __init__(self, inputs: Arrays) -> None:
        """A graph without nodes."""
        self.inputs = inputs
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._known: dict[Any, str] = {}  # The names of constants, by their contents.
        self._names = 0

    def add(self, operator: str, *inputs: Value, outputs: int = 1, **attributes: Any) -> list[str]:
        """Adds a node.

        Args:
            operator: of ONNX.
            inputs: names or constants.
            outputs: how many there are.
            attributes: of the operator.

        Returns:
            The names of the outputs.
        """
        inputs = [self._name(value) for value in inputs]
        results = [self._new_name() for _ in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, results, **attributes))
        return results

    def batch(self) -> str:
        """The size of the batch, `[1]` int64."""
        (size,) = self.add("Shape", next(iter(self.inputs)), start=0, end=1)
        return size

    def model(self, outputs: Arrays, results: Sequence[Value]) -> onnx.ModelProto:
        """The finished model.

        Args:
            outputs: shape and type by name.
            results: their values.
        """
        for output, result in zip(outputs, results, strict=True):
            self.nodes.append(helper.make_node("Identity", [self._name(result)], [output]))
        graph = helper.make_graph(
            self.nodes, "draw", _described(self.inputs), _described(outputs), self.constants
        )
        opset = helper.make_opsetid("", OPSET)
        return helper.make_model(
            graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="stackgan_jax"
        )

    def _name(self, value: Value) -> str:
        """The name of a value; a constant becomes part of the graph."""
        if isinstance(value, str):
            return value
        value = value.astype(np.float32) if value.dtype == jnp.bfloat16 else value
        # The recurrence of the text encoder reads its weights at every step.
        digest = hashlib.sha256(value.tobytes()).digest()
        key = (value.dtype, value.shape, digest)
        if key not in self._known:
            self._known[key] = self._new_name()
            array = np.ascontiguousarray(value).reshape(value.shape)
            self.constants.append(numpy_helper.from_array(array, self._known[key]))
        return self._known[key]

    def _new_name(self) -> str:
        self._names += 1
        return str(self._names)


def _described(arrays: Arrays) -> list[onnx.ValueInfoProto]:
    """Arrays as ONNX describes them; a symbolic size is given by its name."""
    return [
        helper.make_tensor_value_info(
            name,
            TYPES[array.dtype],
            [size if isinstance(size, int) else str(size) for size in array.shape],
        )
        for name, array in arrays.items()
    ]
