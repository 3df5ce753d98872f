"""The generator of every stage after the first: it redraws an image larger (StackGAN, sec. 3.4)."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from stackgan_jax.models.layers import (
    ConditioningAugmentation,
    Conv,
    LayerOptions,
    Residual,
    blocks,
    join,
)

FACTOR = 4  # The image is this many times as large as the earlier stage's.


class Generator(nn.Module):
    """Draws an image four times as large from the earlier stage's image and the sentence.

    The defaults are the published bird and flower network; `models.presets` has the other published
    settings by name. It has a conditioning augmentation of its own and takes no z.

    Attributes:
        features: width at the earlier image's size. At a quarter of that size the width is
            4 * features; it halves with each of the four doublings.
        condition: numbers in ĉ, μ and log σ.
        residual_blocks: at a quarter of the earlier image's size.
        condition_slope: of the conditioning augmentation's leaky ReLU.
        log_variance: the conditioning augmentation learns log σ² instead of log σ.
        options: of all layers.
    """

    features: int = 128
    condition: int = 128
    residual_blocks: int = 4
    condition_slope: float = 0.2
    log_variance: bool = False
    options: LayerOptions = LayerOptions()

    @nn.compact
    def __call__(
        self, earlier_image: jax.Array, embedding: jax.Array, epsilon: jax.Array, train: bool
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Draws the image, with μ and log σ.

        Args:
            earlier_image: `[b, s, s, 3]` in [-1, 1].
            embedding: `[b, t]` of the sentences.
            epsilon: `[b, condition]` noise.
            train: whether to normalise by the batch's statistics.

        Returns:
            image: `[b, 4s, 4s, 3]` float32 in [-1, 1].
            μ, log σ: `[b, condition]` float32.
        """
        block = blocks(self.options)
        c, mu, log_sigma = ConditioningAugmentation(
            self.condition, self.condition_slope, self.log_variance, name="conditioning"
        )(embedding, epsilon)

        width = self.features
        x = block(width, normalise=False, name="encode")(earlier_image, train)
        x = block(2 * width, 4, stride=2, name="down2")(x, train)
        x = block(4 * width, 4, stride=2, name="down4")(x, train)
        x = block(4 * width, name="joint")(join(x, c), train)
        for i in range(self.residual_blocks):
            x = Residual(block, name=f"residual{i}")(x, train)
        for i in range(4):
            x = block(2 * width >> i, upsample=True, name=f"up{i}")(x, train)
        x = Conv(3, options=self.options, name="image")(x)
        return jnp.tanh(x.astype(jnp.float32)), mu, log_sigma
