"""JAX's primitives on elements and shapes, in ONNX: one function for each."""

from collections.abc import Sequence
from typing import Any

from jax import lax
from onnx import TensorProto

from stackgan_jax.pretrained.to_onnx.graph import TYPES, Graph, Value
from stackgan_jax.pretrained.to_onnx.rules import integers, require, reshaped, rule

END = 2**63 - 1  # Of an axis, whatever its size.


def _shape(graph: Graph, sizes: Sequence[Any]) -> Value:
    """Sizes, of which the first may be the batch's, as operators take them."""
    first, *others = sizes
    if all(isinstance(size, int) for size in sizes):
        return integers(*sizes)
    require(str(first).isidentifier() and all(isinstance(size, int) for size in others))
    return graph.add("Concat", graph.batch(), integers(*others), axis=0)[0]


@rule("name", "copy", "copy_p", "stop_gradient")
def _nothing(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Sequence[Value]:
    return inputs


@rule("convert_element_type")
def _convert(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Sequence[Value]:
    before, after = (TYPES[var.aval.dtype] for var in (*equation.invars, *equation.outvars))
    return inputs if before == after else graph.add("Cast", *inputs, to=after)


@rule("square")
def _square(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Sequence[Value]:
    return graph.add("Mul", *inputs, *inputs)


@rule("rsqrt")
def _rsqrt(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Sequence[Value]:
    return graph.add("Reciprocal", *graph.add("Sqrt", *inputs))


@rule("round")
def _round(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Sequence[Value]:
    require(equation.params["rounding_method"] == lax.RoundingMethod.TO_NEAREST_EVEN)
    return graph.add("Round", *inputs)


@rule("select_n")
def _select(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Sequence[Value]:
    condition, otherwise, chosen = inputs
    require(equation.invars[0].aval.dtype == bool)
    return graph.add("Where", condition, chosen, otherwise)


@rule("reduce_sum")
def _sum(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Sequence[Value]:
    return graph.add("ReduceSum", *inputs, integers(*equation.params["axes"]), keepdims=0)


@rule("reshape", "squeeze", "expand_dims")
def _reshape(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Sequence[Value]:
    return reshaped(graph, inputs[0], equation.outvars[0].aval.shape)


@rule("transpose")
def _transpose(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Sequence[Value]:
    return graph.add("Transpose", *inputs, perm=equation.params["permutation"])


@rule("broadcast_in_dim")
def _broadcast(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Sequence[Value]:
    (before,), after = (var.aval.shape for var in equation.invars), equation.params["shape"]
    spread = [1] * len(after)
    for size, axis in zip(before, equation.params["broadcast_dimensions"], strict=True):
        spread[axis] = size
    value = inputs[0] if tuple(spread) == before else reshaped(graph, inputs[0], spread)[0]
    if tuple(spread) == tuple(after):
        return [value]
    # A size of 1 leaves an axis as it is.
    sizes = [1 if old == new else new for old, new in zip(spread, after, strict=True)]
    return graph.add("Expand", value, _shape(graph, sizes))


@rule("concatenate")
def _concatenate(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Sequence[Value]:
    axis = equation.params["dimension"]
    sizes = [var.aval.shape[axis] for var in equation.invars]
    filled = [value for value, size in zip(inputs, sizes, strict=True) if size != 0]
    return graph.add("Concat", *filled, axis=axis)


@rule("stack")
def _stack(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Sequence[Value]:
    axis = equation.params["axis"]
    rows = [graph.add("Unsqueeze", value, integers(axis))[0] for value in inputs]
    return graph.add("Concat", *rows, axis=axis)


@rule("split")
def _split(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Sequence[Value]:
    sizes, axis = equation.params["sizes"], equation.params["axis"]
    return graph.add("Split", *inputs, integers(*sizes), outputs=len(sizes), axis=axis)


@rule("slice")
def _slice(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Sequence[Value]:
    starts, ends, steps = (
        equation.params[name] for name in ("start_indices", "limit_indices", "strides")
    )
    shape = equation.invars[0].aval.shape
    steps = steps or [1] * len(shape)
    cut = [i for i, size in enumerate(shape) if (starts[i], ends[i], steps[i]) != (0, size, 1)]
    bounds = [integers(*(_bound(each[i], shape[i]) for i in cut)) for each in (starts, ends)]
    return graph.add("Slice", *inputs, *bounds, integers(*cut), integers(*(steps[i] for i in cut)))


def _bound(place: Any, size: Any) -> Any:
    """A place on an axis of symbolic size, counted from the end as operators take it."""
    return place if isinstance(place, int) else place - size or END


@rule("gather")
def _gather(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Sequence[Value]:
    """Whole slices of the operand along one axis: at one place, or at a table of them."""
    operand, places = (var.aval.shape for var in equation.invars)
    numbers, sizes = equation.params["dimension_numbers"], equation.params["slice_sizes"]
    axis, *others = numbers.start_index_map
    rank = len(places) - 1
    whole = (*operand[:axis], 1, *operand[axis + 1 :])
    offsets = (*range(axis), *range(axis + rank, len(operand) - 1 + rank))
    require(not others and tuple(sizes) == whole and numbers.offset_dims == offsets)
    require(numbers.collapsed_slice_dims == (axis,))
    indices = graph.add("Cast", *reshaped(graph, inputs[1], places[:-1]), to=TensorProto.INT64)
    return graph.add("Gather", inputs[0], *indices, axis=axis)
