"""The image towers of the joint embedding of captions and images (Reed et al., CVPR 2016)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

# With this length, scores start within the margin of 1 and leave it after a few hundred steps.
IMAGE_LENGTH = 4.0


class ImageTower(nn.Module):
    """A small convolutional image encoder, trained together with the text encoder.

    Attributes:
        width: Width of the embedding; equal to the text encoder's.
        features: Features of the 3x3 convolutions. Each convolution halves the image.
        dtype: Of the computation; parameters are float32.
    """

    width: int = 256
    features: tuple[int, ...] = (32, 64, 128)
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        """Embeds images.

        Args:
            image: [b, s, s, 3] in [-1, 1].

        Returns:
            [b, width] float32. Each row has length `IMAGE_LENGTH`.
        """
        x = image.astype(self.dtype)
        for features in self.features:
            he = nn.initializers.he_normal()
            x = nn.Conv(features, (3, 3), 2, 1, kernel_init=he, dtype=self.dtype)(x)
            # No normalisation: over a single image it would remove how dark or bright the image is.
            x = nn.relu(x)
        # No average over the image: captions say where things are (a red crown, a white belly).
        x = nn.Dense(self.width, dtype=self.dtype)(x.reshape(len(x), -1)).astype(jnp.float32)
        # Reed et al. use fixed image features. With trained ones, the quickest way to a lower loss
        # is to shrink both embeddings to zero, and training hardly recovers from there. A fixed
        # length prevents that.
        return _of_length(x)


class FeatureTower(nn.Module):
    """A linear layer on standardised features of a frozen network, as in Reed et al.

    The parameters `shift` and `scale` standardise the features and are not trained.

    Attributes:
        width: Width of the embedding; equal to the text encoder's.
    """

    width: int = 256

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        """Embeds images, given by their features [b, d] → [b, width] float32 of `IMAGE_LENGTH`."""
        shape = features.shape[1:]
        shift = self.param("shift", nn.initializers.zeros, shape)
        scale = self.param("scale", nn.initializers.ones, shape)
        x = (features.astype(jnp.float32) - shift) * scale
        return _of_length(nn.Dense(self.width, name="projection")(x))


def _of_length(x: jax.Array) -> jax.Array:
    """Scales each row to `IMAGE_LENGTH`."""
    return IMAGE_LENGTH * x * jax.lax.rsqrt(jnp.sum(x**2, axis=-1, keepdims=True) + 1e-6)
