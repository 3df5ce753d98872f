"""The table of how JAX's primitives become nodes of ONNX, and what its functions share."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from stackgan_jax.pretrained.to_onnx.graph import Graph, Value

# (graph, equation, inputs) → outputs
Rule = Callable[[Graph, Any, Sequence[Value]], Sequence[Value]]


class NoForm(Exception):
    """An equation has no form in ONNX here."""


# Primitives that are one operator, whose inputs are broadcast.
SAME = {
    "add": "Add",
    "and": "And",
    "atanh": "Atanh",
    "div": "Div",
    "eq": "Equal",
    "exp": "Exp",
    "ge": "GreaterOrEqual",
    "gt": "Greater",
    "le": "LessOrEqual",
    "log": "Log",
    "logistic": "Sigmoid",
    "lt": "Less",
    "max": "Max",
    "min": "Min",
    "mul": "Mul",
    "neg": "Neg",
    "not": "Not",
    "or": "Or",
    "sqrt": "Sqrt",
    "sub": "Sub",
    "tanh": "Tanh",
}
LOGICAL = ("and", "not", "or")  # In ONNX of truth values alone.
RULES: dict[str, Rule] = {}


def rule(*primitives: str) -> Callable[[Rule], Rule]:
    """Registers the function of some primitives."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(primitives, function))
        return function

    return register


def outputs_of(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Sequence[Value]:
    """Adds the nodes of an equation; returns the values of its outputs.

    Raises:
        NoForm: there are none for this equation.
    """
    name = equation.primitive.name
    if name in SAME:
        require(name not in LOGICAL or equation.invars[0].aval.dtype == bool)
        return graph.add(SAME[name], *inputs)
    if name not in RULES:
        raise NoForm
    return RULES[name](graph, equation, inputs)


def require(condition: bool) -> None:
    """Raises NoForm unless the condition holds."""
    if not condition:
        raise NoForm


def integers(*values: int) -> np.ndarray:
    """A constant, as operators take shapes, axes and places.

    Raises:
        NoForm: a value is symbolic.
    """
    require(all(isinstance(value, int | np.integer) for value in values))
    return np.asarray(values, np.int64)


def reshaped(graph: Graph, value: Value, shape: Sequence[Any]) -> list[str]:
    """A value in another shape, of which one size may be symbolic."""
    sizes = [size if isinstance(size, int) else -1 for size in shape]
    require(sizes.count(-1) <= 1)
    return graph.add("Reshape", value, integers(*sizes))
