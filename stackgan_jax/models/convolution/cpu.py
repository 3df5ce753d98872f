"""Convolution on CPUs: exact rewritings of what XLA's CPU backend does slowly (StackGAN, sec. 3.4).

`double` and `halve` are each other's transpose: large up-blocks and the gradients of down-blocks
are `double`, down-blocks and the gradients of large up-blocks `halve`.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

# "SAME", "VALID", or ((top, bottom), (left, right)).
Padding = str | Sequence[tuple[int, int]]

HALVING = ((1, 1), (1, 1))  # The padding with which a 4x4 kernel of stride 2 halves an image.
SAME3 = ((1, 1), (1, 1))
FEW = 4  # Channels too few to fill a vector register.
FOLD = 4  # Columns taken together where channels are few.
SMALL = 32  # The largest image whose gradient is a matrix product.


def plain(x: jax.Array, kernel: jax.Array, stride: int, padding: Padding) -> jax.Array:
    """Convolution as XLA does it: x [b, h, w, c], kernel [kh, kw, c, o] → [b, h', w', o]."""
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def kernel_gradient(
    x: jax.Array, kernel: jax.Array, cotangent: jax.Array, stride: int, padding: Padding
) -> jax.Array:
    """The gradient of `plain` by its kernel; only the shape of `kernel` matters."""
    transpose = jax.linear_transpose(lambda k: plain(x, k, stride, padding), kernel)
    return transpose(cotangent)[0]


def forward(x: jax.Array, kernel: jax.Array, stride: int, padding: Padding) -> jax.Array:
    """`plain`, in the fastest form for its shape."""
    if _is_product(x, kernel, stride, padding):
        return _product(x, kernel)
    if _is_halving(x, kernel, stride, padding):
        return halve(x, kernel)
    if _is_thin(x, kernel, stride, padding):
        return _fold_columns(x, kernel)
    return plain(x, kernel, stride, padding)


def backward(
    x: jax.Array, kernel: jax.Array, cotangent: jax.Array, stride: int, padding: Padding
) -> tuple[jax.Array, jax.Array]:
    """The gradients of `plain` by x and kernel."""
    x, cotangent = _stored(x, cotangent)
    if _is_product(x, kernel, stride, padding):
        return jax.vjp(_product, x, kernel)[1](cotangent)
    dkernel = kernel_gradient(x, kernel, cotangent, stride, padding)
    if _is_halving(x, kernel, stride, padding):
        return double(cotangent, kernel), dkernel
    if _is_thin(x, kernel, stride, padding):
        return _fold_columns(cotangent, jnp.swapaxes(kernel[::-1, ::-1], 2, 3)), dkernel
    transpose = jax.linear_transpose(lambda x: plain(x, kernel, stride, padding), x)
    return transpose(cotangent)[0], dkernel


def expand(kernel: jax.Array) -> jax.Array:
    """A 3x3 kernel convolved with a 2x2 box and turned: [3, 3, c, o] → [4, 4, o, c].

    Nearest x2 and that 3x3 convolution are `double` by it.
    """
    for axis in (0, 1):
        first, middle, last = (lax.slice_in_dim(kernel, i, i + 1, axis=axis) for i in range(3))
        kernel = jnp.concatenate([last, middle + last, first + middle, first], axis=axis)
    return jnp.swapaxes(kernel, 2, 3)


def upsample(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Nearest x2, then convolution: x [b, h, w, c], kernel [3, 3, c, o] → [b, 2h, 2w, o]."""
    if _is_small(x, kernel):
        return _upsample_by_product(x, kernel)
    return double(x, expand(kernel))


