"""JAX's matrix products and convolutions, in ONNX."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from stackgan_jax.pretrained.to_onnx.graph import Graph, Value
from stackgan_jax.pretrained.to_onnx.rules import require, rule


@rule("dot_general")
def _dot(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Sequence[Value]:
    """The last axis of the first operand times the first of a matrix."""
    first, second = (len(var.aval.shape) for var in equation.invars)
    wanted = (((first - 1,), (0,)), ((), ()))
    require(second == 2 and equation.params["dimension_numbers"] == wanted)
    return graph.add("MatMul", *inputs)


@rule("conv_general_dilated")
def _convolution(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Sequence[Value]:
    image, kernel = inputs
    params = equation.params
    image_axes, kernel_axes, result_axes = params["dimension_numbers"]
    require(isinstance(kernel, np.ndarray) and params["batch_group_count"] == 1)
    kernel = kernel.transpose(kernel_axes)  # [o, c, …]
    (image,) = graph.add("Transpose", image, perm=image_axes)
    if set(params["lhs_dilation"]) == {1}:
        result = _plain(graph, params, image, kernel)
    else:
        result = _transposed(graph, params, image, kernel)
    return graph.add("Transpose", *result, perm=np.argsort(result_axes).tolist())


def _plain(graph: Graph, params: dict[str, Any], image: Value, kernel: np.ndarray) -> list[str]:
    before, after = zip(*params["padding"], strict=True)
    return graph.add(
        "Conv",
        image,
        kernel,
        pads=[*before, *after],
        strides=params["window_strides"],
        dilations=params["rhs_dilation"],
        group=params["feature_group_count"],
    )


def _transposed(
    graph: Graph, params: dict[str, Any], image: Value, kernel: np.ndarray
) -> list[str]:
    """A convolution of an image that zeros were put into: ONNX's has the kernel turned."""
    sizes = kernel.shape[2:]
    before, after = zip(*params["padding"], strict=True)
    pads = [size - 1 - pad for pad, size in zip((*before, *after), 2 * sizes, strict=True)]
    ones = {*params["window_strides"], *params["rhs_dilation"], params["feature_group_count"]}
    require(ones == {1} and min(pads) >= 0)
    turned = np.flip(kernel, range(2, kernel.ndim)).swapaxes(0, 1)
    return graph.add("ConvTranspose", image, turned, pads=pads, strides=params["lhs_dilation"])
