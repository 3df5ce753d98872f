"""Depthwise convolution: as XLA's grouped convolution, with its gradients of every order."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from stackgan_jax.models.convolution.depthwise import depthwise

# Image [b, h, w, c], kernel's size, stride: even, odd, smaller than the kernel, one pixel.
CASES = [
    ((2, 8, 6, 5), 3, 1),
    *(
        pytest.param(*case, marks=pytest.mark.slow)
        for case in (
            ((2, 8, 6, 5), 3, 2),
            ((2, 7, 9, 3), 3, 2),
            ((2, 7, 8, 3), 5, 1),
            ((2, 8, 7, 3), 5, 2),
            ((1, 2, 3, 4), 5, 2),
            ((1, 1, 1, 4), 5, 1),
        )
    ),
]


def normal(shape, seed, dtype="float64"):
    return jnp.asarray(np.random.RandomState(seed).randn(*shape), dtype)


def grouped(x, kernel, stride):
    return lax.conv_general_dilated(
        x,
        kernel[:, :, None],
        (stride, stride),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[3],
    )


def penalty(function, x, kernel):
    """A loss of the gradient of a loss, as a gradient penalty is."""
    by_image = jax.grad(lambda x: jnp.sum(jnp.sin(function(x, kernel))))(x)
    return jnp.sum(by_image**3)


@pytest.mark.parametrize(("shape", "size", "stride"), CASES)
def test_values_and_gradients_of_first_and_second_order_are_the_grouped_convolutions(
    shape, size, stride
):
    def everything(function, x, kernel):
        function = partial(function, stride=stride)
        y, pull_back = jax.vjp(function, x, kernel)
        by_both = jax.grad(partial(penalty, function), (0, 1))(x, kernel)
        return y, pull_back(jnp.cos(y)), by_both

    with jax.enable_x64(True):
        x, kernel = normal(shape, 0), normal((size, size, shape[3]), 1)
        found, expected = (jax.jit(partial(everything, f))(x, kernel) for f in (depthwise, grouped))
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            assert a.shape == b.shape
            np.testing.assert_allclose(a, b, atol=1e-12 * (1 + np.abs(b).max()))


def test_the_gradient_is_that_of_finite_differences():
    with jax.enable_x64(True):
        x, kernel, direction = (
            normal((1, 6, 5, 3), 0),
            normal((3, 3, 3), 1),
            normal((1, 6, 5, 3), 2),
        )
        loss = lambda x: jnp.sum(jnp.sin(depthwise(x, kernel, 2)))
        slope = (loss(x + 1e-5 * direction) - loss(x - 1e-5 * direction)) / 2e-5
        np.testing.assert_allclose(jnp.vdot(jax.grad(loss)(x), direction), slope, rtol=1e-8)


def test_bfloat16_stays_bfloat16():
    x, kernel = normal((1, 6, 6, 4), 0, "bfloat16"), normal((3, 3, 4), 1, "bfloat16")
    y, pull_back = jax.vjp(partial(depthwise, stride=2), x, kernel)
    assert {a.dtype for a in (y, *pull_back(y))} == {jnp.dtype("bfloat16")}
    exact = grouped(x.astype("float32"), kernel.astype("float32"), 2)
    np.testing.assert_allclose(y.astype("float32"), exact, atol=0.1)


def test_the_form_follows_the_platform_compiled_for():
    x, kernel = normal((1, 4, 4, 5), 0, "float32"), normal((3, 3, 5), 1, "float32")
    traced = jax.jit(jax.grad(lambda x: depthwise(x, kernel).sum())).trace(x)
    for platform, convolves in (("cpu", False), ("cuda", True), ("tpu", True)):
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        assert ("stablehlo.convolution" in text) == convolves
