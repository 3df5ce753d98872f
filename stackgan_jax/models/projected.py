"""A discriminator on the features of a frozen, pretrained image network (Projected GAN).

Sauer et al., NeurIPS 2021: pictures are projected into the feature maps of a network that has seen
millions of others; small heads on four of its maps learn what is real. The text is StackGAN's, and
is joined to each head by an inner product (Miyato and Koyama, ICLR 2018).
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from stackgan_jax.models import convolution, efficientnet
from stackgan_jax.models.layers import Conv, LayerOptions, activate
from stackgan_jax.runtime.errors import UserError

SLOPE = 0.2  # Of the leaky ReLU.
MIXED = (48, 64, 96, 128)  # Channels of the four maps after their random projections.


class Discriminator(nn.Module):
    """Scores image and text at four scales: `logits(encode(see(image, key)), condition)`.

    Attributes:
        size: of the image.
        features: width of the heads.
        pretrained: a name of `efficientnet.NETWORKS`.
        view: side of what the pretrained network is given. If it is less than `size`, it sees two
            views, each with heads of its own: the whole image reduced to this size, and a cut-out
            of this size at a random place, which shows fine texture.
        options: of all layers.
    """

    size: int = 64
    features: int = 64
    pretrained: str = "lite0"
    view: int = 64
    options: LayerOptions = LayerOptions()

    project = True  # The condition is the embedding, not the generator's μ.
    unconditional_head = False  # Each head's logit has a part without the text already.

    def setup(self) -> None:
        """Makes the heads: four for each view."""
        views = 1 if self.view == self.size else 2
        self.heads = [Head(self.features) for _ in range(views * len(MIXED))]

    def see(self, image: jax.Array, key: jax.Array) -> tuple[jax.Array, ...]:
        """The frozen part: image `[b, size, size, 3]` in [-1, 1] → four maps of each view.

        The key is of the place of the cut-out. Maps are `[b, h, w, c]`, the finest first.

        Raises:
            UserError: the pretrained network is unknown or not installed, or `view` does not fit.
        """
        if self.size % self.view:
            raise UserError(
                f"config.discriminator.view is {self.view}; give {self.size}, the picture's size, "
                f"or a divisor of it from {efficientnet.LEAST_SIZE} on."
            )
        trunk = jax.lax.optimization_barrier(efficientnet.load(self.pretrained))
        if self.view == self.size:
            return scaled(mixed(efficientnet.taps(trunk, image, self.options.dtype)))
        b, side = len(image), self.view
        whole = image.reshape(b, side, self.size // side, side, self.size // side, 3).mean((2, 4))
        corners = jax.random.randint(key, (b, 2), 0, self.size - side + 1)
        cut = lambda each, corner: jax.lax.dynamic_slice(each, (*corner, 0), (side, side, 3))
        views = jnp.concatenate([whole, jax.vmap(cut)(image, corners)])
        maps = mixed(efficientnet.taps(trunk, views, self.options.dtype))
        return scaled((*(each[:b] for each in maps), *(each[b:] for each in maps)))

    def encode(self, maps: tuple[jax.Array, ...], train: bool) -> tuple[jax.Array, ...]:
        """Maps → features `[b, h, w, features]` of each head."""
        return tuple(head.encode(x, train) for head, x in zip(self.heads, maps, strict=True))

    def logits(
        self, features: tuple[jax.Array, ...], condition: jax.Array, train: bool
    ) -> tuple[jax.Array, ...]:
        """Features and condition `[b, t]` → logits `[b, h, w]` float32 of each head."""
        pairs = zip(self.heads, features, strict=True)
        return tuple(head.logits(x, condition, train) for head, x in pairs)

    def __call__(
        self, maps: tuple[jax.Array, ...], condition: jax.Array, train: bool
    ) -> tuple[tuple[jax.Array, ...], None]:
        """Maps and condition → logits of each head, and no logits without the text."""
        return self.logits(self.encode(maps, train), condition, train), None


class Head(nn.Module):
    """Scores every place of one map, with the text. Every layer is spectrally normalised."""

    features: int

    def setup(self) -> None:
        """Makes the layers; their names are those of the parameters."""
        self.first = nn.SpectralNorm(Conv(self.features, use_bias=True))
        self.second = nn.SpectralNorm(Conv(self.features, use_bias=True))
        self.alone = nn.SpectralNorm(Conv(1, 1))
        self.text = nn.SpectralNorm(nn.Dense(self.features, use_bias=False))

    def encode(self, x: jax.Array, train: bool) -> jax.Array:
        """`[b, h, w, c]` → `[b, h, w, features]` float32."""
        x = activate(self.first(x, update_stats=train), SLOPE)
        return x + activate(self.second(x, update_stats=train), SLOPE)

    def logits(self, x: jax.Array, condition: jax.Array, train: bool) -> jax.Array:
        """`[b, h, w, features]`, `[b, t]` → `[b, h, w]`."""
        text = self.text(condition.astype(jnp.float32), update_stats=train)
        with_text = jnp.einsum("bhwc,bc->bhw", x, text) / np.sqrt(self.features)
        return self.alone(x, update_stats=train)[..., 0] + with_text


def mixed(taps: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
    """Mixes the channels of each map, and coarse maps into finer ones, by fixed random weights.

    Args:
        taps: `[b, h, w, c]` of each tap, the finest first.

    Returns:
        Maps of the same sizes with `MIXED` channels (sec. 3.2, "cross-channel" and "cross-scale
        mixing").
    """
    across = _weights(tuple(tap.shape[-1] for tap in taps), MIXED)
    down = _weights(MIXED[1:], MIXED[:-1])
    maps = [_conv1x1(tap, kernel) for tap, kernel in zip(taps, across, strict=True)]
    for i in range(len(maps) - 2, -1, -1):
        b, h, w, _ = maps[i].shape
        coarse = _conv1x1(maps[i + 1], down[i])
        maps[i] = maps[i] + jax.image.resize(coarse, (b, h, w, coarse.shape[-1]), "bilinear")
    return tuple(maps)


def scaled(maps: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
    """Divides each map by its root mean square over the batch, which counts as a constant."""
    return tuple(_unit(each) for each in maps)


@functools.cache
def _weights(inputs: tuple[int, ...], outputs: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = zip(inputs, outputs, strict=True)
    return [np.float32(rng.standard_normal((1, 1, a, b)) / np.sqrt(a)) for a, b in shapes]


def _conv1x1(x: jax.Array, kernel: np.ndarray) -> jax.Array:
    return convolution.conv(x, jnp.asarray(kernel, x.dtype))


def _unit(x: jax.Array) -> jax.Array:
    mean = jnp.mean(jnp.square(jax.lax.stop_gradient(x).astype(jnp.float32)))
    return x * jax.lax.rsqrt(mean + 1e-12).astype(x.dtype)
