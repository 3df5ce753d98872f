"""Generators whose every block is modulated by the sentence and the noise (after DF-GAN).

Tao et al., CVPR 2022 ("DF-GAN"), sec. 3.2: the features of each block are scaled and shifted by
what small networks make of noise and text. Here this replaces batch normalisation; conditioning
augmentation and the two stages are StackGAN's.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from stackgan_jax.models import convolution
from stackgan_jax.models.layers import (
    ConditioningAugmentation,
    Conv,
    LayerOptions,
    doublings,
    join,
)

SLOPE = 0.2  # Of every leaky ReLU.
HIDDEN = 64  # Numbers between condition and scales.
EDGE = 0.98  # Largest value of the earlier image that is drawn on: arctanh(1) is infinite.
_he = nn.initializers.variance_scaling(1.0, "fan_in", "normal")


class Modulation(nn.Module):
    """Scales and shifts features by a condition, then the leaky ReLU.

    It starts near the identity: its last layer's weights are small.
    """

    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, condition: jax.Array) -> jax.Array:
        """Features `[b, h, w, c]`, condition `[b, n]` → `[b, h, w, c]`."""
        hidden = nn.leaky_relu(nn.Dense(HIDDEN, name="hidden")(condition), SLOPE)
        dense = nn.Dense(2 * x.shape[-1], kernel_init=nn.initializers.normal(0.05), name="affine")
        scale, shift = jnp.split(dense(hidden).astype(x.dtype)[:, None, None], 2, axis=-1)
        return nn.leaky_relu(x * (1 + scale) + shift, SLOPE)


class ModulatedBlock(nn.Module):
    """Two modulated 3x3 convolutions beside a 1x1 one, at twice the size if `upsample`.

    Each place's features are divided by their root mean square at the end, which keeps
    activations bounded without statistics of the batch (pixel normalisation, Karras et al. 2018).
    """

    features: int
    upsample: bool = True
    options: LayerOptions = LayerOptions()

    @nn.compact
    def __call__(self, x: jax.Array, condition: jax.Array) -> jax.Array:
        """Features `[b, h, w, c]`, condition `[b, n]` → `[b, h', w', features]`."""
        dtype = self.options.dtype
        branch = Modulation(name="modulate_first")(x, condition)
        branch = _Conv(self.features, upsample=self.upsample, dtype=dtype, name="first")(branch)
        branch = Modulation(name="modulate_second")(branch, condition)
        branch = _Conv(self.features, dtype=dtype, name="second")(branch)
        if x.shape[-1] != self.features:
            x = _Conv(self.features, 1, dtype=dtype, name="shortcut")(x)
        if self.upsample:
            x = x.repeat(2, axis=1).repeat(2, axis=2)
        x = x + self.param("gate", nn.initializers.zeros, ()).astype(dtype) * branch
        return pixel_norm(x)


class _Conv(nn.Module):
    """A convolution that keeps its input's variance at the start."""

    features: int
    kernel_size: int = 3
    upsample: bool = False
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", _he, shape).astype(self.dtype)
        x = x.astype(self.dtype)
        return (
            convolution.upsample_conv(x, kernel) if self.upsample else convolution.conv(x, kernel)
        )


def pixel_norm(x: jax.Array) -> jax.Array:
    """Divides the features of each place by their root mean square."""
    mean = jnp.mean(jnp.square(x.astype(jnp.float32)), axis=-1, keepdims=True)
    return x * jax.lax.rsqrt(mean + 1e-6).astype(x.dtype)


