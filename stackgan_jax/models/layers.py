"""The networks' layers: convolution, batch normalisation, conditioning augmentation (sec. 3.2)."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.ad_checkpoint import checkpoint_name

from stackgan_jax.models import convolution

KERNEL_STDDEV = 0.02
KEPT = "kept"  # The name of what is not computed twice where memory is saved.
DECAY = 0.9  # Of the running statistics; PyTorch calls it a momentum of 0.1.


def kernel_init(truncated):
    """Initialiser of convolution kernels: N(0, 0.02), cut at two deviations if `truncated`."""
    if truncated:
        return nn.initializers.truncated_normal(KERNEL_STDDEV)
    return nn.initializers.normal(KERNEL_STDDEV)


def scale_init(key, shape, dtype=jnp.float32):
    """Initialiser of batch normalisation's γ: N(1, 0.02)."""
    return 1 + KERNEL_STDDEV * jax.random.normal(key, shape, dtype)


def activate(x, slope):
    """Leaky ReLU of the given slope; 0 is ReLU, None leaves x as it is."""
    if slope is None:
        return x
    return nn.leaky_relu(x, slope) if slope else nn.relu(x)


class Dense(nn.Dense):
    """A dense layer whose kernel starts from N(0, 0.02)."""

    kernel_init: Any = nn.initializers.normal(KERNEL_STDDEV)


class Conv(nn.Module):
    """Convolution without bias unless asked: [b, h, w, c] → [b, h', w', features].

    `padding` as in `convolution.conv`; its "SAME" differs from PyTorch's padding 1 only for a 3x3
    kernel of stride 2, which StackGAN doesn't have.
    """

    features: int
    kernel_size: int = 3
    stride: int = 1
    padding: Any = "SAME"
    use_bias: bool = False
    truncated_init: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x):
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", kernel_init(self.truncated_init), shape)
        x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
        x = checkpoint_name(convolution.conv(x, kernel, self.stride, self.padding), KEPT)
        if self.use_bias:
            x = x + self.param("bias", nn.initializers.zeros, (self.features,)).astype(self.dtype)
        return x


class UpsampleConv(nn.Module):
    """Nearest x2, then a 3x3 convolution without bias: [b, h, w, c] → [b, 2h, 2w, features]."""

    features: int
    truncated_init: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x):
        shape = (3, 3, x.shape[-1], self.features)
        kernel = self.param("kernel", kernel_init(self.truncated_init), shape)
        x = convolution.upsample_conv(x.astype(self.dtype), kernel.astype(self.dtype))
        return checkpoint_name(x, KEPT)


class BatchNorm(nn.Module):
    """Normalises the last axis by the batch's statistics, or by the running ones when not training.

    Under jit a batch sharded over devices is normalised by the statistics of the whole batch.
    Statistics, γ and β are float32 whatever `dtype` x has. `unbiased_variance`: the running
    variance follows n / (n - 1) times the batch's, as PyTorch keeps it; the normalisation itself
    never does.

    `groups`: the batch is cut into so many parts, each normalised by its own statistics, as by
    programs whose devices keep theirs apart; the running ones follow the parts' mean. Parts are as
    large as the first, the last is smaller where the batch is no multiple. A part that lies on one
    device is normalised without a word from the others.
    """

    unbiased_variance: bool = False
    groups: int = 1
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x, train):
        features = x.shape[-1]
        scale = self.param("scale", scale_init, (features,))
        bias = self.param("bias", nn.initializers.zeros, (features,))
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, (features,))
        running_var = self.variable("batch_stats", "var", jnp.ones, (features,))
        if not train:
            return self._normalise(x, running_mean.value, running_var.value, scale, bias)
        parts, counts = _cut(x, self.groups)
        mean, var = checkpoint_name(jax.vmap(_moments)(parts, counts), KEPT)
        if not self.is_initializing():
            corrections = counts / np.maximum(counts - 1, 1) if self.unbiased_variance else 1.0
            self._follow(running_mean, jnp.mean(mean, 0))
            self._follow(running_var, jnp.mean((var.T * corrections).T, 0))
        each = jax.vmap(self._normalise, (0, 0, 0, None, None))
        return each(parts, mean, var, scale, bias).reshape(-1, *x.shape[1:])[: len(x)]

    def _normalise(self, x, mean, var, scale, bias):
        return _standardise(x, mean, scale * jax.lax.rsqrt(var + self.epsilon), bias)

    def _follow(self, running, value):
        running.value = DECAY * running.value + (1 - DECAY) * value


