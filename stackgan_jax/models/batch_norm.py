"""Batch normalisation with its own gradient, in groups (Ioffe and Szegedy, 2015)."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.ad_checkpoint import checkpoint_name

KERNEL_STDDEV = 0.02
KEPT = "kept"  # Name of the values that rematerialisation does not compute twice.
DECAY = 0.9  # Of the running statistics; PyTorch calls it a momentum of 0.1.


def scale_init(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> jax.Array:
    """Initialises batch normalisation's γ from N(1, 0.02)."""
    return 1 + KERNEL_STDDEV * jax.random.normal(key, shape, dtype)


class BatchNorm(nn.Module):
    """Normalises the last axis: `[b, …, c]` → `[b, …, c]` of the same type.

    Training uses the statistics of the batch, and moves the running statistics towards them;
    inference uses the running ones. Under jit, a batch that is sharded over devices is normalised
    by the statistics of the whole batch. Statistics, γ and β are float32 for every type of x.

    Attributes:
        unbiased_variance: the running variance follows n / (n - 1) times the batch's variance, as
            in PyTorch. The normalisation itself always uses the biased variance.
        groups: the batch is cut into this many parts. Each part is normalised by its own
            statistics, as on devices that do not share them, and the running statistics follow the
            mean of the parts. All parts are as large as the first; the last is smaller if the batch
            is not a multiple. A part that lies on one device needs no communication.
        epsilon: added to the variance.
    """

    unbiased_variance: bool = False
    groups: int = 1
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Normalises x; `train` chooses the batch's statistics."""
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

    def _normalise(
        self, x: jax.Array, mean: jax.Array, var: jax.Array, scale: jax.Array, bias: jax.Array
    ):
        return _standardise(x, mean, scale * jax.lax.rsqrt(var + self.epsilon), bias)

    def _follow(self, running: Any, value: jax.Array):
        running.value = DECAY * running.value + (1 - DECAY) * value


@jax.custom_vjp
def _standardise(x: jax.Array, mean: jax.Array, scale: jax.Array, bias: jax.Array):
    """(x - mean)·scale + bias for each channel; x [b, …, c] of any type, the others [c] float32."""
    return ((x.astype(jnp.float32) - mean) * scale + bias).astype(x.dtype)


def _standardise_forward(x: jax.Array, mean: jax.Array, scale: jax.Array, bias: jax.Array):
    return _standardise(x, mean, scale, bias), (x, mean, scale)


def _standardise_backward(residuals: tuple, cotangent: jax.Array):
    # The mean's gradient follows from the bias's. Differentiated by itself it would be a third sum
    # over all of x.
    x, mean, scale = residuals
    wide = cotangent.astype(jnp.float32)
    axes = tuple(range(x.ndim - 1))
    total = jnp.sum(wide, axes)
    by_scale = jnp.sum(wide * (x.astype(jnp.float32) - mean), axes)
    return (wide * scale).astype(x.dtype), -scale * total, by_scale, total


_standardise.defvjp(_standardise_forward, _standardise_backward)


def _cut(x: jax.Array, groups: int):
    """Cuts x [b, …, c] into equal parts, the last padded with zeros: [g, ⌈b / groups⌉, …, c].

    Also returns how many values of a channel each part has: [g] float32, NumPy.
    """
    rows = -(-len(x) // groups)
    parts = -(-len(x) // rows)
    sizes = np.minimum(rows, len(x) - rows * np.arange(parts))
    if parts * rows > len(x):
        x = jnp.pad(x, [(0, parts * rows - len(x))] + [(0, 0)] * (x.ndim - 1))
    counts = sizes * math.prod(x.shape[1:-1])
    return x.reshape(parts, rows, *x.shape[1:]), counts.astype(np.float32)


def _moments(x: jax.Array, count: jax.Array):
    """Mean and biased variance [c] over all axes but the last, of the first `count` values.

    The values after them are zeros.
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
