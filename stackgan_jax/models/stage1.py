"""Stage I: the networks that sketch and judge the small image (StackGAN, sec. 3.3)."""

from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from stackgan_jax.models.layers import (
    BatchNorm,
    Block,
    Bottleneck,
    ConditioningAugmentation,
    Conv,
    Dense,
    Judge,
    Logit,
    MatchingAware,
    UpsampleConv,
    activate,
    doublings,
)


class Generator(nn.Module):
    """embedding [b, t], z [b, nz], epsilon [b, condition] → image, μ, log σ.

    image: [b, size, size, 3] float32 in [-1, 1]; μ and log σ: [b, condition] float32. The defaults
    are the published bird and flower network; the COCO network has residual=False,
    noise_first=True, dense_bias=False, image_upsamples=False, condition_slope=0.0,
    log_variance=True, unbiased_variance=True, truncated_init=False and features=192.

    `features` is the width at half the final size and doubles towards the 4x4 start.
    `residual`: a bottleneck at 4x4 and one at 8x8. `noise_first`: the input is [z, ĉ], not [ĉ, z].
    `image_upsamples`: the convolution to RGB does the last doubling; otherwise one more block,
    half as wide, does. The other fields are those of the layers.
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
    unbiased_variance: bool = False
    batch_norm_groups: int = 1
    truncated_init: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, embedding, z, epsilon, train):
        kernels = {"truncated_init": self.truncated_init, "dtype": self.dtype}
        norm = {
            "unbiased_variance": self.unbiased_variance,
            "batch_norm_groups": self.batch_norm_groups,
        }
        block = partial(Block, **norm, **kernels)
        c, mu, log_sigma = ConditioningAugmentation(
            self.condition, self.condition_slope, self.log_variance, name="conditioning"
        )(embedding, epsilon)

        times = doublings(self.size)
        width = self.features << (times - 1)
        x = jnp.concatenate([z, c] if self.noise_first else [c, z], axis=-1).astype(self.dtype)
        x = Dense(4 * 4 * width, use_bias=self.dense_bias, dtype=self.dtype, name="dense")(x)
        x = BatchNorm(self.unbiased_variance, self.batch_norm_groups, name="norm")(
            x, train
        ).reshape(-1, 4, 4, width)
        x = Bottleneck(block, name="residual4")(x, train) if self.residual else activate(x, 0.0)

        for i in range(1, times if self.image_upsamples else times + 1):
            size, residual = 4 << i, self.residual and i == 1
            up = block(width >> i, upsample=True, slope=None if residual else 0.0, name=f"up{size}")
            x = up(x, train)
            if residual:
                x = Bottleneck(block, name=f"residual{size}")(x, train)

        to_image = UpsampleConv if self.image_upsamples else Conv
        x = to_image(3, **kernels, name="image")(x)
        return jnp.tanh(x.astype(jnp.float32)), mu, log_sigma


class Discriminator(MatchingAware):
    """Image and text → logits: `judge(encode(image), condition)` (sec. 3.3).

    The defaults are the published bird and flower network; the COCO network has residual=False,
    linear_before_last=False, project=False, joint_kernel=3, logit_bias=True,
    unbiased_variance=True, truncated_init=False and features=96.

    `features` is the width after the first of the stride-2 convolutions and doubles with each.
    `residual`: a bottleneck at 4x4. `linear_before_last`: no activation between the last two
    stride-2 convolutions, as in the published bird and flower program. `project`: the condition is
    the embedding [b, t], which has a dense layer of its own; otherwise it is the generator's μ.
    `unconditional_head`: `judge_image` judges the image alone.
    """

    size: int = 64
    features: int = 64
    condition: int = 128
    residual: bool = True
    linear_before_last: bool = True
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
        block = partial(Block, **norm, **kernels)
        times = doublings(self.size)
        linear = {times - 2} if self.linear_before_last else set()
        linear |= {times - 1} if self.residual else set()
        self.down = [
            block(
                self.features << i,
                kernel_size=4,
                stride=2,
                normalise=i > 0,
                slope=None if i in linear else 0.2,
            )
            for i in range(times)
        ]
        if self.residual:
            self.residual4 = Bottleneck(block, slope=0.2)
        self.pair = Judge(block, self.condition, self.project, self.joint_kernel, self.logit_bias)
        if self.unconditional_head:
            self.alone = Logit(self.logit_bias)

    def encode(self, image, train):
        """image [b, size, size, 3] in [-1, 1] → features [b, 4, 4, w]."""
        x = image
        for block in self.down:
            x = block(x, train)
        return self.residual4(x, train) if self.residual else x
