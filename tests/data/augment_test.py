"""Crops, flips and disturbances of images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stackgan_jax.data import augment
from stackgan_jax.runtime.errors import UserError

augmented = jax.jit(augment.augment, static_argnums=2)


def numbered(batch, size):
    """Images whose red and green are the row and column, and whose blue is the image number."""
    place = np.arange(size, dtype=np.uint8)
    image = np.zeros((batch, size, size, 3), np.uint8)
    image[..., 0] = place[:, None]
    image[..., 1] = place
    image[..., 2] = np.arange(batch)[:, None, None]
    return image


def pixels(image):
    return np.rint((np.asarray(image) + 1) * 127.5).astype(int)


def test_normalise_covers_minus_one_to_one():
    np.testing.assert_allclose(
        augment.normalise(np.array([0, 51, 255], np.uint8)), [-1, -0.6, 1], rtol=1e-6
    )


def test_augment_crops_a_window_and_flips_half_of_them():
    batch, size, load = 200, 16, 19
    out = augmented(jax.random.key(0), numbered(batch, load), size)
    assert out.shape == (batch, size, size, 3)
    assert out.dtype == jnp.float32
    corners, flips = [], []
    for i, image in enumerate(pixels(out)):
        flip = image[0, 0, 1] > image[0, -1, 1]
        image = image[:, ::-1] if flip else image
        top, left = image[0, 0, :2]
        expected = numbered(batch, load)[i, top : top + size, left : left + size]
        np.testing.assert_array_equal(image, expected)
        corners.append((top, left))
        flips.append(flip)
    assert set(corners) == {(top, left) for top in range(4) for left in range(4)}
    assert 70 < sum(flips) < 130


def test_augment_depends_on_its_key_only():
    image = numbered(8, 19)
    first, again, other = (augmented(jax.random.key(k), image, 16) for k in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0


def test_augment_only_flips_images_that_already_have_the_size():
    out = pixels(augmented(jax.random.key(0), numbered(8, 16), 16))
    np.testing.assert_array_equal(np.sort(out, axis=2), np.sort(numbered(8, 16), axis=2))


def test_centre_takes_the_middle():
    np.testing.assert_array_equal(
        pixels(augment.centre(numbered(2, 20), 16)), numbered(2, 20)[:, 2:18, 2:18]
    )


@pytest.mark.parametrize("crop", [augment.centre, lambda i, s: augmented(jax.random.key(0), i, s)])
def test_images_smaller_than_the_crop_are_rejected(crop):
    with pytest.raises(UserError, match="16 pixels can't be cropped to 32"):
        crop(numbered(2, 16), 32)


def test_images_are_mirrored_only_with_flip():
    images = jnp.zeros((64, 8, 8, 3), jnp.uint8).at[:, :, 0].set(255)
    kept = augment.augment(jax.random.key(0), images, 8, flip=False)
    np.testing.assert_array_equal(kept, augment.normalise(images))
    mirrored = augment.augment(jax.random.key(0), images, 8)[:, 0, -1, 0] == 1
    assert 16 < mirrored.sum() < 48


def test_disturbed_pictures_are_small_and_nearly_the_same():
    image = jnp.full((2, 40, 40, 3), jnp.array([-0.5, 0.0, 0.5])).at[1].add(0.25)
    seen = augment.disturb(jax.random.key(0), image, 20)
    assert seen.shape == (2, 20, 20, 3)
    np.testing.assert_allclose(seen.mean(axis=(1, 2)), image[:, 0, 0], atol=0.2)
    assert 0.15 < float(seen.std(axis=(1, 2)).mean()) < 0.25
    assert not np.allclose(seen, augment.disturb(jax.random.key(1), image, 20))


def test_disturbed_pictures_are_moved_by_at_most_a_tenth():
    image = jnp.zeros((1, 40, 40, 3)).at[0, 20, 20].set(1000.0)
    places = set()
    for seed in range(30):
        seen = augment.disturb(jax.random.key(seed), image, 40)
        places.add(np.unravel_index(int(seen[0, ..., 0].argmax()), (40, 40)))
    rows, columns = zip(*places, strict=True)
    assert 16 <= min(rows) < max(rows) <= 24
    assert 16 <= min(columns) < max(columns) <= 24
