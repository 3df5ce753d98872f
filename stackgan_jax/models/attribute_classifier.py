"""A network that reads a bird's attributes from its picture (not in the paper)."""

import dataclasses
from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

WHOLE = 64  # pixels at which the whole picture is read
FINEST = 4  # pixels of a glimpse's last features


@dataclasses.dataclass(frozen=True)
class Glimpse:
    """A close look at one place of the picture.

    Attributes:
        window: side of the square that is looked at, as a share of the picture's side.
        size: pixels to which the square is resized, a power of two.
        reads: the attributes that are read there.
    """

    window: float
    size: int
    reads: tuple[str, ...]


class AttributeClassifier(nn.Module):
    """Pictures → logits of each attribute's values.

    The network looks twice. In the whole picture, made small, it finds where each part is (an
    attention map). The colours of large parts are named there, by one classifier for all parts. At
    the places of small parts the network looks again, closely, and sees nothing else. So it reads
    combinations of attributes that it has never seen, and can't guess one from another.

    Attributes:
        parts: the attributes that are the colour of a large part.
        palette: `[colours, 3]` in [-1, 1], the values of those attributes, in order.
        glimpses: the close looks.
        counts: attribute → number of its values, of all but `parts`. What no glimpse reads is read
            from the whole picture.
        features: channels of each level of the network that sees the whole picture.
        hidden: width of the layer before the logits that are read from the whole picture.
    """

    parts: Sequence[str]
    palette: Sequence[Sequence[float]]
    glimpses: Sequence[Glimpse]
    counts: Mapping[str, int]
    features: Sequence[int] = (48, 72, 96)
    hidden: int = 128

    @nn.compact
    def __call__(
        self, image: jax.Array, train: bool, places: jax.Array | None = None
    ) -> tuple[dict[str, jax.Array], jax.Array]:
        """Classifies pictures.

        Args:
            image: `[b, s, s, 3]` in [-1, 1] of any size.
            train: whether batch statistics are updated and units dropped.
            places: `[b, g, 2]`, (x, y) in [0, 1]: where the glimpses look; None for where the
                network finds the parts.

        Returns:
            Attribute → logits `[b, values]`, and logits `[b, h, w, g]` of each glimpse's place.
        """
        small = resize(image, WHOLE)
        # Each 2×2 block of pixels is one input: the finest features have half the picture's size.
        levels = [_normalised(nn.Dense(16, use_bias=False)(_blocks(small)), train)]
        for features in self.features:
            levels.append(_halved(levels[-1], features, train))
        x = levels[-1]
        whole = _hidden(x, self.hidden, train)
        in_glimpses = {name for glimpse in self.glimpses for name in glimpse.reads}
        seen = {name: whole for name in self.counts if name not in in_glimpses}
        for level in levels[-2::-1]:
            x = nn.Dense(level.shape[-1], use_bias=False)(x)
            x = _normalised(doubled(x) + level, train)
        maps = nn.Dense(len(self.parts) + len(self.glimpses), name="where")(x)
        maps, where = maps[..., : len(self.parts)], maps[..., len(self.parts) :]
        places = found_places(where) if places is None else places
        for index, glimpse in enumerate(self.glimpses):
            close = look(image, places[:, index], glimpse.window, glimpse.size)
            seen |= dict.fromkeys(glimpse.reads, _glimpse_features(close, train))
        logits = {name: nn.Dense(self.counts[name], name=name)(x) for name, x in seen.items()}
        return logits | self._colours(small, maps), where

    def _colours(self, small: jax.Array, maps: jax.Array) -> dict[str, jax.Array]:
        """Logits of the large parts' colours from their attention's logits `[b, h, w, parts]`."""
        batch, size, _, parts = maps.shape
        attention = nn.softmax(maps.reshape(batch, -1, parts), axis=1)
        dots = resize(small, size).reshape(batch, -1, 1, 3)
        likeness = jnp.exp(-3.0 * jnp.sum((dots - jnp.asarray(self.palette)) ** 2, -1))
        seen = nn.relu(nn.Dense(16, name="what")(jnp.concatenate([dots[:, :, 0], likeness], -1)))
        seen = jnp.einsum("bpa,bpf->baf", attention, seen)
        logits = nn.Dense(len(self.palette), name="colour")(seen)
        return {name: logits[:, index] for index, name in enumerate(self.parts)}