@jax.custom_vjp
def _standardise(x, mean, scale, bias):
    """(x - mean)·scale + bias by channel; x [b, …, c] of any type, the others [c] float32."""
    return ((x.astype(jnp.float32) - mean) * scale + bias).astype(x.dtype)


def _standardise_forward(x, mean, scale, bias):
    return _standardise(x, mean, scale, bias), (x, mean, scale)


def _standardise_backward(residuals, cotangent):
    # The mean's gradient from the bias's: derived by itself it would be a third sum over all of x.
    x, mean, scale = residuals
    wide = cotangent.astype(jnp.float32)
    axes = tuple(range(x.ndim - 1))
    total = jnp.sum(wide, axes)
    by_scale = jnp.sum(wide * (x.astype(jnp.float32) - mean), axes)
    return (wide * scale).astype(x.dtype), -scale * total, by_scale, total


_standardise.defvjp(_standardise_forward, _standardise_backward)


def _cut(x, groups):
    """x [b, …, c] in equal parts, the last filled up with zeros: [g, ⌈b / groups⌉, …, c].

    Beside it how many values of a channel each part has: [g] float32, NumPy.
    """
    rows = -(-len(x) // groups)
    parts = -(-len(x) // rows)
    sizes = np.minimum(rows, len(x) - rows * np.arange(parts))
    if parts * rows > len(x):
        x = jnp.pad(x, [(0, parts * rows - len(x))] + [(0, 0)] * (x.ndim - 1))
    counts = sizes * math.prod(x.shape[1:-1])
    return x.reshape(parts, rows, *x.shape[1:]), counts.astype(np.float32)


def _moments(x, count):
    """Mean and biased variance [c] over all axes but the last, of the first `count` values.

    The values behind those are 0.
    """
    x = x.astype(jnp.float32)
    axes = tuple(range(x.ndim - 1))
    mean = jnp.sum(x, axes) / count
    if x.ndim == 2:
        # Few values, perhaps two: E[x²] - E[x]² would be mostly rounding where they lie close.
        there = (jnp.arange(len(x)) < count)[:, None]
        return mean, jnp.sum(jnp.square(x - mean), axes, where=there) / count
    # One pass over a large x.
    return mean, jnp.maximum(jnp.sum(jnp.square(x), axes) / count - jnp.square(mean), 0)


class ConditioningAugmentation(nn.Module):
    """A Gaussian around the sentence: embedding [b, t], epsilon [b, c] → ĉ, μ, log σ, each [b, c].

    ĉ = μ + σ·ε (sec. 3.2). `log_variance`: the layer's second half is log σ², not log σ; what is
    returned is log σ either way. Always float32: it is small and its exponential is not forgiving.
    """

    features: int
    slope: float = 0.2
    log_variance: bool = False

    @nn.compact
    def __call__(self, embedding, epsilon):
        x = Dense(2 * self.features, name="dense")(embedding.astype(jnp.float32))
        mu, log_sigma = jnp.split(activate(x, self.slope), 2, axis=-1)
        if self.log_variance:
            log_sigma = 0.5 * log_sigma
        return mu + jnp.exp(log_sigma) * epsilon, mu, log_sigma


class Block(nn.Module):
    """Convolution, batch normalisation, activation: [b, h, w, c] → [b, h', w', features].

    `upsample` puts nearest x2 before the (then 3x3) convolution; `slope` is `activate`'s.
    """

    features: int
    kernel_size: int = 3
    stride: int = 1
    upsample: bool = False
    normalise: bool = True
    slope: float | None = 0.0
    unbiased_variance: bool = False
    batch_norm_groups: int = 1
    truncated_init: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, train):
        options = {"truncated_init": self.truncated_init, "dtype": self.dtype, "name": "conv"}
        if self.upsample:
            x = UpsampleConv(self.features, **options)(x)
        else:
            x = Conv(self.features, self.kernel_size, self.stride, **options)(x)
        if self.normalise:
            x = BatchNorm(self.unbiased_variance, self.batch_norm_groups, name="norm")(x, train)
        return activate(x, self.slope)


class Residual(nn.Module):
    """x plus two 3x3 blocks, then the activation (Stage II's residual block, sec. 3.4)."""

    block: Callable[..., Block]
    slope: float = 0.0

    @nn.compact
    def __call__(self, x, train):
        features = x.shape[-1]
        branch = self.block(features, slope=self.slope, name="first")(x, train)
        branch = self.block(features, slope=None, name="second")(branch, train)
        return activate(x + branch, self.slope)


class Bottleneck(nn.Module):
    """x plus 1x1, 3x3 and 3x3 blocks, the first two on a quarter of the channels; activation."""

    block: Callable[..., Block]
    slope: float = 0.0

    @nn.compact
    def __call__(self, x, train):
        features = x.shape[-1]
        branch = self.block(features // 4, 1, slope=self.slope, name="reduce")(x, train)
        branch = self.block(features // 4, slope=self.slope, name="middle")(branch, train)
        branch = self.block(features, slope=None, name="expand")(branch, train)
        return activate(x + branch, self.slope)


class Judge(nn.Module):
    """Does the text fit the image? features [b, h, h, c], condition [b, t] → logits [b] float32.

    The condition is repeated at every place, joined to the features and judged by one convolution
    as large as the map (sec. 3.3). `project`: the condition is a sentence embedding, which goes
    through a dense layer to `condition` numbers first; otherwise it is used as it is.
    """

    block: Callable[..., Block]
    condition: int = 128
    project: bool = True
    joint_kernel: int = 1
    logit_bias: bool = False
    slope: float = 0.2

    @nn.compact
    def __call__(self, features, condition, train):
        if self.project:
            dense = Dense(self.condition, name="projection")
            condition = activate(dense(condition.astype(jnp.float32)), self.slope)
        joined = join(features, condition)
        width = features.shape[-1]
        joined = self.block(width, self.joint_kernel, slope=self.slope, name="joint")(joined, train)
        return Logit(self.logit_bias, name="logit")(joined)


class Logit(nn.Module):
    """One number from a square map by a convolution as large: [b, h, h, c] → [b] float32."""

    use_bias: bool = False

    @nn.compact
    def __call__(self, x):
        size = x.shape[1]
        conv = Conv(1, size, padding="VALID", use_bias=self.use_bias, name="conv")
        return conv(x)[:, 0, 0, 0]


def join(features, condition):
    """Joins condition [b, t] to every place of features [b, h, w, c] → [b, h, w, c + t]."""
    b, h, w, _ = features.shape
    condition = condition.astype(features.dtype)[:, None, None, :]
    return jnp.concatenate(
        [features, jnp.broadcast_to(condition, (b, h, w, condition.shape[-1]))], -1
    )


class MatchingAware(nn.Module):
    """What both discriminators share: fields `pair` (a Judge), `alone` (a Logit), and `encode`."""

    def judge(self, features, condition, train):
        """features [b, 4, 4, w], condition [b, t or c] → logits [b] float32."""
        return self.pair(features, condition, train)

    def judge_image(self, features):
        """features [b, 4, 4, w] → logits [b] float32 of the image alone."""
        return self.alone(features)

    def __call__(self, image, condition, train):
        """Both judgements: (logits [b], logits of the image alone [b] or None)."""
        features = self.encode(image, train)
        logits = self.judge(features, condition, train)
        return logits, self.judge_image(features) if self.unconditional_head else None


def doublings(size):
    """How often 4 doubles to reach `size`; ValueError unless size is a power of two from 16."""
    times = size.bit_length() - 3
    if times < 2 or 4 << times != size:
        raise ValueError(f"An image size must be a power of two from 16 on, not {size}.")
    return times
