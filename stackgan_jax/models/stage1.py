"""Stage I's generator, which draws the small image (StackGAN, sec. 3.3)."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from stackgan_jax.models.layers import (
    Bottleneck,
    ConditioningAugmentation,
    Conv,
    Dense,
    LayerOptions,
    UpsampleConv,
    activate,
    batch_norm,
    blocks,
    doublings,
)


class Generator(nn.Module):
    """Draws an image from a sentence embedding and noise.

    The defaults are the published bird and flower network; `models.presets` has the other published
    settings by name.

    Attributes:
        size: of the image.
        features: width at half the final size; it doubles towards the 4x4 start.
        condition: numbers in ĉ, μ and log σ.
        residual: a bottleneck at 4x4 and one at 8x8.
        noise_first: the input is [z, ĉ] instead of [ĉ, z].
        dense_bias: the dense layer at the start has a bias.
        image_upsamples: the convolution to RGB does the last doubling; otherwise one more block
            does, half as wide.
        condition_slope: of the conditioning augmentation's leaky ReLU.
        log_variance: the conditioning augmentation learns log σ² instead of log σ.
        options: of all layers.
    """

    size: int = 64
    features: int = 128
    condition: int = 128
    residual: bool = True
    noise_first: bool = False
    dense_bias: bool = True
    image_upsamples: bool = True
    condition_slope: float = 0.2
    log_variance: bool = False
    options: LayerOptions = LayerOptions()

    @nn.compact
    def __call__(
        self, embedding: jax.Array, z: jax.Array, epsilon: jax.Array, train: bool
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Embedding `[b, t]`, z `[b, nz]`, epsilon `[b, condition]` → image, μ, log σ.

        Returns:
            image: `[b, size, size, 3]` float32 in [-1, 1].
            μ, log σ: `[b, condition]` float32.
        """
        c, mu, log_sigma = ConditioningAugmentation(
            self.condition, self.condition_slope, self.log_variance, name="conditioning"
        )(embedding, epsilon)
        x = self._start(jnp.concatenate([z, c] if self.noise_first else [c, z], axis=-1), train)

        block = blocks(self.options)
        x = Bottleneck(block, name="residual4")(x, train) if self.residual else activate(x, 0.0)
        times = doublings(self.size)
        width = self.features << (times - 1)
        for i in range(1, times if self.image_upsamples else times + 1):
            size, residual = 4 << i, self.residual and i == 1
            slope = None if residual else 0.0
            x = block(width >> i, upsample=True, slope=slope, name=f"up{size}")(x, train)
            if residual:
                x = Bottleneck(block, name=f"residual{size}")(x, train)

        to_image = UpsampleConv if self.image_upsamples else Conv
        x = to_image(3, options=self.options, name="image")(x)
        return jnp.tanh(x.astype(jnp.float32)), mu, log_sigma

    def _start(self, x: jax.Array, train: bool) -> jax.Array:
        """The 4x4 map that the image grows from: `[b, n]` → `[b, 4, 4, w]`."""
        dtype = self.options.dtype
        width = self.features << (doublings(self.size) - 1)
        x = x.astype(dtype)
        x = Dense(4 * 4 * width, use_bias=self.dense_bias, dtype=dtype, name="dense")(x)
        return batch_norm(self.options, name="norm")(x, train).reshape(-1, 4, 4, width)