def found_places(where: jax.Array) -> jax.Array:
    """The mean of each attention map, logits `[b, h, w, g]` → (x, y) in [0, 1], `[b, g, 2]`."""
    batch, _, _, count = where.shape
    attention = nn.softmax(where.reshape(batch, -1, count), axis=1)
    return jnp.einsum("bpg,pd->bgd", attention, cells(where.shape[1]).reshape(-1, 2))


def cells(size: int) -> jax.Array:
    """The centres (x, y) in [0, 1] of a map's cells, `[size, size, 2]`."""
    centres = (jnp.arange(size) + 0.5) / size
    return jnp.stack(jnp.meshgrid(centres, centres), -1)


def look(image: jax.Array, centre: jax.Array, window: float, size: int) -> jax.Array:
    """Area averages of a square of each picture.

    Args:
        image: float `[b, s, s, c]`.
        centre: of the squares, (x, y) in [0, 1], `[b, 2]`.
        window: their side, as a share of s; what lies outside of the picture is 0.
        size: of the result.

    Returns:
        `[b, size, size, c]`.
    """
    side, places = image.shape[1], jnp.arange(image.shape[1])

    def weights(middle: jax.Array) -> jax.Array:
        edges = side * (middle[:, None] + window * (jnp.linspace(0, 1, size + 1) - 0.5))
        low, high = edges[:, :-1, None], edges[:, 1:, None]
        overlap = jnp.minimum(high, places + 1) - jnp.maximum(low, places)
        return jnp.maximum(overlap, 0) * (size / (window * side))

    return jnp.einsum("bih,bhwc,bjw->bijc", weights(centre[:, 1]), image, weights(centre[:, 0]))


def resize(image: jax.Array, size: int) -> jax.Array:
    """Resizes by area averages, float `[b, s, s, c]` → `[b, size, size, c]`; exact at any size."""
    edges = np.linspace(0, image.shape[1], size + 1)
    places = np.arange(image.shape[1])
    overlap = np.minimum(edges[1:, None], places + 1) - np.maximum(edges[:-1, None], places)
    weights = jnp.asarray(np.maximum(overlap, 0) * size / image.shape[1], image.dtype)
    return jnp.einsum("ih,bhwc,jw->bijc", weights, image, weights)


def doubled(x: jax.Array) -> jax.Array:
    """Upsamples by two, nearest neighbour; broadcasting, as `jnp.repeat` has a slow gradient."""
    batch, height, width, channels = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None], (batch, height, 2, width, 2, channels))
    return x.reshape(batch, 2 * height, 2 * width, channels)


def _glimpse_features(close: jax.Array, train: bool) -> jax.Array:
    """What is seen in a glimpse, `[b, s, s, 3]` → `[b, 64]`."""
    x = _normalised(nn.Dense(24, use_bias=False)(_blocks(close)), train)
    while x.shape[1] > FINEST:
        x = _halved(x, min(2 * x.shape[-1], 64), train)
    return _hidden(x, 64, train)


def _hidden(x: jax.Array, width: int, train: bool) -> jax.Array:
    """A layer that sees all places, `[b, h, w, c]` → `[b, width]`."""
    x = nn.Dropout(0.2, deterministic=not train)(x.reshape(len(x), -1))
    return nn.relu(nn.Dense(width)(x))


def _halved(x: jax.Array, features: int, train: bool) -> jax.Array:
    """A convolution of stride 2, `[b, h, w, c]` → `[b, h / 2, w / 2, features]`."""
    x = nn.Conv(features, (3, 3), strides=2, padding=1, use_bias=False)(x)
    return _normalised(x, train)


def _normalised(x: jax.Array, train: bool) -> jax.Array:
    return nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.95)(x))


def _blocks(image: jax.Array) -> jax.Array:
    """Joins each 2×2 block of pixels, `[b, h, w, c]` → `[b, h / 2, w / 2, 4 c]`."""
    batch, height, width, channels = image.shape
    image = image.reshape(batch, height // 2, 2, width // 2, 2, channels)
    return image.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height // 2, width // 2, -1)
