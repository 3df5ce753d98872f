"""Objectives against numbers computed by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from stackgan_jax.training import objectives

ZERO = jnp.zeros(3)  # Logits of one half: each cross-entropy is log 2.
LOG2 = np.log(2)
PUBLISHED = objectives.ADVERSARIAL_LOSSES["published"]
HINGE = objectives.ADVERSARIAL_LOSSES["hinge"]


def softplus(x):
    return np.log1p(np.exp(x))


def test_cross_entropy():
    logits = jnp.array([-1.0, 2.0])
    np.testing.assert_allclose(
        objectives.cross_entropy(logits, 1.0), (softplus(1) + softplus(-2)) / 2, rtol=1e-6
    )
    np.testing.assert_allclose(
        objectives.cross_entropy(logits, 0.0), (softplus(-1) + softplus(2)) / 2, rtol=1e-6
    )


def test_cross_entropy_of_a_sure_judgement_is_finite_and_float32():
    loss = objectives.cross_entropy(jnp.array([1e4], jnp.bfloat16), 0.0)
    assert loss.dtype == jnp.float32
    np.testing.assert_allclose(loss, 1e4, rtol=1e-2)


def test_discriminator_of_pairs():
    real, wrong, fake = jnp.full(4, 1.0), jnp.full(3, 2.0), jnp.full(4, -3.0)
    terms = objectives.discriminator(PUBLISHED, real, wrong, fake)
    np.testing.assert_allclose(terms["d_loss_real"], softplus(-1), rtol=1e-6)
    np.testing.assert_allclose(terms["d_loss_wrong"], softplus(2), rtol=1e-6)
    np.testing.assert_allclose(terms["d_loss_fake"], softplus(-3), rtol=1e-5)
    expected = softplus(-1) + (softplus(2) + softplus(-3)) / 2
    np.testing.assert_allclose(terms["d_loss"], expected, rtol=1e-6)


def test_discriminator_with_the_unconditional_head():
    one = jnp.ones(4)
    terms = objectives.discriminator(PUBLISHED, one, 2 * one, -3 * one, 4 * one, -5 * one)
    real, fake = (softplus(-1) + softplus(-4)) / 2, (softplus(-3) + softplus(-5)) / 2
    np.testing.assert_allclose(terms["d_loss_real"], real, rtol=1e-6)
    np.testing.assert_allclose(terms["d_loss_fake"], fake, rtol=1e-5)
    np.testing.assert_allclose(terms["d_loss"], real + (softplus(2) + 2 * fake) / 3, rtol=1e-6)


def test_undecided_discriminators_lose_two_logarithms_of_two():
    np.testing.assert_allclose(
        objectives.discriminator(PUBLISHED, *[ZERO] * 3)["d_loss"], 2 * LOG2, rtol=1e-6
    )
    np.testing.assert_allclose(
        objectives.discriminator(PUBLISHED, *[ZERO] * 5)["d_loss"], 2 * LOG2, rtol=1e-6
    )


def test_generator_is_non_saturating_and_adds_the_unconditional_head():
    np.testing.assert_allclose(objectives.generator(PUBLISHED, ZERO), LOG2, rtol=1e-6)
    np.testing.assert_allclose(objectives.generator(PUBLISHED, ZERO, ZERO), 2 * LOG2, rtol=1e-6)
    gradient = jax.grad(lambda logits: objectives.generator(PUBLISHED, logits))(jnp.array([-20.0]))
    np.testing.assert_allclose(gradient, [-1.0], rtol=1e-6)


def test_hinge_counts_logits_inside_the_margin_alone():
    real, wrong, fake = jnp.array([2.0, 0.5]), jnp.array([-3.0, 0.0]), jnp.array([-0.5, 1.0])
    terms = objectives.discriminator(HINGE, real, wrong, fake)
    np.testing.assert_allclose(terms["d_loss_real"], 0.25)
    np.testing.assert_allclose(terms["d_loss_wrong"], 0.5)
    np.testing.assert_allclose(terms["d_loss_fake"], 1.25)
    np.testing.assert_allclose(terms["d_loss"], 0.25 + (0.5 + 1.25) / 2)
    np.testing.assert_allclose(objectives.generator(HINGE, fake), -0.25)


@pytest.mark.parametrize(("name", "expected"), [("r1", 12.5), ("matching_aware", 2 * 25.0**3)])
def test_penalties_of_a_linear_score_are_those_of_its_slope(name, expected):
    """‖∇D‖² is 3² by the image and 4² by the condition."""
    score = lambda image, condition: 3 * image[:, 0, 0, 0] + 4 * condition[:, 0]
    image, condition = jnp.ones((2, 2, 2, 3)), jnp.ones((2, 5))
    np.testing.assert_allclose(objectives.PENALTIES[name](score, image, condition), expected)


@pytest.mark.parametrize("name", objectives.PENALTIES)
def test_a_flat_score_has_no_penalty_and_a_finite_gradient(name):
    def penalty(slope):
        score = lambda image, condition: slope * (image.sum((1, 2, 3)) + condition.sum(1))
        return objectives.PENALTIES[name](score, jnp.ones((2, 2, 2, 3)), jnp.ones((2, 5)))

    value, gradient = jax.value_and_grad(penalty)(0.0)
    assert value == 0 and np.isfinite(gradient)


def test_matching_is_one_minus_cosine():
    one, other = jnp.array([[3.0, 0.0]]), jnp.array([[0.0, 0.5]])
    for images, texts, expected in ((one, 2 * one, 0), (one, other, 1), (one, -one, 2)):
        np.testing.assert_allclose(objectives.matching(images, texts), expected, atol=1e-6)
    both = objectives.matching(jnp.concatenate([one, one]), jnp.concatenate([one, other]))
    np.testing.assert_allclose(both, 0.5, atol=1e-6)


def test_diversity_is_measured_by_the_difference_of_real_pictures():
    steps = jnp.linspace(-1, 1, 4).reshape(4, 1, 1, 1)
    real = jnp.broadcast_to(steps, (4, 32, 32, 3))  # neighbours differ by 2/3, the ends by 2
    for apart, expected in ((0, 1), (0.25, 0.75), (0.5, 0.5), (1, 0), (3, 0)):
        value = objectives.diversity(real, real + apart, real)
        np.testing.assert_allclose(value, expected, atol=1e-4)
    grain = jnp.tile(jnp.array([[1.0, -1.0], [-1.0, 1.0]]), (16, 16))[None, ..., None]
    np.testing.assert_allclose(objectives.diversity(real, real + grain, real), 1, atol=1e-4)


def test_restoration_adds_the_differences_of_pixels_and_of_maps():
    real = jnp.zeros((2, 8, 8, 3))
    look = lambda by: objectives.Look(real + by, (real + 2 * by, real[:, :4, :4] + 3 * by))
    for by in (0.0, 0.1, -0.2):
        value = objectives.restoration(look(by), look(0.0))
        np.testing.assert_allclose(value, abs(by) * (objectives.PIXELS + 2 + 3), rtol=1e-6)


def test_spectrum_compares_powers_and_no_places():
    real = jnp.asarray(np.random.default_rng(0).normal(size=(4, 16, 16, 3)), jnp.float32)
    moved = jnp.roll(real[::-1], (3, 5), axis=(1, 2))
    np.testing.assert_allclose(objectives.spectrum(moved, real), 0, atol=1e-6)
    np.testing.assert_allclose(objectives.spectrum(3 * real, real), np.log(9) ** 2, rtol=1e-3)


def test_spectrum_takes_a_grid_away():
    real = jnp.asarray(np.random.default_rng(0).normal(size=(4, 16, 16, 3)), jnp.float32)
    grid = jnp.tile(jnp.array([[1.0, -1.0], [-1.0, 1.0]]), (8, 8))[None, ..., None]
    drawn = jnp.roll(real, 1, axis=0) + 2 * grid
    gradient = jax.grad(objectives.spectrum)(drawn, real)
    along = lambda x: float(jnp.mean(x * grid))
    assert along(gradient) > 0 and along(gradient) ** 2 > 0.9 * float(jnp.mean(gradient**2))
    check_grads(lambda x: objectives.spectrum(x, real), (drawn,), order=1, modes=["rev"])


def test_diversity_moves_equal_pictures_apart():
    real = jnp.asarray(np.random.default_rng(0).normal(size=(4, 16, 16, 3)), jnp.float32)
    image = jnp.zeros_like(real)
    gradient = jax.grad(objectives.diversity)(image + 1e-3, image, real)
    assert (gradient < 0).all()  # a step against it moves them apart
    tiny = real[:, :8, :8]  # fewer pixels than squares
    np.testing.assert_allclose(objectives.diversity(tiny, tiny, tiny), 1)


def test_consistency_compares_averages_of_squares():
    small = jnp.array([0.0, 1.0, 2.0, 3.0]).reshape(1, 2, 2, 1)
    large = jnp.repeat(jnp.repeat(small, 4, axis=1), 4, axis=2)
    assert objectives.consistency(large, small) == 0
    texture = jnp.tile(jnp.array([[1.0, -1.0], [-1.0, 1.0]]), (4, 4))[None, ..., None]
    np.testing.assert_allclose(objectives.consistency(large + texture, small), 0, atol=1e-6)
    np.testing.assert_allclose(objectives.consistency(large + 0.5, small), 0.5, rtol=1e-6)
    np.testing.assert_allclose(objectives.consistency(large.at[0, :4, :4].add(1), small), 0.25)


def test_kl_is_zero_for_a_standard_normal_and_the_mean_over_dimensions():
    assert objectives.kl(jnp.zeros((2, 5)), jnp.zeros((2, 5))) == 0
    mu, sigma = 1.5, 0.7
    expected = -np.log(sigma) + (sigma**2 + mu**2 - 1) / 2
    loss = objectives.kl(jnp.full((3, 5), mu), jnp.full((3, 5), np.log(sigma)))
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_kl_is_the_pytorch_programs_formula_too():
    mu, log_sigma = jax.random.normal(jax.random.key(0), (2, 4, 6))
    log_variance = 2 * log_sigma
    theirs = -0.5 * jnp.mean(1 + log_variance - mu**2 - jnp.exp(log_variance))
    np.testing.assert_allclose(objectives.kl(mu, log_sigma), theirs, rtol=1e-5)
