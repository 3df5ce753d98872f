"""Augmentation of images, as pure functions that run on the device (StackGAN, sec. 3.5)."""

import jax
import jax.numpy as jnp

from stackgan_jax.runtime.errors import UserError

MARGIN = 3 / 16  # of both published programs: 76 pixels for crops of 64, 304 for 256


def load_size(size: int, margin: float = MARGIN) -> int:
    """The side in pixels of stored pictures.

    Args:
        size: of the crops that are taken of them, in pixels.
        margin: by what share of `size` they are larger; with 0 the crops are whole pictures.
    """
    return size + int(size * margin)


def normalise(image: jax.Array) -> jax.Array:
    """uint8 in [0, 255] → float32 in [-1, 1]."""
    return image.astype(jnp.float32) * (2 / 255) - 1


def augment(key: jax.Array, image: jax.Array, size: int, flip: bool = True) -> jax.Array:
    """Crops every image at a random place and, if `flip`, mirrors half of them.

    Args:
        key: of the randomness.
        image: `[b, L, L, 3]` uint8.
        size: side of the crops in pixels.
        flip: False to crop only.

    Returns:
        `[b, size, size, 3]` float32 in [-1, 1].

    Raises:
        UserError: the images are smaller than `size`.
    """
    margin = _margin(image, size)
    batch = image.shape[0]
    corner_key, flip_key = jax.random.split(key)
    corners = jax.random.randint(corner_key, (batch, 2), 0, margin + 1)
    flips = jax.random.bernoulli(flip_key, 0.5, (batch,)) & flip

    def crop(image: jax.Array, corner: jax.Array, flip: jax.Array) -> jax.Array:
        image = jax.lax.dynamic_slice(image, (corner[0], corner[1], 0), (size, size, 3))
        return jnp.where(flip, image[:, ::-1], image)

    return normalise(jax.vmap(crop)(image, corners, flips))


def centre(image: jax.Array, size: int) -> jax.Array:
    """Crops the middle of every image.

    Args:
        image: `[b, L, L, 3]` uint8.
        size: side of the crops in pixels.

    Returns:
        `[b, size, size, 3]` float32 in [-1, 1].

    Raises:
        UserError: the images are smaller than `size`.
    """
    start = _margin(image, size) // 2
    return normalise(image[:, start : start + size, start : start + size])


def _margin(image: jax.Array, size: int) -> int:
    """The pixels by which the images are larger than their crops; UserError if they are smaller."""
    margin = image.shape[1] - size
    if margin < 0:
        raise UserError(
            f"Images of {image.shape[1]} pixels can't be cropped to {size}; load larger images or "
            "choose a smaller image size."
        )
    return margin


def disturb(key: jax.Array, image: jax.Array, size: int) -> jax.Array:
    """Prepares generated pictures for an encoder of real pictures.

    All are moved by the same random offset of up to a tenth of their side and averaged over
    squares; each is brightened or darkened; noise of standard deviation 0.2 is added. Patterns that
    raise the encoder's score but that no eye sees do not survive this.

    Args:
        key: of the randomness.
        image: `[b, s, s, 3]` float32 in [-1, 1]; s must be a multiple of `size`.
        size: side of the result in pixels.

    Returns:
        `[b, size, size, 3]` float32, about in [-1, 1].
    """
    move_key, light_key, noise_key = jax.random.split(key, 3)
    b, s = image.shape[:2]
    margin = s // 10
    image = jnp.pad(image, ((0, 0), (margin, margin), (margin, margin), (0, 0)), mode="edge")
    top, left = jax.random.randint(move_key, (2,), 0, 2 * margin + 1)
    image = jax.lax.dynamic_slice(image, (0, top, left, 0), (b, s, s, 3))
    image = image.reshape(b, size, s // size, size, s // size, 3).mean(axis=(2, 4))
    light = jax.random.uniform(light_key, (b, 1, 1, 1), minval=0.8, maxval=1.2)
    return light * image + 0.2 * jax.random.normal(noise_key, image.shape)


def reduced(
    image: jax.Array, size: int, key: jax.Array | None = None, flip: bool = True
) -> jax.Array:
    """Crops every image to the largest multiple of `size` and averages it over squares.

    The crop is 64 of 76 pixels for a size of 32, as in Stage I.

    Args:
        image: `[b, L, L, 3]` uint8.
        size: side of the result in pixels.
        key: for crops at random places; None for the middle of every image.
        flip: with a key, mirrors half of the images.

    Returns:
        `[b, size, size, 3]` float32 in [-1, 1].

    Raises:
        UserError: the images are smaller than `size`.
    """
    factor = max(image.shape[1] // size, 1)
    side = size * factor
    pictures = centre(image, side) if key is None else augment(key, image, side, flip)
    return pictures.reshape(-1, size, factor, size, factor, 3).mean(axis=(2, 4))
