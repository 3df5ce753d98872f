"""Depthwise convolution: each channel is convolved with a kernel of its own.

XLA's CPU backend computes grouped convolutions an order of magnitude too slowly. On CPU this is a
sum of shifted copies of the image instead, and so is its gradient by the image. Accelerators
compute the grouped convolution. Either can be differentiated any number of times, in reverse mode.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from stackgan_jax.models.convolution.cpu import Padding


def depthwise(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """Convolves x [b, h, w, c] with kernel [k, k, c], SAME as TensorFlow pads.

    → [b, ceil(h / stride), ceil(w / stride), c].
    """
    strides = (stride, stride)
    padding = tuple(lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], strides, "SAME"))
    return _depthwise(x, kernel, stride, padding)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _depthwise(x: jax.Array, kernel: jax.Array, stride: int, padding: Padding):
    chosen = {"stride": stride, "padding": padding}
    return lax.platform_dependent(
        x, kernel, cpu=partial(shifted, **chosen), default=partial(grouped, **chosen)
    )


def _depthwise_forward(x: jax.Array, kernel: jax.Array, stride: int, padding: Padding):
    return _depthwise(x, kernel, stride, padding), (x, kernel)


def _depthwise_backward(stride: int, padding: Padding, residuals: tuple, cotangent: jax.Array):
    x, kernel = residuals
    dx = _transposed(cotangent, kernel, x.shape[1:3], stride, padding)
    return dx, kernel_gradient(x, cotangent, kernel.shape[0], stride, padding)


_depthwise.defvjp(_depthwise_forward, _depthwise_backward)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _transposed(
    y: jax.Array, kernel: jax.Array, size: tuple[int, int], stride: int, padding: Padding
):
    """The transpose of `_depthwise` by its image: y [b, h', w', c] → [b, h, w, c]."""
    chosen = {"size": size, "stride": stride, "padding": padding}
    return lax.platform_dependent(
        y,
        kernel,
        cpu=partial(shifted_transpose, **chosen),
        default=partial(_grouped_transpose, **chosen),
    )


def _transposed_forward(
    y: jax.Array, kernel: jax.Array, size: tuple[int, int], stride: int, padding: Padding
):
    return _transposed(y, kernel, size, stride, padding), (y, kernel)


def _transposed_backward(
    size: tuple[int, int], stride: int, padding: Padding, residuals: tuple, cotangent: jax.Array
):
    y, kernel = residuals
    dy = _depthwise(cotangent, kernel, stride, padding)
    # <transposed(y, kernel), cotangent> = <y, depthwise(cotangent, kernel)>.
    return dy, kernel_gradient(cotangent, y, kernel.shape[0], stride, padding)


_transposed.defvjp(_transposed_forward, _transposed_backward)


def grouped(x: jax.Array, kernel: jax.Array, stride: int, padding: Padding) -> jax.Array:
    """Depthwise convolution as XLA does it: x [b, h, w, c], kernel [k, k, c] → [b, h', w', c]."""
    return lax.conv_general_dilated(
        x,
        kernel[:, :, None],
        (stride, stride),
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[3],
    )


def _grouped_transpose(
    y: jax.Array, kernel: jax.Array, size: tuple[int, int], stride: int, padding: Padding
):
    x = jax.ShapeDtypeStruct((len(y), *size, y.shape[3]), y.dtype)
    return jax.linear_transpose(lambda x: grouped(x, kernel, stride, padding), x)(y)[0]


def shifted(x: jax.Array, kernel: jax.Array, stride: int, padding: Padding) -> jax.Array:
    """`grouped` as a sum of shifted images, each times one place of the kernels."""
    rows, columns = (
        (n + sum(pads) - len(kernel)) // stride + 1
        for n, pads in zip(x.shape[1:3], padding, strict=True)
    )
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    rows, columns = (rows - 1) * stride + 1, (columns - 1) * stride + 1
    return sum(
        x[:, i : i + rows : stride, j : j + columns : stride] * kernel[i, j]
        for i in range(len(kernel))
        for j in range(len(kernel))
    )


def shifted_transpose(
    y: jax.Array, kernel: jax.Array, size: tuple[int, int], stride: int, padding: Padding
) -> jax.Array:
    """The transpose of `shifted` by its image, of the given size, as sums of shifted images.

    With a stride, the outputs whose places have the same remainder see the same places of the
    kernel. Each remainder is one sum, so that no product with an inserted zero is computed.
    """
    spans = [
        _spans(n, m, len(kernel), stride, before)
        for n, m, (before, _) in zip(size, y.shape[1:3], padding, strict=True)
    ]
    (above, below, rows, heights), (left, right, columns, widths) = spans
    y = jnp.pad(y, ((0, 0), (above, below), (left, right), (0, 0)))
    phases = [
        jnp.stack([_sum_of_places(y, kernel, i, j, heights, widths) for j in columns], 3)
        for i in rows
    ]
    x = jnp.stack(phases, 2).reshape(len(y), heights * stride, widths * stride, -1)
    return x[:, : size[0], : size[1]]


def _spans(n: int, m: int, k: int, stride: int, before: int):
    """How outputs of a transposed convolution see its m inputs, along one axis of n outputs.

    Returns:
        The inputs to add before and after; for each remainder of an output's place its
        (place in the kernel, first input) pairs; and the outputs of each remainder.
    """
    count = -(-n // stride)
    seen = [
        [(a, (i + before - a) // stride) for a in range(k) if (i + before - a) % stride == 0]
        for i in range(stride)
    ]
    firsts = [first for pairs in seen for _, first in pairs]
    low, high = max(0, -min(firsts)), max(0, max(firsts) + count - m)
    return low, high, [[(a, first + low) for a, first in pairs] for pairs in seen], count


def _sum_of_places(
    y: jax.Array, kernel: jax.Array, rows: list, columns: list, height: int, width: int
):
    return sum(
        y[:, top : top + height, left : left + width] * kernel[a, b]
        for a, top in rows
        for b, left in columns
    )


def kernel_gradient(
    x: jax.Array, cotangent: jax.Array, k: int, stride: int, padding: Padding
) -> jax.Array:
    """The gradient of `grouped` by its kernel → [k, k, c]."""
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    rows, columns = ((n - 1) * stride + 1 for n in cotangent.shape[1:3])
    places = [
        jnp.einsum("bhwc,bhwc->c", x[:, i : i + rows : stride, j : j + columns : stride], cotangent)
        for i in range(k)
        for j in range(k)
    ]
    return jnp.stack(places).reshape(k, k, -1)
