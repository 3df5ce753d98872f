"""The matching-aware discriminator of every stage (StackGAN, sec. 3.3 and 3.4)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from stackgan_jax.models.layers import (
    Block,
    Bottleneck,
    Conv,
    Dense,
    LayerOptions,
    activate,
    blocks,
    doublings,
    join,
)

SLOPE = 0.2  # Of the leaky ReLU.


class Discriminator(nn.Module):
    """Image and text → logits: `logits(encode(see(image, key)), condition)`.

    Blocks of stride 2 halve the image down to 4x4, where the text is joined. The defaults are
    Stage I's of the published bird and flower program; `models.presets` has the other published
    settings by name. A loss needs the two parts apart: the features of one image serve several
    texts.

    Attributes:
        size: of the image.
        features: width after the first block; it doubles with each further one.
        condition: numbers of text that are joined to the features.
        residual: a bottleneck at 4x4.
        linear_before_last: no activation between the last two blocks of stride 2, as Stage I has in
            the published bird and flower program.
        reduce_kernel: kernel size of two more blocks at 4x4 that bring the width down to a quarter,
            as Stage II has; 0 for none.
        project: the condition is the embedding `[b, t]`, which gets a dense layer of its own.
            Otherwise it is the generator's μ `[b, condition]`.
        joint_kernel: kernel size of the block after the join.
        logit_bias: the logits' convolutions have a bias.
        unconditional_head: `image_logits` exist, for the image alone.
        options: of all layers.
    """

    size: int = 64
    features: int = 64
    condition: int = 128
    residual: bool = True
    linear_before_last: bool = True
    reduce_kernel: int = 0
    project: bool = True
    joint_kernel: int = 1
    logit_bias: bool = False
    unconditional_head: bool = False
    options: LayerOptions = LayerOptions()

    def setup(self) -> None:
        """Makes the layers; their names are those of the parameters."""
        block = blocks(self.options, slope=SLOPE)
        times = doublings(self.size)
        # The bottleneck has an activation of its own, so the block before it is linear.
        linear = {times - 2} if self.linear_before_last else set()
        linear |= {times - 1} if self.residual and not self.reduce_kernel else set()
        self.down = [
            block(
                self.features << i,
                kernel_size=4,
                stride=2,
                normalise=i > 0,
                slope=None if i in linear else SLOPE,
            )
            for i in range(times)
        ]
        width = self.features << (times - 1)
        self.reduce = self.reduce_kernel and [
            block(width // 2, self.reduce_kernel),
            block(width // 4, self.reduce_kernel, slope=None if self.residual else SLOPE),
        ]
        if self.residual:
            self.residual4 = Bottleneck(block, slope=SLOPE)
        self.pair = PairLogit(
            blocks(self.options), self.condition, self.project, self.joint_kernel, self.logit_bias
        )
        if self.unconditional_head:
            self.alone = Logit(self.logit_bias)

    def see(self, image: jax.Array, key: jax.Array | None) -> jax.Array:
        """What `encode` is given of an image: here the image itself."""
        return image

    def encode(self, image: jax.Array, train: bool) -> jax.Array:
        """Image `[b, size, size, 3]` in [-1, 1] → features `[b, 4, 4, w]`."""
        x = image
        for block in (*self.down, *(self.reduce or ())):
            x = block(x, train)
        return self.residual4(x, train) if self.residual else x

    def logits(self, features: jax.Array, condition: jax.Array, train: bool) -> jax.Array:
        """Features `[b, 4, 4, w]`, condition `[b, t]` → logits `[b]` float32."""
        return self.pair(features, condition, train)

    def image_logits(self, features: jax.Array) -> jax.Array:
        """Features `[b, 4, 4, w]` → logits `[b]` float32 of the images without their texts."""
        return self.alone(features)

    def __call__(
        self, image: jax.Array, condition: jax.Array, train: bool
    ) -> tuple[jax.Array, jax.Array | None]:
        """Both kinds of logits, `[b]` each; None without the unconditional head."""
        features = self.encode(image, train)
        logits = self.logits(features, condition, train)
        return logits, self.image_logits(features) if self.unconditional_head else None


class PairLogit(nn.Module):
    """One logit for an image's features and a text (sec. 3.3).

    The condition is repeated at every place and joined to the features. After a block, one
    convolution as large as the map gives the logit.
    """

    block: Callable[..., Block]
    condition: int = 128
    project: bool = True
    joint_kernel: int = 1
    logit_bias: bool = False

    @nn.compact
    def __call__(self, features: jax.Array, condition: jax.Array, train: bool) -> jax.Array:
        """Features `[b, h, h, c]`, condition `[b, t]` → logits `[b]` float32."""
        if self.project:
            dense = Dense(self.condition, name="projection")
            condition = activate(dense(condition.astype(jnp.float32)), SLOPE)
        joined = join(features, condition)
        width = features.shape[-1]
        joined = self.block(width, self.joint_kernel, slope=SLOPE, name="joint")(joined, train)
        return Logit(self.logit_bias, name="logit")(joined)


class Logit(nn.Module):
    """One number from a square map by a convolution as large as the map."""

    use_bias: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`[b, h, h, c]` → `[b]` float32."""
        size = x.shape[1]
        conv = Conv(1, size, padding="VALID", use_bias=self.use_bias, name="conv")
        return conv(x)[:, 0, 0, 0]
