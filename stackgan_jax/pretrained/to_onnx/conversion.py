"""From a function to an ONNX model, by the equations that JAX traces.

What depends on constants alone is computed here, by JAX. Calls are written out where they stand. A
function that has a form for each platform is taken in the form for a platform without a name.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import onnx
from jax.extend.core import Literal

from stackgan_jax.pretrained.to_onnx import elements, products  # noqa: F401  They fill the table.
from stackgan_jax.pretrained.to_onnx.graph import Graph, Value
from stackgan_jax.pretrained.to_onnx.rules import NoForm, outputs_of
from stackgan_jax.runtime.errors import UserError

# Primitives that call a function once, and the parameter that holds it.
_CALLS = {
    "closed_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "jit": "jaxpr",
    "remat2": "jaxpr",
}


def convert(
    function: Callable[..., Sequence[jax.Array]],
    inputs: Mapping[str, jax.ShapeDtypeStruct],
    outputs: Sequence[str],
) -> onnx.ModelProto:
    """Converts a function of arrays.

    Args:
        function: of positional arguments.
        inputs: name, shape and type of each argument; the first size may be symbolic.
        outputs: the names of the results.

    Raises:
        UserError: the function uses what has no form in ONNX here.
    """
    traced, shapes = jax.make_jaxpr(function, return_shape=True)(*inputs.values())
    graph = Graph(inputs)
    results = _walk(graph, traced.jaxpr, [*map(np.asarray, traced.consts), *inputs])
    return graph.model(dict(zip(outputs, shapes, strict=True)), results)


def _walk(graph: Graph, jaxpr: Any, values: Sequence[Value]) -> list[Value]:
    """Adds the equations of a jaxpr; `values` are of its constants, then of its inputs."""
    known = dict(zip((*jaxpr.constvars, *jaxpr.invars), values, strict=True))

    def value_of(atom: Any) -> Value:
        if isinstance(atom, Literal):
            return np.asarray(atom.val, atom.aval.dtype)
        return known[atom]

    for equation in jaxpr.eqns:
        results = _results(graph, equation, [value_of(atom) for atom in equation.invars])
        known.update(zip(equation.outvars, results, strict=True))
    return [value_of(atom) for atom in jaxpr.outvars]


def _results(graph: Graph, equation: Any, inputs: list[Value]) -> Sequence[Value]:
    """The values of an equation's outputs."""
    name, params = equation.primitive.name, equation.params
    if name == "platform_index":
        return [np.int32(params["platforms"].index(None))]
    if name == "cond" and not isinstance(inputs[0], str):
        return _called(graph, params["branches"][int(inputs[0])], inputs[1:])
    if name in _CALLS:
        return _called(graph, params[_CALLS[name]], inputs)
    if _is_constant(equation, inputs):
        results = equation.primitive.bind(*inputs, **params)
        results = results if equation.primitive.multiple_results else [results]
        return list(map(np.asarray, results))
    try:
        return outputs_of(graph, equation, inputs)
    except NoForm as error:
        raise UserError(
            f"This model can't be written as ONNX, because its networks use JAX's {name} in a way "
            "that the conversion does not know; choose --format=stablehlo."
        ) from error


def _called(graph: Graph, called: Any, inputs: Sequence[Value]) -> list[Value]:
    """The results of a jaxpr that is called, with or without constants of its own."""
    constants = map(np.asarray, getattr(called, "consts", ()))
    return _walk(graph, getattr(called, "jaxpr", called), [*constants, *inputs])


def _is_constant(equation: Any, inputs: Sequence[Value]) -> bool:
    """Whether an equation can be computed before the program runs."""
    sizes = [size for var in equation.outvars for size in var.aval.shape]
    return not any(isinstance(each, str) for each in inputs) and all(
        isinstance(size, int) for size in sizes
    )