class Stage1Generator(nn.Module):
    """Draws an image from a sentence embedding and noise.

    Attributes:
        size: of the image.
        features: width at the final size; it doubles towards the 4x4 start, up to eightfold.
        condition: numbers in ĉ, μ and log σ.
        condition_slope: of the conditioning augmentation's leaky ReLU.
        log_variance: the conditioning augmentation learns log σ² instead of log σ.
        options: of all layers.
    """

    size: int = 64
    features: int = 32
    condition: int = 128
    condition_slope: float = 0.2
    log_variance: bool = False
    options: LayerOptions = LayerOptions()

    @nn.compact
    def __call__(
        self, embedding: jax.Array, z: jax.Array, epsilon: jax.Array, train: bool
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """As `stage1.Generator`."""
        c, mu, log_sigma = ConditioningAugmentation(
            self.condition, self.condition_slope, self.log_variance, name="conditioning"
        )(embedding, epsilon)
        condition = jnp.concatenate([z, c], axis=-1)
        times = doublings(self.size)
        width = lambda i: self.features << min(times - i, 3)
        x = nn.Dense(4 * 4 * width(0), use_bias=False, name="dense")(z)
        x = pixel_norm(x.reshape(-1, 4, 4, width(0)).astype(self.options.dtype))
        for i in range(1, times + 1):
            block = ModulatedBlock(width(i), options=self.options, name=f"up{4 << i}")
            x = block(x, condition)
        return jnp.tanh(_to_image(x, self.options)), mu, log_sigma


class LaterGenerator(nn.Module):
    """Draws on the earlier stage's image, enlarged four times, what the sentence adds to it.

    The earlier image is encoded, joined by the sentence, and decoded as in StackGAN's Stage II. The
    result is added to the enlarged image before the last tanh.

    Attributes:
        features: width at the earlier image's size; as in `stage2.Generator`.
        condition: numbers in ĉ, μ and log σ.
        residual_blocks: at a quarter of the earlier image's size.
        condition_slope: of the conditioning augmentation's leaky ReLU.
        log_variance: the conditioning augmentation learns log σ² instead of log σ.
        options: of all layers.
    """

    features: int = 32
    condition: int = 128
    residual_blocks: int = 2
    condition_slope: float = 0.2
    log_variance: bool = False
    options: LayerOptions = LayerOptions()

    @nn.compact
    def __call__(
        self, earlier_image: jax.Array, embedding: jax.Array, epsilon: jax.Array, train: bool
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """As `stage2.Generator`."""
        c, mu, log_sigma = ConditioningAugmentation(
            self.condition, self.condition_slope, self.log_variance, name="conditioning"
        )(embedding, epsilon)
        options, width = self.options, self.features
        activate = lambda x: nn.leaky_relu(x, SLOPE)
        x = _Conv(width, dtype=options.dtype, name="encode")(earlier_image)
        for i in (1, 2):
            x = Conv(width << i, 4, 2, options=options, name=f"down{1 << i}")(activate(x))
            x = pixel_norm(x)
        x = _Conv(4 * width, dtype=options.dtype, name="joint")(join(activate(x), c))
        x = pixel_norm(x)
        for i in range(self.residual_blocks):
            x = ModulatedBlock(4 * width, False, options, name=f"residual{i}")(x, c)
        for i in range(4):
            x = ModulatedBlock(2 * width >> i, True, options, name=f"up{i}")(x, c)
        base = jnp.arctanh(EDGE * enlarged(earlier_image, 4))
        return jnp.tanh(base + _to_image(x, options)), mu, log_sigma


def enlarged(image: jax.Array, factor: int) -> jax.Array:
    """Enlarges images bilinearly: `[b, h, w, c]` → `[b, factor h, factor w, c]`.

    These are the values of `jax.image.resize`, whose matrix products jaxlib 0.10.2 can't compile
    for an H100 at 256 pixels.

    Args:
        image: of any float type.
        factor: of both sides.
    """
    for axis in (1, 2):
        length = image.shape[axis]
        around = jnp.pad(image, [(int(i == axis),) * 2 for i in range(4)], "edge")
        before, after = (
            jax.lax.slice_in_dim(around, start, start + length, axis=axis) for start in (0, 2)
        )
        offsets = [(place + 0.5) / factor - 0.5 for place in range(factor)]
        phases = [
            (1 - abs(offset)) * image + abs(offset) * (after if offset > 0 else before)
            for offset in offsets
        ]
        shape = [factor * n if i == axis else n for i, n in enumerate(image.shape)]
        image = jnp.stack(phases, axis + 1).reshape(shape)
    return image


def _to_image(x: jax.Array, options: LayerOptions) -> jax.Array:
    """`[b, h, w, c]` → `[b, h, w, 3]` float32, before the tanh."""
    return Conv(3, use_bias=True, options=options, name="image")(nn.leaky_relu(x, SLOPE)).astype(
        jnp.float32
    )
