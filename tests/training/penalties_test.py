"""Second-order gradients: a penalty on the discriminator's gradient is itself differentiated."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from stackgan_jax.models import batch_norm, convolution, discriminator, layers, stage1
from stackgan_jax.training import gan, objectives

KEY = jax.random.key(0)
compiled = functools.partial(jax.jit, compiler_options=convolution.compiler_options(once=True))


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape))


@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "padding"),
    [
        ((2, 4, 4, 3), (3, 3, 3, 5), 1, "SAME"),
        ((2, 8, 8, 3), (4, 4, 3, 6), 2, ((1, 1), (1, 1))),
        ((2, 4, 4, 5), (1, 1, 5, 3), 1, "SAME"),
        ((2, 4, 4, 5), (4, 4, 5, 1), 1, "VALID"),
    ],
    ids=["3x3", "halving", "1x1", "whole map"],
)
@pytest.mark.slow
def test_second_order_gradients_of_convolutions(float64, shape, kernel, stride, padding):
    conv = lambda x, k: jnp.sin(convolution.conv(x, k, stride, padding)).sum()
    check_grads(conv, (normal(*shape), normal(*kernel, seed=1)), order=2, modes=["rev"])


@pytest.mark.parametrize("size", [4, 20], ids=["by product", "by phases"])
@pytest.mark.slow
def test_second_order_gradients_of_upsampling(float64, size):
    conv = lambda x, k: jnp.sin(convolution.upsample_conv(x, k)).sum()
    arguments = normal(1, size, size, 5), normal(3, 3, 5, 6, seed=1)
    check_grads(conv, arguments, order=2, modes=["rev"])


def test_second_order_gradients_of_batch_normalisation(float64):
    standardise = lambda *arguments: jnp.sin(batch_norm._standardise(*arguments)).sum()
    # The normalisation computes in float32, so its numerical gradients are rough.
    arguments = (normal(3, 2, 2, 4), *(normal(4, seed=i) for i in (1, 2, 3)))
    check_grads(standardise, arguments, order=2, modes=["rev"], atol=1e-2, rtol=1e-2, eps=1e-2)


@pytest.mark.parametrize("name", objectives.PENALTIES)
@pytest.mark.slow
def test_the_gradient_of_a_penalty_is_that_of_finite_differences(name, monkeypatch):
    # A leaky ReLU's slope jumps, and a penalty on slopes jumps with it; a smooth one does not.
    smooth = lambda x, slope: x if slope is None else jnp.logaddexp(x, 0.2 * x)
    monkeypatch.setattr(layers, "activate", smooth)
    monkeypatch.setattr(discriminator, "activate", smooth)
    module = discriminator.Discriminator(size=16, features=8, condition=6)
    image, text = normal(4, 16, 16, 3), normal(4, 6, seed=1)
    variables = module.init(KEY, image, text, True)
    params = variables["params"]

    def penalty(params):
        def score(image, condition):
            held = {"params": params, "batch_stats": variables["batch_stats"]}
            (logits, _), _ = module.apply(held, image, condition, True, mutable=["batch_stats"])
            return logits

        return objectives.PENALTIES[name](score, image, text)

    leaves, structure = jax.tree.flatten(params)
    direction = jax.tree.unflatten(
        structure, [leaf * normal(*leaf.shape, seed=i) for i, leaf in enumerate(leaves)]
    )
    along = lambda t: penalty(jax.tree.map(lambda p, d: p + t * d, params, direction))
    value, gradient = compiled(jax.value_and_grad(along))(0.0)
    after, before = (compiled(along)(t) for t in (3e-3, -3e-3))
    assert value > 0
    np.testing.assert_allclose(gradient, (after - before) / 6e-3, rtol=1e-2)


@pytest.mark.slow
def test_a_step_with_a_penalty_reports_it_and_trains():
    game = gan.Gan(
        stage1.Generator(size=16, features=8, condition=8),
        discriminator.Discriminator(size=16, features=8, condition=8),
        z_features=4,
        adversarial="hinge",
        penalty="matching_aware",
        penalty_weight=2.0,
    )
    state = compiled(game.init, static_argnums=1)(KEY, 12)
    image = jax.random.uniform(KEY, (4, 16, 16, 3), minval=-1)
    given = gan.Batch(image, jnp.ones((4, 12)), jnp.array([1, 2, 3, 0]))
    after, metrics = compiled(game.update)(state, given, game.cascade.noise(KEY, 4))
    assert metrics["penalty"] > 0
    moved = jax.tree.map(np.array_equal, state.discriminator.params, after.discriminator.params)
    assert not any(jax.tree.leaves(moved))
