"""The probe tells which sentence belongs to which picture, and is kept by its run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stackgan_jax.training import objectives, probe

RNG = np.random.default_rng(0)


def fitted(kinds=4, pictures=120):
    """A probe of maps whose channels' means say the kind, the maps, and all kinds' embeddings."""
    kind = RNG.integers(kinds, size=pictures)
    means, embeddings = RNG.standard_normal((kinds, 12)), RNG.standard_normal((kinds, 8)) + 3
    maps = means[kind][:, None, None] + 0.1 * RNG.standard_normal((pictures, 4, 4, 12))
    maps = (jnp.asarray(maps, jnp.float32),)
    features = np.asarray(probe.moments(maps))
    return probe.regression(features, embeddings[kind]), maps, jnp.float32(embeddings), kind


def test_pictures_are_most_like_their_own_sentences():
    made, maps, embeddings, kind = fitted()
    to_each = jnp.stack(
        [made.likeness(maps, jnp.broadcast_to(e, (len(kind), 8))) for e in embeddings], axis=1
    )
    assert np.mean(np.argmax(to_each, axis=1) == kind) > 0.95
    assert np.all(np.abs(to_each) <= 1 + 1e-6)


def test_moments_are_those_of_numpy_and_have_a_gradient_where_nothing_varies():
    maps = RNG.standard_normal((2, 3, 4, 5)), RNG.standard_normal((2, 2, 2, 3))
    expected = [each for x in maps for each in (x.mean((1, 2)), np.sqrt(x.var((1, 2)) + 1e-4))]
    found = probe.moments(tuple(map(jnp.float32, maps)))
    np.testing.assert_allclose(found, np.concatenate(expected, axis=1), rtol=1e-5, atol=1e-6)
    gradient = jax.grad(lambda x: probe.moments((x,)).sum())(jnp.ones((1, 4, 4, 2)))
    assert np.isfinite(gradient).all()


def test_the_gradient_equals_finite_differences():
    made, (maps,), embeddings, kind = fitted()
    x, y = np.float64(maps[:4]), np.float64(embeddings[kind[:4]])
    made = probe.Probe(*map(np.float64, made))
    with jax.enable_x64():
        loss = lambda x: objectives.shortfall(made.likeness((x,), y), jnp.full(4, 0.99999))
        gradient = jax.grad(loss)(x)
        direction = RNG.standard_normal(x.shape)
        numeric = (loss(x + 1e-3 * direction) - loss(x - 1e-3 * direction)) / 2e-3
        assert float(jnp.sum(gradient * direction)) == pytest.approx(float(numeric), rel=1e-2)


def test_nothing_is_gained_beyond_what_real_pictures_show():
    real = jnp.array([0.5, 0.7])
    assert objectives.shortfall(jnp.array([0.6, 0.9]), real) == 0
    np.testing.assert_allclose(
        objectives.shortfall(jnp.array([0.4, 0.9]), real), (0.2 + 0) / 2, rtol=1e-5
    )


def test_features_and_sentences_without_spread_give_a_finite_probe():
    made = probe.regression(np.ones((5, 3)), np.ones((5, 2)))
    assert all(np.isfinite(each).all() for each in made)
