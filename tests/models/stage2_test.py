"""Stage II's generator: its outputs and its number of parameters."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stackgan_jax.models import convolution, presets, registry, stage2

KEY = jax.random.key(0)
# Compiles in half the time.
compiled = functools.partial(jax.jit, compiler_options=convolution.compiler_options(once=True))
PRESETS = ["tensorflow", "pytorch"]


def count(variables):
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def generator_inputs(size=16, b=2, text=16, condition=8):
    keys = jax.random.split(KEY, 3)
    small = jax.random.uniform(keys[0], (b, size, size, 3), minval=-1)
    embedding = jax.random.normal(keys[1], (b, text))
    return small, embedding, jax.random.normal(keys[2], (b, condition))


def build(program, **fields):
    preset = presets.generator(program, "stage2")
    return registry.generator({"network": "stage2", "dtype": "float32", **preset, **fields})


@pytest.mark.parametrize(
    ("program", "parameters"), [("tensorflow", 26_290_080), ("pytorch", 37_130_480)]
)
def test_generator_parameters_at_published_widths(program, parameters):
    module = build(program, features=presets.FEATURES[program]["generator"])
    inputs = generator_inputs(64, 2, 1024, 128)
    assert count(jax.eval_shape(lambda: module.init(KEY, *inputs, True))) == parameters


@pytest.mark.parametrize("dtype", registry.DTYPES)
@pytest.mark.parametrize("size", [16, 64])
@pytest.mark.parametrize("program", PRESETS)
def test_generator_draws_four_times_as_large(size, program, dtype):
    module = build(program, features=8, condition=8, dtype=dtype)
    image, mu, log_sigma = jax.eval_shape(
        lambda *inputs: module.init_with_output(KEY, *inputs, True)[0], *generator_inputs(size)
    )
    assert image.shape == (2, 4 * size, 4 * size, 3)
    assert mu.shape == log_sigma.shape == (2, 8)
    assert {x.dtype for x in (image, mu, log_sigma)} == {np.dtype("float32")}


def test_generator_depends_on_picture_text_and_noise():
    inputs = generator_inputs(b=4)
    module = stage2.Generator(features=4, condition=8, residual_blocks=1)
    variables = compiled(lambda *inputs: module.init(KEY, *inputs, True))(*inputs)
    apply = compiled(lambda *inputs: module.apply(variables, *inputs, False)[0])
    image = apply(*inputs)
    assert image.dtype == jnp.float32
    assert 0 < np.abs(image).max() <= 1
    for i in range(3):
        changed = [x[::-1] if i == j else x for j, x in enumerate(inputs)]
        assert np.abs(image - apply(*changed)).max() > 0
