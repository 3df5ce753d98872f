"""Convolutions, and the exact fused "nearest x2, then 3x3" of the up-blocks (StackGAN, sec. 3.4)."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

FORMS = ("naive", "phases", "transposed")
_DIMENSIONS = ("NHWC", "HWIO", "NHWC")


def conv(x, kernel, stride=1, padding="SAME"):
    """Convolves x [b, h, w, c] with kernel [kh, kw, c, o] → [b, h', w', o].

    `padding` is "SAME", "VALID", or ((top, bottom), (left, right)).
    """
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), padding, dimension_numbers=_DIMENSIONS
    )


def upsample_conv(x, kernel, form=None):
    """Doubles x [b, h, w, c] by nearest neighbour, convolves with kernel [3, 3, c, o] SAME.

    → [b, 2h, 2w, o]. Every form gives the same numbers up to rounding; all but "naive" make do
    with 4 multiplications per output instead of 9 and never store the upsampled x. `form` None
    takes the fastest one of the platform that the program is compiled for.
    """
    if form is not None and form not in FORMS:
        raise ValueError(f"Unknown form {form!r} of upsample_conv; choose from {', '.join(FORMS)}.")
    if kernel.shape[:2] != (3, 3):
        raise ValueError(f"upsample_conv takes a 3x3 kernel, not one of shape {kernel.shape}.")
    if form == "naive":
        return _upsample_conv_naive(x, kernel)
    return _upsample_conv_fused(x, kernel, form)


def _upsample_conv_naive(x, kernel):
    return conv(jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2), kernel)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _upsample_conv_fused(x, kernel, form):
    if form == "phases":
        return _phases(x, kernel)
    if form == "transposed":
        return _transposed(x, kernel)
    return lax.platform_dependent(x, kernel, cpu=_phases, default=_transposed)


def _fused_forward(x, kernel, form):
    return _upsample_conv_fused(x, kernel, form), (x, kernel)


def _fused_backward(form, residuals, cotangent):
    """dx and dkernel through the stride-2 4x4 convolution that every fused form transposes."""
    x, kernel = residuals
    expanded, contract = jax.vjp(_expand, kernel)
    dx = _downsample(cotangent, expanded)
    (d_expanded,) = jax.linear_transpose(partial(_downsample, cotangent), expanded)(x)
    return dx, contract(d_expanded)[0]


_upsample_conv_fused.defvjp(_fused_forward, _fused_backward)


def _expand(kernel):
    """The 3x3 kernel convolved with a 2x2 box and turned: [3, 3, c, o] → [4, 4, o, c]."""
    for axis in (0, 1):
        first, middle, last = (lax.slice_in_dim(kernel, i, i + 1, axis=axis) for i in range(3))
        kernel = jnp.concatenate([last, middle + last, first + middle, first], axis=axis)
    return jnp.swapaxes(kernel, 2, 3)


def _downsample(y, expanded):
    """The stride-2 convolution whose transpose is upsample_conv: [b, 2h, 2w, o] → [b, h, w, c]."""
    return conv(y, expanded, stride=2, padding=((1, 1), (1, 1)))


def _transposed(x, kernel):
    b, h, w, _ = x.shape
    y = jax.ShapeDtypeStruct((b, 2 * h, 2 * w, kernel.shape[3]), x.dtype)
    return jax.linear_transpose(lambda y: _downsample(y, _expand(kernel)), y)(x)[0]


def _phases(x, kernel):
    """Each of the four outputs that share an input pixel sees it through a 2x2 kernel."""
    b, h, w, _ = x.shape
    rows = []
    for down in (0, 1):
        row = []
        for right in (0, 1):
            phase_kernel = _phase(_phase(kernel, down, 0), right, 1)
            padding = ((1 - down, down), (1 - right, right))
            row.append(conv(x, phase_kernel, padding=padding))
        rows.append(jnp.stack(row, axis=3))
    return jnp.stack(rows, axis=2).reshape(b, 2 * h, 2 * w, -1)


def _phase(kernel, phase, axis):
    first, middle, last = (lax.slice_in_dim(kernel, i, i + 1, axis=axis) for i in range(3))
    taps = [first + middle, last] if phase else [first, middle + last]
    return jnp.concatenate(taps, axis=axis)


def compiler_options():
    """What `jax.jit(..., compiler_options=...)` should get on the default backend: a dict."""
    if jax.default_backend() != "cpu":
        return {}
    return {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"}
