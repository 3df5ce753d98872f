"""Batch normalisation by the batch's own statistics, with its gradient (StackGAN, sec. 3.4)."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

SLICES = 8
ROW = 512  # About how many numbers a row has when rows are added up at last.


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def batch_norm(
    x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Normalises x [b, ..., c] by its mean and variance over all axes but the last.

    → y as x, and the mean and the biased variance [c]. `scale` (γ) and `bias` (β) are [c]. Whatever
    type x has, the arithmetic is float32 (float64 for float64). Gradients flow through all three
    outputs. Two sums over x forward and two backward are all that is read of it twice.
    """
    return _forward(x, scale, bias, epsilon)[0]


def _forward(x, scale, bias, epsilon):
    count = x.size // x.shape[-1]
    if x.ndim == 2:
        # Few values, perhaps two: E[x²] - E[x]² would be mostly rounding where they lie close.
        mean = jnp.mean(_wide(x), 0)
        var = jnp.mean(jnp.square(_wide(x) - mean), 0)
    else:
        total, squares = _sums((_itself, jnp.square), x)
        mean = total / count
        var = jnp.maximum(squares / count - jnp.square(mean), 0)
    rstd = lax.rsqrt(var + epsilon)
    y = ((_wide(x) - mean) * (scale * rstd) + bias).astype(x.dtype)
    return (y, mean, var), (x, scale, mean, rstd)


def _backward(epsilon, residuals, cotangents):
    x, scale, mean, rstd = residuals
    dy, dmean, dvar = cotangents
    count = x.size // x.shape[-1]

    def covary(dy, x):
        return dy * (x - jnp.tile(mean, x.shape[-1] // mean.size))

    dbias, covariance = _sums((lambda dy, x: dy, covary), dy, x)
    dscale = covariance * rstd
    gain = scale * rstd
    # dx = gain (dy - mean of dy - x̂ · mean of dy x̂), and what comes through mean and variance.
    slope = (2 * dvar - gain * rstd * dscale) / count
    shift = (dmean - gain * dbias) / count
    # Else the CPU computes these few numbers anew at every pixel.
    gain, slope, shift = lax.optimization_barrier((gain, slope, shift))
    dx = _wide(dy) * gain + (_wide(x) - mean) * slope + shift
    return dx.astype(x.dtype), dscale, dbias


batch_norm.defvjp(_forward, _backward)


def _wide(x):
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _itself(x):
    return x


def _sums(terms, *arrays):
    """The sum over all axes but the last of each of `terms`, functions of arrays [b, ..., c]."""
    return lax.platform_dependent(
        *arrays, cpu=partial(_sums_by_slices, terms), default=partial(_plain_sums, terms)
    )


def _plain_sums(terms, *arrays):
    axes = tuple(range(arrays[0].ndim - 1))
    wide = [_wide(a) for a in arrays]
    return [jnp.sum(term(*wide), axes) for term in terms]


def _sums_by_slices(terms, *arrays):
    """Sums that the CPU's cores and vector registers share.

    XLA's own reduction to few channels runs on one core, number by number. Adding up slices of
    each image element by element leaves an eighth for rows of many pixels, and those few. The
    batch stays the leading axis throughout, so it may be sharded.
    """
    b, c = arrays[0].shape[0], arrays[0].shape[-1]
    pixels = arrays[0].size // (b * c)
    if pixels % SLICES:
        return _plain_sums(terms, *arrays)
    length = pixels // SLICES * c
    row = length
    while row > ROW and row % (2 * c) == 0:
        row //= 2
    sliced = [_wide(a.reshape(b, SLICES, length)) for a in arrays]
    sums = []
    for term in terms:
        partial_sum = sum(term(*(a[:, i] for a in sliced)) for i in range(SLICES))
        rows = lax.optimization_barrier(partial_sum).reshape(-1, row)
        sums.append(rows.sum(0).reshape(-1, c).sum(0))
    return sums
