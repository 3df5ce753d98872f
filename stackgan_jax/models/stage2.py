"""Stage II: the networks that redraw the small image large and judge the result (sec. 3.4)."""

from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from stackgan_jax.models.layers import (
    Block,
    Bottleneck,
    ConditioningAugmentation,
    Conv,
    Judge,
    Logit,
    MatchingAware,
    Residual,
    doublings,
    join,
)


class Generator(nn.Module):
    """stage1_image [b, s, s, 3], embedding [b, t], epsilon [b, condition] → image, μ, log σ.

    image: [b, 4s, 4s, 3] float32 in [-1, 1]; μ and log σ: [b, condition] float32, from a
    conditioning augmentation of its own; there is no z. The defaults are the published bird and
    flower network; the COCO network has residual_blocks=2, condition_slope=0.0, log_variance=True,
    unbiased_variance=True, truncated_init=False and features=192.

    `features` is the width at the small image's size; the 4 * features at a quarter of it go
    through the residual blocks and halve with each of the four doublings.
    """

    features: int = 128
    condition: int = 128
    residual_blocks: int = 4
    condition_slope: float = 0.2
    log_variance: bool = False
    unbiased_variance: bool = False
    batch_norm_groups: int = 1
    truncated_init: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, stage1_image, embedding, epsilon, train):
        kernels = {"truncated_init": self.truncated_init, "dtype": self.dtype}
        norm = {
            "unbiased_variance": self.unbiased_variance,
            "batch_norm_groups": self.batch_norm_groups,
        }
        block = partial(Block, **norm, **kernels)
        c, mu, log_sigma = ConditioningAugmentation(
            self.condition, self.condition_slope, self.log_variance, name="conditioning"
        )(embedding, epsilon)

        width = self.features
        x = block(width, normalise=False, name="encode")(stage1_image, train)
        x = block(2 * width, 4, stride=2, name="down2")(x, train)
        x = block(4 * width, 4, stride=2, name="down4")(x, train)
        x = block(4 * width, name="joint")(join(x, c), train)
        for i in range(self.residual_blocks):
            x = Residual(block, name=f"residual{i}")(x, train)
        for i in range(4):
            x = block(2 * width >> i, upsample=True, name=f"up{i}")(x, train)
        x = Conv(3, **kernels, name="image")(x)
        return jnp.tanh(x.astype(jnp.float32)), mu, log_sigma


class Discriminator(MatchingAware):
    """Image and text → logits: `judge(encode(image), condition)` (sec. 3.4).

    The defaults are the published bird and flower network; the COCO network has residual=False,
    reduce_kernel=3, project=False, joint_kernel=3, logit_bias=True, unconditional_head=True,
    unbiased_variance=True, truncated_init=False and features=96.

    `features` is the width after the first of the stride-2 convolutions and doubles with each, down
    to 4x4, where two convolutions of `reduce_kernel` bring it to a quarter. The other fields are
    those of Stage I's.
    """

    size: int = 256
    features: int = 64
    condition: int = 128
    residual: bool = True
    reduce_kernel: int = 1
    project: bool = True
    joint_kernel: int = 1
    logit_bias: bool = False
    unconditional_head: bool = False
    unbiased_variance: bool = False
    batch_norm_groups: int = 1
    truncated_init: bool = True
    dtype: Any = jnp.float32

    def setup(self):
        kernels = {"truncated_init": self.truncated_init, "dtype": self.dtype}
        norm = {
            "unbiased_variance": self.unbiased_variance,
            "batch_norm_groups": self.batch_norm_groups,
        }
        block = partial(Block, slope=0.2, **norm, **kernels)
        times = doublings(self.size)
        self.down = [
            block(self.features << i, kernel_size=4, stride=2, normalise=i > 0)
            for i in range(times)
        ]
        width = self.features << (times - 1)
        self.reduce = [
            block(width // 2, self.reduce_kernel),
            block(width // 4, self.reduce_kernel, slope=None if self.residual else 0.2),
        ]
        if self.residual:
            self.residual4 = Bottleneck(block, slope=0.2)
        self.pair = Judge(block, self.condition, self.project, self.joint_kernel, self.logit_bias)
        if self.unconditional_head:
            self.alone = Logit(self.logit_bias)

    def encode(self, image, train):
        """image [b, size, size, 3] in [-1, 1] → features [b, 4, 4, w]."""
        x = image
        for block in (*self.down, *self.reduce):
            x = block(x, train)
        return self.residual4(x, train) if self.residual else x
