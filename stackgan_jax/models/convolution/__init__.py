"""Convolutions and the up-blocks' fused "nearest x2, then 3x3" (StackGAN, sec. 3.4), all exact.

Upsampling first and convolving then equals the transpose of a stride-2 convolution by a 4x4 kernel
(the 3x3 one convolved with a 2x2 box): 4 multiplications per output instead of 9, and the upsampled
array is never stored. The form is chosen when a program is lowered, by the platform that it is
lowered for, so a CPU machine compiles for TPU what a TPU would. `cpu_convolution` holds the CPU's.
"""

import functools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from stackgan_jax.models.convolution import cpu
from stackgan_jax.models.convolution.cpu import HALVING, Padding, expand, kernel_gradient, plain

FORMS = ("naive", "phases", "transposed")
# XLA gives the CPU's convolutions to YNNPACK, whose weight gradients crawl; dots may stay there.
_CPU_OPTIONS = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"}
_UNOPTIMISED = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}


def conv(
    x: jax.Array,
    kernel: jax.Array,
    stride: int = 1,
    padding: str | Sequence[tuple[int, int]] = "SAME",
) -> jax.Array:
    """Convolves x [b, h, w, c] with kernel [kh, kw, c, o] → [b, h', w', o].

    `padding` is "SAME", "VALID", or ((top, bottom), (left, right)).
    """
    if isinstance(padding, str):
        strides = (stride, stride)
        padding = lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], strides, padding)
    return _conv(x, kernel, stride, tuple(map(tuple, padding)))


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _conv(x: jax.Array, kernel: jax.Array, stride: int, padding: Padding):
    return lax.platform_dependent(
        x,
        kernel,
        cpu=partial(cpu.forward, stride=stride, padding=padding),
        default=partial(plain, stride=stride, padding=padding),
    )


def _conv_forward(x: jax.Array, kernel: jax.Array, stride: int, padding: Padding):
    return _conv(x, kernel, stride, padding), (x, kernel)


def _conv_backward(stride: int, padding: Padding, residuals: tuple, cotangent: jax.Array):
    return lax.platform_dependent(
        *residuals,
        cotangent,
        cpu=partial(cpu.backward, stride=stride, padding=padding),
        cuda=partial(
            _plain_backward, stride=stride, padding=padding, by_kernel=kernel_gradient_cudnn
        ),
        default=partial(_plain_backward, stride=stride, padding=padding),
    )


_conv.defvjp(_conv_forward, _conv_backward)


def _plain_backward(
    x: jax.Array,
    kernel: jax.Array,
    cotangent: jax.Array,
    stride: int,
    padding: Padding,
    by_kernel: Callable[..., jax.Array] = kernel_gradient,
):
    (dx,) = jax.linear_transpose(lambda x: plain(x, kernel, stride, padding), x)(cotangent)
    return dx, by_kernel(x, kernel, cotangent, stride, padding)


def kernel_gradient_cudnn(
    x: jax.Array, kernel: jax.Array, cotangent: jax.Array, stride: int, padding: Padding
) -> jax.Array:
    """`kernel_gradient`, in the form that XLA gives to cuDNN's weight gradient.

    XLA takes it for a convolution, with every array transposed, where the cotangent is no larger
    than the kernel; so one that is as large gets a row of zeros, an output beyond the image.
    """
    if cotangent.shape[1:3] == kernel.shape[:2] and min(kernel.shape[:2]) > 1:
        cotangent = jnp.pad(cotangent, ((0, 0), (0, 1), (0, 0), (0, 0)))
        (top, bottom), columns = padding
        padding = ((top, bottom + stride), columns)
    return kernel_gradient(x, kernel, cotangent, stride, padding)


def upsample_conv(x: jax.Array, kernel: jax.Array, form: str | None = None) -> jax.Array:
    """Doubles x [b, h, w, c] by nearest neighbour, convolves with kernel [3, 3, c, o] SAME.

    → [b, 2h, 2w, o]. Every form gives the same numbers up to rounding: "naive" does what it says,
    "phases" convolves once with the 2x2 kernels of the four outputs that share an input,
    "transposed" is the transpose of a stride-2 convolution. None takes the fastest: on
    CPU "phases", or products with the kernel's places where images are small; else "transposed".
    """
    if form is not None and form not in FORMS:
        raise ValueError(f"Unknown form {form!r} of upsample_conv; choose from {', '.join(FORMS)}.")
    if kernel.shape[:2] != (3, 3):
        raise ValueError(f"upsample_conv takes a 3x3 kernel, not one of shape {kernel.shape}.")
    if form == "naive":
        return plain(jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2), kernel, 1, "SAME")
    return _upsample_conv(x, kernel, form)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _upsample_conv(x: jax.Array, kernel: jax.Array, form: str | None):
    if form == "phases":
        return cpu.double(x, expand(kernel))
    if form == "transposed":
        return _transposed(x, kernel)
    return lax.platform_dependent(x, kernel, cpu=cpu.upsample, default=_transposed)


def _upsample_conv_forward(x: jax.Array, kernel: jax.Array, form: str | None):
    return _upsample_conv(x, kernel, form), (x, kernel)


def _upsample_conv_backward(form: str | None, residuals: tuple, cotangent: jax.Array):
    return lax.platform_dependent(
        *residuals,
        cotangent,
        cpu=cpu.upsample_backward,
        cuda=partial(_transposed_backward, by_kernel=kernel_gradient_cudnn),
        default=_transposed_backward,
    )


_upsample_conv.defvjp(_upsample_conv_forward, _upsample_conv_backward)


def _transposed(x: jax.Array, kernel: jax.Array):
    # cuDNN's fast path wants the transpose of a convolution as XLA writes it, not lhs_dilation.
    b, h, w, _ = x.shape
    y = jax.ShapeDtypeStruct((b, 2 * h, 2 * w, kernel.shape[3]), x.dtype)
    return jax.linear_transpose(lambda y: plain(y, expand(kernel), 2, HALVING), y)(x)[0]


def _transposed_backward(
    x: jax.Array,
    kernel: jax.Array,
    cotangent: jax.Array,
    by_kernel: Callable[..., jax.Array] = kernel_gradient,
):
    expanded, contract = jax.vjp(expand, kernel)
    dx = plain(cotangent, expanded, 2, HALVING)
    return dx, *contract(by_kernel(cotangent, expanded, x, 2, HALVING))


def compiler_options(platform: str | None = None, once: bool = False) -> dict[str, Any]:
    """What `jax.jit(..., compiler_options=...)` should get; None is the default backend.

    `once`: for a program that runs once, of which a CPU's takes longer to optimise than to run.
    """
    if (platform or jax.default_backend()) != "cpu":
        return {}
    options = _CPU_OPTIONS | _UNOPTIMISED if once else _CPU_OPTIONS
    return {name: value for name, value in options.items() if _is_known(name, value)}


@functools.cache
def _is_known(option: str, value: Any) -> bool:
    """Whether this jaxlib takes the option: they come and go with its versions."""
    try:
        jax.jit(lambda x: x, compiler_options={option: value}).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True
