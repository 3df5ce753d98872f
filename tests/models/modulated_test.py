"""Generators with text and noise in every block."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stackgan_jax.models import convolution, modulated

KEY = jax.random.key(0)
compiled = functools.partial(jax.jit, compiler_options=convolution.compiler_options(once=True))


@pytest.fixture(scope="module")
def first():
    module = modulated.Stage1Generator(size=16, features=4, condition=3)
    inputs = jax.random.normal(KEY, (2, 5)), jax.random.normal(KEY, (2, 6)), jnp.ones((2, 3))
    variables = compiled(lambda: module.init(KEY, *inputs, True))()
    return compiled(lambda *arguments: module.apply(*arguments, True)), inputs, variables


def test_stage_one_draws_bounded_pictures_with_mu_and_sigma(first):
    draw, inputs, variables = first
    image, mu, log_sigma = draw(variables, *inputs)
    assert image.shape == (2, 16, 16, 3) and mu.shape == log_sigma.shape == (2, 3)
    assert np.abs(image).max() <= 1 and image.std() > 0.01
    assert set(variables) == {"params"}  # no statistics of the batch


def test_a_picture_does_not_depend_on_the_others_of_its_batch(first):
    draw, inputs, variables = first
    whole = draw(variables, *inputs)[0]
    alone = draw(variables, *(x[:1] for x in inputs))[0]
    np.testing.assert_allclose(alone, whole[:1], atol=1e-5)


@pytest.mark.parametrize("changed", range(3), ids=["embedding", "z", "epsilon"])
def test_every_input_changes_the_picture(first, changed):
    draw, inputs, variables = first
    # Gates start at 0: open them, as the first steps of a training do.
    opened = jax.tree.map(lambda x: x + 1.0 if x.ndim == 0 else x, variables)
    other = [x + (i == changed) for i, x in enumerate(inputs)]
    images = [draw(opened, *each)[0] for each in (inputs, other)]
    assert np.abs(images[0] - images[1]).max() > 1e-4


@pytest.mark.slow
def test_a_later_stage_starts_near_the_enlarged_earlier_picture():
    module = modulated.LaterGenerator(features=4, condition=3, residual_blocks=1)
    earlier = jax.random.uniform(KEY, (2, 16, 16, 3), minval=-0.8, maxval=0.8)
    inputs = earlier, jnp.ones((2, 5)), jnp.ones((2, 3))
    variables = compiled(lambda: module.init(KEY, *inputs, True))()
    image, _, _ = compiled(lambda v: module.apply(v, *inputs, True))(variables)
    enlarged = jax.image.resize(earlier, image.shape, "bilinear")
    assert image.shape == (2, 64, 64, 3)
    assert 0 < np.abs(image - enlarged).mean() < 0.15


@pytest.mark.parametrize("factor", [2, 4])
def test_enlarged_pictures_are_interpolated_as_by_jax(factor):
    image = jax.random.normal(KEY, (2, 5, 3, 3))
    expected = jax.image.resize(image, (2, factor * 5, factor * 3, 3), "bilinear")
    np.testing.assert_allclose(modulated.enlarged(image, factor), expected, atol=1e-6)