def upsample_backward(
    x: jax.Array, kernel: jax.Array, cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The gradients of `upsample` by x and kernel."""
    x, cotangent = _stored(x, cotangent)
    if _is_small(x, kernel):
        return jax.vjp(_upsample_by_product, x, kernel)[1](cotangent)
    expanded, contract = jax.vjp(expand, kernel)
    (dkernel,) = contract(kernel_gradient(cotangent, expanded, x, 2, HALVING))
    return halve(cotangent, expanded), dkernel


def _stored(*arrays: jax.Array):
    """Keeps XLA from computing what leads to them anew in each of its slow transposing loops."""
    return lax.optimization_barrier(arrays)


def _is_product(x: jax.Array, kernel: jax.Array, stride: int, padding: Padding):
    """A 1x1 kernel, or one as large as the image: each output is one row times one matrix."""
    pointwise = kernel.shape[:2] == (1, 1) and stride == 1
    return not any(map(any, padding)) and (pointwise or kernel.shape[:2] == x.shape[1:3])


def _is_halving(x: jax.Array, kernel: jax.Array, stride: int, padding: Padding):
    even = x.shape[1] % 2 == 0 and x.shape[2] % 2 == 0
    return even and kernel.shape[:2] == (4, 4) and stride == 2 and padding == HALVING


def _is_thin(x: jax.Array, kernel: jax.Array, stride: int, padding: Padding):
    few = min(kernel.shape[2:]) <= FEW and x.shape[2] % FOLD == 0
    return few and kernel.shape[:2] == (3, 3) and stride == 1 and padding == SAME3


def _product(x: jax.Array, kernel: jax.Array):
    b, h, w, c = x.shape
    kh, kw, _, o = kernel.shape
    y = x.reshape(-1, kh * kw * c) @ kernel.reshape(kh * kw * c, o)
    return y.reshape(b, h // kh, w // kw, o)


def _fold_columns(x: jax.Array, kernel: jax.Array):
    """A 3x3 convolution with FOLD columns as channels, which costs no copy.

    The zeros that it adds to the kernel are cheaper than convolving with few channels.
    """
    b, h, w, c = x.shape
    o = kernel.shape[3]
    columns = [
        jnp.pad(kernel, ((0, 0), (FOLD - 1 + i, 2 * FOLD - 2 - i), (0, 0), (0, 0)))
        for i in range(FOLD)
    ]
    folded = jnp.stack(columns, 3).reshape(3, 3, FOLD * c, FOLD * o)
    return plain(x.reshape(b, h, w // FOLD, FOLD * c), folded, 1, SAME3).reshape(b, h, w, o)


def halve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Stride 2: x [b, 2h, 2w, c], kernel [4, 4, c, o] → [b, h, w, o]."""
    c = x.shape[3]
    if c >= FEW:
        return plain(x, kernel, 2, HALVING)
    # Squares of 2x2 as channels: stride 1, and a register's worth of them.
    x = jnp.pad(x, ((0, 0), *HALVING, (0, 0)))
    b, h, w, _ = x.shape
    x = x.reshape(b, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5)
    kernel = kernel.reshape(2, 2, 2, 2, c, -1).transpose(0, 2, 1, 3, 4, 5)
    return plain(
        x.reshape(b, h // 2, w // 2, 4 * c), kernel.reshape(2, 2, 4 * c, -1), 1, ((0, 0), (0, 0))
    )


def _is_small(x: jax.Array, kernel: jax.Array):
    return 2 * max(x.shape[1:3]) <= SMALL and min(kernel.shape[2:]) > FEW


def _upsample_by_product(x: jax.Array, kernel: jax.Array):
    """`upsample` as a matrix product for each of the kernel's nine places.

    The results are then added where they belong. Small images cost less than kernels, and this form
    rewrites no kernel.
    """
    b, h, w, c = x.shape
    places = kernel.reshape(9, c, -1)
    x = jnp.broadcast_to(x.reshape(1, -1, c), (9, b * h * w, c))
    z = lax.dot_general(x, places, (((2,), (1,)), ((0,), (0,))))
    rows = _spread(z.reshape(3, 3, b, h, w, -1), axis=2)
    columns = [_spread(row, axis=2) for row in rows]
    return jnp.stack([jnp.stack(each, 3) for each in columns], 2).reshape(b, 2 * h, 2 * w, -1)


def _spread(z: jax.Array, axis: int):
    """The two outputs of each input along an axis, of what three neighbours give: z [3, …].

    Output 2i sees input i - 1 once and input i twice, output 2i + 1 input i twice and i + 1 once;
    `axis` counts without the first.
    """
    before, here, after = z
    return _moved(before, axis, 1) + here + after, before + here + _moved(after, axis, -1)


def double(y: jax.Array, kernel: jax.Array) -> jax.Array:
    """The transpose of `halve`: y [b, h, w, o], kernel [4, 4, c, o] → [b, 2h, 2w, c]."""
    b, h, w, o = y.shape
    c = kernel.shape[2]
    if _is_small(y, kernel):
        return _double_by_product(y, kernel)
    # All four outputs that share an input see it through 2x2 kernels: one convolution for all,
    # of which output (i, j) of an input begins i rows down and j columns to the right.
    kernel = kernel[::-1, ::-1].reshape(2, 2, 2, 2, c, o).transpose(0, 2, 5, 1, 3, 4)
    z = plain(y, kernel.reshape(2, 2, o, 4 * c), 1, ((1, 1), (1, 1)))
    z = z.reshape(b, h + 1, w + 1, 2, 2, c)
    rows = [jnp.stack([z[:, i : i + h, j : j + w, i, j] for j in (0, 1)], axis=3) for i in (0, 1)]
    return jnp.stack(rows, axis=2).reshape(b, 2 * h, 2 * w, c)


def _double_by_product(y: jax.Array, kernel: jax.Array):
    """`double` as a matrix product that needs no transposed kernel, its 4x4 blocks then added."""
    b, h, w, o = y.shape
    c = kernel.shape[2]
    z = lax.dot_general(y.reshape(-1, o), kernel.reshape(-1, o), (((1,), (1,)), ((), ())))
    z = _overlap(_overlap(z.reshape(b, h, w, 4, 4, c), axis=2, taps=4), axis=1, taps=4)
    return z.reshape(b, 2 * h, 2 * w, c)


def _overlap(z: jax.Array, axis: int, taps: int):
    """Adds blocks of 4 that begin at every other place: axes `axis` [n], `taps` [4] → [n], [2]."""
    first, second, third, fourth = jnp.moveaxis(z, taps, 0)
    early, late = second + _moved(fourth, axis, 1), third + _moved(first, axis, -1)
    return jnp.stack([early, late], axis + 1)


def _moved(a: jax.Array, axis: int, by: int):
    """`a` with everything one place on along an axis (`by` 1) or back (-1), zeros moving in."""
    pad = [(0, 0, 0)] * a.ndim
    pad[axis] = (by, -by, 0)
    return lax.pad(a, jnp.zeros((), a.dtype), pad)
