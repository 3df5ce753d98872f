"""Stage I's generator: its outputs and its number of parameters."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stackgan_jax.models import convolution, presets, registry, stage1

KEY = jax.random.key(0)
# Compiles in half the time.
compiled = functools.partial(jax.jit, compiler_options=convolution.compiler_options(once=True))
PRESETS = ["tensorflow", "pytorch"]


def count(variables):
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def generator_inputs(b=2, text=16, z=4, condition=8):
    keys = jax.random.split(KEY, 3)
    return [jax.random.normal(k, (b, n)) for k, n in zip(keys, (text, z, condition), strict=True)]


def generate(module, *inputs):
    variables = compiled(lambda *inputs: module.init(KEY, *inputs, True))(*inputs)
    apply = compiled(lambda v, *inputs: module.apply(v, *inputs, True, mutable=["batch_stats"])[0])
    return variables, apply


def build(program, **fields):
    preset = presets.generator(program, "stage1")
    return registry.generator({"network": "stage1", "dtype": "float32", **preset, **fields})


@pytest.mark.parametrize(
    ("program", "parameters"), [("tensorflow", 14_264_192), ("pytorch", 20_020_832)]
)
def test_generator_parameters_at_published_widths(program, parameters):
    module = build(program, features=presets.FEATURES[program]["generator"])
    inputs = generator_inputs(2, 1024, 100, 128)
    assert count(jax.eval_shape(lambda: module.init(KEY, *inputs, True))) == parameters


@pytest.mark.parametrize("dtype", registry.DTYPES)
@pytest.mark.parametrize("size", [16, 32, 64])
@pytest.mark.parametrize("program", PRESETS)
def test_generator_draws_any_power_of_two(size, program, dtype):
    module = build(program, size=size, features=4, condition=8, dtype=dtype)
    image, mu, log_sigma = jax.eval_shape(
        lambda *inputs: module.init_with_output(KEY, *inputs, True)[0], *generator_inputs()
    )
    assert image.shape == (2, size, size, 3)
    assert mu.shape == log_sigma.shape == (2, 8)
    assert {x.dtype for x in (image, mu, log_sigma)} == {np.dtype("float32")}


def test_generator_is_a_function_of_its_noise():
    embedding, z, epsilon = generator_inputs(b=4)
    module = stage1.Generator(size=16, features=4, condition=8)
    variables, apply = generate(module, embedding, z, epsilon)
    image, mu, log_sigma = apply(variables, embedding, z, epsilon)
    assert image.dtype == mu.dtype == jnp.float32
    assert 0 < np.abs(image).max() <= 1
    np.testing.assert_array_equal(image, apply(variables, embedding, z, epsilon)[0])
    assert np.abs(image - apply(variables, embedding, z[::-1], epsilon)[0]).max() > 1e-3
    other, same_mu, same_log_sigma = apply(variables, embedding, z, epsilon[::-1])
    assert np.abs(image - other).max() > 1e-3
    np.testing.assert_array_equal(mu, same_mu)
    np.testing.assert_array_equal(log_sigma, same_log_sigma)
