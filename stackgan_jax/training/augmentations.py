"""Augmentation of what the discriminator sees, real and drawn, with gradients (DiffAugment).

Zhao et al., NeurIPS 2020: on few pictures a discriminator learns the training set by heart. If it
sees only disturbed pictures, real and drawn ones disturbed by the same rule, it can't, and the
generator still learns to draw undisturbed ones.

A new one is a function here and an entry of `AUGMENTATIONS`, which `config.training.augmentation`
names.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

BLUR = 1 / 32  # Deviation of the first step's blur, as a share of the side.
SHIFT = 1 / 8  # Largest move, as a share of the side.


def colour(key: jax.Array, image: jax.Array) -> jax.Array:
    """Changes brightness by up to 0.5, saturation by 0 to 2 and contrast by 0.5 to 1.5.

    Args:
        key: of the randomness, which is another for every picture.
        image: `[b, h, w, 3]` in [-1, 1].

    Returns:
        The same shape; values may leave [-1, 1].
    """
    light, saturation, contrast = jax.random.uniform(key, (3, len(image), 1, 1, 1))
    image = image + (light - 0.5)
    grey = image.mean(-1, keepdims=True)
    image = (image - grey) * (2 * saturation) + grey
    mean = image.mean((1, 2, 3), keepdims=True)
    return (image - mean) * (contrast + 0.5) + mean


def blurred(image: jax.Array, deviation: jax.Array) -> jax.Array:
    """Blurs images by a Gaussian, whose weights are normalised where it reaches over the border.

    These are shifted sums, because jaxlib 0.10.2 can't compile their matrix product for an H100.

    Args:
        image: `[b, s, s, c]`.
        deviation: of the Gaussian in pixels, at most `BLUR` of the side; at 0 the images stay as
            they are.
    """
    side = image.shape[1]
    reach = round(4 * BLUR * side)
    offsets = jnp.arange(-reach, reach + 1)
    weights = jnp.exp(-jnp.square(offsets) / jnp.maximum(2 * jnp.square(deviation), 1e-3))

    def averaged(x: jax.Array, axis: int) -> jax.Array:
        padded = jnp.pad(x, [(reach * (i == axis),) * 2 for i in range(x.ndim)])
        shifted = lambda start: jax.lax.slice_in_dim(padded, start, start + side, axis=axis)
        return sum(weight * shifted(start) for start, weight in enumerate(weights))

    present = averaged(jnp.ones((side,)), 0)
    image = averaged(image, 1) / present[:, None, None]
    return averaged(image, 2) / present[:, None]


def translation(key: jax.Array, image: jax.Array) -> jax.Array:
    """Moves every picture by up to `SHIFT` of its side each way; zeros move in."""
    b, h, w, _ = image.shape
    top, left = round(h * SHIFT), round(w * SHIFT)
    corners = jax.random.randint(key, (b, 2), 0, jnp.array([2 * top + 1, 2 * left + 1]))
    padded = jnp.pad(image, ((0, 0), (top, top), (left, left), (0, 0)))
    move = lambda each, corner: jax.lax.dynamic_slice(each, (*corner, 0), image.shape[1:])
    return jax.vmap(move)(padded, corners)


def cutout(key: jax.Array, image: jax.Array, share: float) -> jax.Array:
    """Sets a square to 0, whose side is `share` of the picture's and whose centre is anywhere."""
    b, h, w, _ = image.shape
    row, column = (
        jax.random.randint(each, (b, 1), 0, side)
        for each, side in zip(jax.random.split(key), (h, w), strict=True)
    )
    rows = jnp.abs(2 * (jnp.arange(h) - row) + 1) <= h * share
    columns = jnp.abs(2 * (jnp.arange(w) - column) + 1) <= w * share
    return image * ~(rows[:, :, None] & columns[:, None])[..., None]


def translation_cutout(key: jax.Array, image: jax.Array, share: float) -> jax.Array:
    """Moves, then cuts out; the colours, which most captions name, stay as they are."""
    keys = jax.random.split(key)
    return cutout(keys[1], translation(keys[0], image), share)


def colour_translation_cutout(key: jax.Array, image: jax.Array, share: float) -> jax.Array:
    """All three, in this order, as the paper advises for few pictures."""
    keys = jax.random.split(key, 3)
    return cutout(keys[2], translation(keys[1], colour(keys[0], image)), share)


# (key, image `[b, h, w, 3]` in [-1, 1], side of the square that is cut out as a share of the
# picture's) → the same shape, differentiable by the image.
AUGMENTATIONS: dict[str, Callable[[jax.Array, jax.Array, float], jax.Array]] = {
    "translation_cutout": translation_cutout,
    "colour_translation_cutout": colour_translation_cutout,
}
