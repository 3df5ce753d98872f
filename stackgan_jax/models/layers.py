"""Layers that the generators and discriminators share (StackGAN, sec. 3.2 to 3.4)."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.ad_checkpoint import checkpoint_name

from stackgan_jax.models import convolution
from stackgan_jax.models.batch_norm import KEPT, KERNEL_STDDEV, BatchNorm


@dataclasses.dataclass(frozen=True)
class LayerOptions:
    """Options that every layer of a network shares.

    Attributes:
        unbiased_variance: the running variance is unbiased, as PyTorch keeps it.
        batch_norm_groups: parts of the batch that are normalised by their own statistics.
        truncated_init: kernels start from a normal distribution that is cut at two deviations.
        dtype: of activations; parameters and statistics are float32.
    """

    unbiased_variance: bool = False
    batch_norm_groups: int = 1
    truncated_init: bool = True
    dtype: Any = jnp.float32


def kernel_init(truncated: bool) -> jax.nn.initializers.Initializer:
    """Initialiser of convolution kernels: N(0, 0.02), cut at two deviations if `truncated`."""
    if truncated:
        return nn.initializers.truncated_normal(KERNEL_STDDEV)
    return nn.initializers.normal(KERNEL_STDDEV)


def activate(x: jax.Array, slope: float | None) -> jax.Array:
    """Leaky ReLU of the given slope; 0 is ReLU, None returns x unchanged."""
    if slope is None:
        return x
    return nn.leaky_relu(x, slope) if slope else nn.relu(x)


class Dense(nn.Dense):
    """A dense layer whose kernel starts from N(0, 0.02)."""

    kernel_init: Any = nn.initializers.normal(KERNEL_STDDEV)


class Conv(nn.Module):
    """Convolution: `[b, h, w, c]` → `[b, h', w', features]`.

    `padding` is as in `convolution.conv`. Its "SAME" differs from PyTorch's padding of 1 only for a
    3x3 kernel of stride 2, which StackGAN does not have.
    """

    features: int
    kernel_size: int = 3
    stride: int = 1
    padding: Any = "SAME"
    use_bias: bool = False
    options: LayerOptions = LayerOptions()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Convolves x."""
        dtype = self.options.dtype
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", kernel_init(self.options.truncated_init), shape)
        x, kernel = x.astype(dtype), kernel.astype(dtype)
        x = checkpoint_name(convolution.conv(x, kernel, self.stride, self.padding), KEPT)
        if self.use_bias:
            x = x + self.param("bias", nn.initializers.zeros, (self.features,)).astype(dtype)
        return x


class UpsampleConv(nn.Module):
    """Nearest x2, then a 3x3 convolution: `[b, h, w, c]` → `[b, 2h, 2w, features]`."""

    features: int
    options: LayerOptions = LayerOptions()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Doubles the size of x and convolves it."""
        dtype = self.options.dtype
        shape = (3, 3, x.shape[-1], self.features)
        kernel = self.param("kernel", kernel_init(self.options.truncated_init), shape)
        x = convolution.upsample_conv(x.astype(dtype), kernel.astype(dtype))
        return checkpoint_name(x, KEPT)


class ConditioningAugmentation(nn.Module):
    """Samples a Gaussian around the sentence embedding: ĉ = μ + σ·ε (sec. 3.2).

    It computes in float32 in every network, because it is small and the exponential is sensitive.

    Attributes:
        features: numbers in ĉ, μ and log σ.
        slope: of the leaky ReLU.
        log_variance: the layer's second half is log σ² instead of log σ.
    """

    features: int
    slope: float = 0.2
    log_variance: bool = False

    @nn.compact
    def __call__(
        self, embedding: jax.Array, epsilon: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Embedding [b, t], epsilon [b, c] → ĉ, μ and log σ, each [b, c] float32."""
        x = Dense(2 * self.features, name="dense")(embedding.astype(jnp.float32))
        mu, log_sigma = jnp.split(activate(x, self.slope), 2, axis=-1)
        if self.log_variance:
            log_sigma = 0.5 * log_sigma
        return mu + jnp.exp(log_sigma) * epsilon, mu, log_sigma


class Block(nn.Module):
    """Convolution, batch normalisation, activation: `[b, h, w, c]` → `[b, h', w', features]`.

    `upsample` puts nearest x2 before the convolution, which is then 3x3. `slope` is as in
    `activate`.
    """

    features: int
    kernel_size: int = 3
    stride: int = 1
    upsample: bool = False
    normalise: bool = True
    slope: float | None = 0.0
    options: LayerOptions = LayerOptions()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Applies the block; `train` chooses the batch's statistics."""
        if self.upsample:
            x = UpsampleConv(self.features, options=self.options, name="conv")(x)
        else:
            size = self.kernel_size, self.stride
            x = Conv(self.features, *size, options=self.options, name="conv")(x)
        if self.normalise:
            x = batch_norm(self.options, name="norm")(x, train)
        return activate(x, self.slope)


def batch_norm(options: LayerOptions, name: str) -> BatchNorm:
    """A batch normalisation with a network's options."""
    return BatchNorm(options.unbiased_variance, options.batch_norm_groups, name=name)


class Residual(nn.Module):
    """x plus two 3x3 blocks, then the activation (Stage II's residual block, sec. 3.4)."""

    block: Callable[..., Block]
    slope: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """`[b, h, w, c]` → `[b, h, w, c]`."""
        features = x.shape[-1]
        branch = self.block(features, slope=self.slope, name="first")(x, train)
        branch = self.block(features, slope=None, name="second")(branch, train)
        return activate(x + branch, self.slope)


class Bottleneck(nn.Module):
    """x plus 1x1, 3x3 and 3x3 blocks, the first two on a quarter of the channels; activation."""

    block: Callable[..., Block]
    slope: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """`[b, h, w, c]` → `[b, h, w, c]`."""
        features = x.shape[-1]
        branch = self.block(features // 4, 1, slope=self.slope, name="reduce")(x, train)
        branch = self.block(features // 4, slope=self.slope, name="middle")(branch, train)
        branch = self.block(features, slope=None, name="expand")(branch, train)
        return activate(x + branch, self.slope)


def blocks(options: LayerOptions, **defaults: Any) -> Callable[..., Block]:
    """`Block` with a network's options."""
    return partial(Block, options=options, **defaults)


def join(features: jax.Array, condition: jax.Array) -> jax.Array:
    """Repeats condition [b, t] at every place of features [b, h, w, c] → [b, h, w, c + t]."""
    b, h, w, _ = features.shape
    condition = condition.astype(features.dtype)[:, None, None, :]
    return jnp.concatenate(
        [features, jnp.broadcast_to(condition, (b, h, w, condition.shape[-1]))], -1
    )


def doublings(size: int) -> int:
    """Returns how often 4 doubles to reach `size`.

    Raises:
        ValueError: size is not a power of two from 16.
    """
    times = size.bit_length() - 3
    if times < 2 or 4 << times != size:
        raise ValueError(f"An image size must be a power of two from 16 on, not {size}.")
    return times
