"""Batch normalisation: values, gradients, and a batch over several devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from stackgan_jax.models.normalisation import batch_norm

EPSILON = 1e-5
# By slices, by slices with narrow rows, too odd for slices, and no pixels at all.
SHAPES = [(3, 16, 16, 6), (2, 4, 4, 700), (2, 5, 3, 4), (6, 5)]


def normal(shape, dtype="float64", seed=0):
    return jnp.asarray(2 + np.random.RandomState(seed).randn(*shape), dtype)


def by_definition(x, scale, bias):
    """Batch normalisation as the textbook has it, to be differentiated by JAX."""
    axes = tuple(range(x.ndim - 1))
    mean, var = jnp.mean(x, axes), jnp.var(x, axes)
    return (x - mean) / jnp.sqrt(var + EPSILON) * scale + bias, mean, var


def ours(x, scale, bias):
    return batch_norm(x, scale, bias, EPSILON)


def with_gradients(function, *arguments):
    def everything(*arguments):
        outputs, pull_back = jax.vjp(function, *arguments)
        cotangents = [normal(y.shape, y.dtype, seed=3 + i) for i, y in enumerate(outputs)]
        return *outputs, *pull_back(tuple(cotangents))

    return jax.jit(everything)(*arguments)


@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_of_all_outputs(shape):
    with jax.enable_x64(True):
        arguments = normal(shape), normal(shape[-1:], seed=1), normal(shape[-1:], seed=2)
        expected = with_gradients(by_definition, *arguments)
        for a, b in zip(with_gradients(ours, *arguments), expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 2e-2)])
def test_less_precision(dtype, tolerance):
    shape = (4, 16, 16, 6)
    with jax.enable_x64(True):
        x, scale, bias = normal(shape, dtype), normal((6,), seed=1), normal((6,), seed=2)
        expected = with_gradients(by_definition, x.astype("float64"), scale, bias)
        got = with_gradients(ours, x, scale.astype("float32"), bias.astype("float32"))
        types = (dtype, "float32", "float32", dtype, "float32", "float32")
        for a, b, dtype_of_a in zip(got, expected, types, strict=True):
            assert a.dtype == dtype_of_a
            error = np.max(np.abs(np.asarray(a, "float64") - b)) / np.max(np.abs(b))
            assert error < tolerance


def test_equal_values_have_no_variance():
    x = jnp.full((2, 8, 8, 3), 0.1)
    y, mean, var = batch_norm(x, jnp.ones(3), jnp.zeros(3), EPSILON)
    assert np.all(var >= 0)
    np.testing.assert_allclose(mean, 0.1, rtol=1e-6)
    np.testing.assert_allclose(y, 0, atol=1e-3)


def test_a_batch_over_eight_devices():
    """The statistics are the whole batch's, and only sums of channels are communicated."""
    x, scale, bias = (normal(s, "float32") for s in ((8, 16, 16, 6), (6,), (6,)))

    def loss(x, scale, bias):
        return jnp.sum(jnp.sin(batch_norm(x, scale, bias, EPSILON)[0]))

    gradients = jax.grad(loss, (0, 1, 2))
    devices = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    split = NamedSharding(devices, PartitionSpec("data"))
    whole = NamedSharding(devices, PartitionSpec())
    sharded = jax.jit(
        gradients, in_shardings=(split, whole, whole), out_shardings=(split, whole, whole)
    )
    text = sharded.lower(x, scale, bias).compile().as_text()
    assert "all-reduce" in text
    assert not any(word in text for word in ("all-gather", "all-to-all", "collective-permute"))
    for a, b in zip(sharded(x, scale, bias), gradients(x, scale, bias), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
