"""The image tower of the joint embedding of captions and images (Reed et al., 2016)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

# Such that scores start within the margin of 1, and learn to leave it in a few hundred steps.
IMAGE_LENGTH = 4.0


class ImageTower(nn.Module):
    """A small convolutional image encoder, needed only while the text encoder is trained.

    Attributes:
        width: of the embedding, the text tower's.
        features: of the 3x3 convolutions, each of which halves the picture.
        dtype: of the computation; parameters are float32.
    """

    width: int = 256
    features: tuple[int, ...] = (32, 64, 128)
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        """image: [b, s, s, 3] in [-1, 1] → [b, width] float32, each of length `IMAGE_LENGTH`."""
        x = image.astype(self.dtype)
        for features in self.features:
            he = nn.initializers.he_normal()
            x = nn.Conv(features, (3, 3), 2, 1, kernel_init=he, dtype=self.dtype)(x)
            # Not normalised: over one picture that would take away how dark or bright it is.
            x = nn.relu(x)
        # Not averaged over the picture: captions say what is where, a red crown, a white belly.
        x = nn.Dense(self.width, dtype=self.dtype)(x.reshape(len(x), -1)).astype(jnp.float32)
        # Reed et al. learn from fixed image features; with free ones the loss is soonest lowered by
        # shrinking both embeddings to nothing, from where training hardly returns.
        return IMAGE_LENGTH * x * jax.lax.rsqrt(jnp.sum(x**2, axis=-1, keepdims=True) + 1e-6)
