"""Differentiable augmentation: what it changes, what it keeps, and its gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from stackgan_jax.training import augmentations

KEY = jax.random.key(3)
IMAGE = jax.random.uniform(jax.random.key(1), (6, 16, 16, 3), minval=-1)


def test_a_moved_picture_is_the_same_one_elsewhere():
    moved = augmentations.translation(KEY, IMAGE)
    for before, after in zip(IMAGE, moved, strict=True):
        shifts = [
            (
                after[max(-y, 0) : 16 - max(y, 0), max(-x, 0) : 16 - max(x, 0)],
                before[max(y, 0) : 16 + min(y, 0), max(x, 0) : 16 + min(x, 0)],
            )
            for y in range(-2, 3)
            for x in range(-2, 3)
        ]
        assert sum(bool(jnp.array_equal(a, b)) for a, b in shifts) == 1


def test_a_blur_averages_by_a_gaussian():
    np.testing.assert_array_equal(augmentations.blurred(IMAGE, jnp.float32(0)), IMAGE)
    even = jnp.full((1, 64, 64, 3), 0.3)
    np.testing.assert_allclose(augmentations.blurred(even, jnp.float32(2)), even, rtol=1e-5)
    dot = jnp.zeros((1, 65, 65, 1)).at[0, 32, 32, 0].set(1)
    spread = np.asarray(augmentations.blurred(dot, jnp.float32(1.5)))[0, :, :, 0]
    bell = np.exp(-0.5 * (np.arange(-32, 33) / 1.5) ** 2)
    np.testing.assert_allclose(spread, np.outer(bell, bell) / bell.sum() ** 2, atol=1e-5)
    for deviation in (0.0, 0.4):
        check_grads(
            functools.partial(augmentations.blurred, deviation=jnp.float32(deviation)),
            (IMAGE[:1],),
            order=1,
            modes=["rev"],
        )


@pytest.mark.parametrize(("share", "side"), [(0.5, 8), (0.3, 4), (0.0, 0)])
def test_a_square_of_a_share_of_the_side_or_less_is_cut_out(share, side):
    cut = np.asarray(augmentations.cutout(KEY, IMAGE, share))
    for before, after in zip(np.asarray(IMAGE), cut, strict=True):
        gone = (after == 0).all(-1)
        rows, columns = gone.any(1), gone.any(0)
        assert gone.sum() == rows.sum() * columns.sum() <= side**2
        assert min(rows.sum(), columns.sum()) >= side // 2
        np.testing.assert_array_equal(after[~gone], before[~gone])


def test_colours_change_by_picture_and_shapes_stay():
    changed = augmentations.colour(KEY, IMAGE)
    for before, after in zip(np.asarray(IMAGE), np.asarray(changed), strict=True):
        grey = [each.mean(-1).ravel() for each in (before, after)]
        assert np.corrcoef(*grey)[0, 1] > 0.999
    assert np.abs(changed - IMAGE).max(axis=(1, 2, 3)).min() > 0.01


@pytest.mark.parametrize("name", augmentations.AUGMENTATIONS)
def test_the_gradient_is_that_of_finite_differences(name):
    with jax.enable_x64(True):
        image = jnp.asarray(np.asarray(IMAGE[:2], np.float64))
        function = lambda x: jnp.sin(augmentations.AUGMENTATIONS[name](KEY, x, 0.5)).sum()
        check_grads(function, (image,), order=2, modes=["rev"])


@pytest.mark.parametrize("name", augmentations.AUGMENTATIONS)
def test_a_key_repeats_and_pictures_are_disturbed_differently(name):
    augment = functools.partial(augmentations.AUGMENTATIONS[name], share=0.5)
    same = jnp.broadcast_to(IMAGE[:1], IMAGE.shape)
    first, second = augment(KEY, same), augment(KEY, same)
    np.testing.assert_array_equal(first, second)
    assert len(np.unique(np.asarray(first).reshape(6, -1), axis=0)) == 6
