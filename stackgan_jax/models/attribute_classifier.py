"""A small network that classifies a bird's attributes from its picture (not in the paper)."""

from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np


class AttributeClassifier(nn.Module):
    """Pictures → logits of each attribute's values.

    For each coloured part the network learns where the part is (an attention map). One classifier
    for all parts then names the colour there. So it reads combinations of colours that it has never
    seen. The other attributes are read from the whole picture.

    Attributes:
        parts: the attributes that are the colour of a part.
        palette: `[colours, 3]` in [-1, 1], the values of those attributes, in order.
        others: other attribute → number of its values.
        features: channels of each level of the network.
        hidden: width of the layer before the other attributes' logits.
    """

    parts: Sequence[str]
    palette: Sequence[Sequence[float]]
    others: Mapping[str, int]
    features: Sequence[int] = (48, 72, 96)
    hidden: int = 128

    @nn.compact
    def __call__(self, image: jax.Array, train: bool) -> dict[str, jax.Array]:
        """Classifies pictures `[b, s, s, 3]` in [-1, 1], s divisible by 16.

        Returns:
            Attribute → logits `[b, values]`.
        """

        def normalised(x: jax.Array) -> jax.Array:
            return nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.95)(x))

        # Each 2×2 block of pixels is one input: the finest features have half the picture's size.
        levels = [normalised(nn.Dense(16, use_bias=False)(_blocks(image)))]
        for features in self.features:
            x = nn.Conv(features, (3, 3), strides=2, padding=1, use_bias=False)(levels[-1])
            levels.append(normalised(x))
        x = levels[-1]
        # The strongest response anywhere detects spots and bars, wherever on the bird they are.
        whole = jnp.concatenate([x.reshape(len(x), -1), _strongest(levels[1])], -1)
        whole = nn.Dropout(0.2, deterministic=not train)(whole)
        whole = nn.relu(nn.Dense(self.hidden)(whole))
        logits = {name: nn.Dense(count, name=name)(whole) for name, count in self.others.items()}
        for level in levels[-2::-1]:
            x = nn.Dense(level.shape[-1], use_bias=False)(x)
            x = normalised(doubled(x) + level)
        return logits | self._colours(image, x)

    def _colours(self, image: jax.Array, x: jax.Array) -> dict[str, jax.Array]:
        """Logits of the parts' colours from the picture and its features `[b, s / 2, s / 2, f]`."""
        batch, parts = len(x), len(self.parts)
        attention = nn.softmax(nn.Dense(parts, name="where")(x).reshape(batch, -1, parts), axis=1)
        dots = resize(image, x.shape[1]).reshape(batch, -1, 1, 3)
        likeness = jnp.exp(-3.0 * jnp.sum((dots - jnp.asarray(self.palette)) ** 2, -1))
        seen = nn.relu(nn.Dense(16, name="what")(jnp.concatenate([dots[:, :, 0], likeness], -1)))
        seen = jnp.einsum("bpa,bpf->baf", attention, seen)
        logits = nn.Dense(len(self.palette), name="colour")(seen)
        return {name: logits[:, index] for index, name in enumerate(self.parts)}


def resize(image: jax.Array, size: int) -> jax.Array:
    """Resizes by area averages, float `[b, s, s, c]` → `[b, size, size, c]`; exact at any size."""
    edges = np.linspace(0, image.shape[1], size + 1)
    cells = np.arange(image.shape[1])
    overlap = np.minimum(edges[1:, None], cells + 1) - np.maximum(edges[:-1, None], cells)
    weights = jnp.asarray(np.maximum(overlap, 0) * size / image.shape[1], image.dtype)
    return jnp.einsum("ih,bhwc,jw->bijc", weights, image, weights)


def doubled(x: jax.Array) -> jax.Array:
    """Upsamples by two, nearest neighbour; broadcasting, as `jnp.repeat` has a slow gradient."""
    batch, height, width, channels = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None], (batch, height, 2, width, 2, channels))
    return x.reshape(batch, 2 * height, 2 * width, channels)


def _strongest(x: jax.Array) -> jax.Array:
    """The maximum over a picture, `[b, h, w, c]` → `[b, c]`, read at its position.

    The gradient of `max` searches x for the value. Where XLA computes x twice, with different
    rounding, the value is not found, and the gradient is 0 / 0.
    """
    x = x.reshape(len(x), -1, x.shape[-1])
    place = jnp.argmax(x, axis=1, keepdims=True)
    return jnp.take_along_axis(x, place, axis=1)[:, 0]


def _blocks(image: jax.Array) -> jax.Array:
    """Joins each 2×2 block of pixels, `[b, h, w, c]` → `[b, h / 2, w / 2, 4 c]`."""
    batch, height, width, channels = image.shape
    image = image.reshape(batch, height // 2, 2, width // 2, 2, channels)
    return image.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height // 2, width // 2, -1)
