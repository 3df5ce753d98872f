"""Augmentation of images, pure and on the device (StackGAN, sec. 3.5)."""

import jax
import jax.numpy as jnp

from stackgan_jax.runtime.errors import UserError


def load_size(size):
    """The side at which pictures are stored for crops of `size`: 76 for 64, 304 for 256."""
    return size * 19 // 16


def normalise(image):
    """uint8 [0, 255] → float32 [-1, 1]."""
    return image.astype(jnp.float32) * (2 / 255) - 1


def augment(key, image, size, flip=True):
    """Crops and flips every image at random: uint8 [b, L, L, 3] → float32 [b, size, size, 3].

    Values in [-1, 1]; without `flip` only cropped. UserError if the images are smaller than `size`.
    """
    room = _room(image, size)
    batch = image.shape[0]
    corner_key, flip_key = jax.random.split(key)
    corners = jax.random.randint(corner_key, (batch, 2), 0, room + 1)
    flips = jax.random.bernoulli(flip_key, 0.5, (batch,)) & flip

    def crop(image, corner, flip):
        image = jax.lax.dynamic_slice(image, (corner[0], corner[1], 0), (size, size, 3))
        return jnp.where(flip, image[:, ::-1], image)

    return normalise(jax.vmap(crop)(image, corners, flips))


def centre(image, size):
    """Crops the middle out of every image: uint8 [b, L, L, 3] → float32 [b, size, size, 3].

    Values in [-1, 1]. UserError if the images are smaller than `size`.
    """
    start = _room(image, size) // 2
    return normalise(image[:, start : start + size, start : start + size])


def _room(image, size):
    room = image.shape[1] - size
    if room < 0:
        raise UserError(
            f"Images of {image.shape[1]} pixels can't be cropped to {size}; load them larger or "
            "choose a smaller image size."
        )
    return room


def disturb(key, image, size):
    """Generated pictures as an encoder of real ones shall see them.

    [b, s, s, 3] → [b, size, size, 3] float32, about [-1, 1]. Moved by up to a tenth, all alike,
    averaged over squares, each brightened or darkened, and noise of 0.2 added: patterns that would
    please the encoder and no eye don't survive it. s must be a multiple of `size`.
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
    """[b, l, l, 3] uint8 → [b, size, size, 3] in [-1, 1]: cut, then averaged over squares.

    The cut is the largest multiple of `size`, 64 of 76 pixels for 32 as in Stage I. With a key each
    picture is cut at a random place and, if `flip`, flipped at random; without one, cut at its
    middle. Raises UserError for pictures smaller than `size`.
    """
    factor = max(image.shape[1] // size, 1)
    cut = size * factor
    pictures = centre(image, cut) if key is None else augment(key, image, cut, flip)
    return pictures.reshape(-1, size, factor, size, factor, 3).mean(axis=(2, 4))
