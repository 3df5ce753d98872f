"""The character-level text encoder, char-CNN-RNN (Reed et al., CVPR 2016; StackGAN, sec. 3.1)."""

from collections.abc import Iterable
from functools import reduce
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

# The published alphabet contains the hyphen twice, so only 69 characters are distinct and index 38
# is never used.
ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789-,;.!?:'\"/\\|_@#$%^&*~`+-=<>()[]{} "
SPACE = ALPHABET.index(" ") + 1
LENGTH = 201
TAPS = 4
# Torch's `nn.Threshold()` passes values above 1e-6; a ReLU passes values above 0.
THRESHOLD = 1e-6

# The four published encoders, as fields of `CharCnnRnn`.
PUBLISHED = {
    "birds_cvpr": {"features": (384, 512, 256), "cell": "plain", "final_pooling": True},
    "flowers_cvpr": {"features": (384, 512, 256), "cell": "plain", "final_pooling": True},
    "birds_icml": {"features": (384, 512, 512), "cell": "gated", "final_pooling": False},
    "flowers_icml": {"features": (384, 512, 512), "cell": "plain", "final_pooling": True},
}


def _lookup() -> np.ndarray:
    table = np.full(128, SPACE, np.uint8)
    for index, character in enumerate(ALPHABET, start=1):
        table[ord(character)] = index
    return table


_TABLE = _lookup()
_READ = frozenset(ALPHABET) - {" "}


def is_blank(caption: str) -> bool:
    """Returns whether a caption has no character of the alphabet, so that it is read as spaces."""
    return _READ.isdisjoint(caption.lower()[:LENGTH])


def indices(captions: Iterable[str]) -> np.ndarray:
    """Converts captions to character indices, in the published way.

    Captions are lower-cased and cut at 201 characters. A character outside the alphabet counts as a
    space. The hyphen gets the later of its two indices.

    Args:
        captions: n captions.

    Returns:
        [n, 201] uint8: 1 to 70 by position in `ALPHABET`, 0 after the end of the caption.
    """
    captions = list(captions)
    result = np.zeros((len(captions), LENGTH), np.uint8)
    for row, caption in zip(result, captions, strict=True):
        # A terminal passes undecodable bytes on as lone surrogates. They are outside the alphabet.
        encoded = caption.lower()[:LENGTH].encode("utf-32-le", "surrogatepass")
        codes = np.frombuffer(encoded, np.uint32)
        row[: len(codes)] = _TABLE[np.where(codes < len(_TABLE), codes, 0)]
    return result


def threshold(x: jax.Array) -> jax.Array:
    """Returns x where x > 1e-6, else 0 (Torch's default `nn.Threshold`)."""
    return jnp.where(x > THRESHOLD, x, 0)


def pool(x: jax.Array, stride: int) -> jax.Array:
    """Returns the maximum over windows of 3: [b, l, f] → [b, (l - 3) // stride + 1, f]."""
    last = (x.shape[1] - 3) // stride * stride + 1
    # Strided slices, because XLA's CPU gradient of a window maximum is many times slower.
    return reduce(jnp.maximum, [x[:, i : i + last : stride] for i in range(3)])


class PlainCell(nn.Module):
    """A plain recurrence, h ← relu(W x + U h). The first state is relu(W x).

    Attributes:
        features: f, width of the input and of the state.
        dtype: Of the computation; parameters are float32.
    """

    features: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns the state after each step: [b, l, f] → [b, l, f]."""
        inputs = nn.Dense(self.features, dtype=self.dtype, name="input")(x)
        hidden = nn.Dense(self.features, dtype=self.dtype, name="hidden")
        states = [nn.relu(inputs[:, 0])]
        # A Python loop, because a scan keeps XLA's CPU gradients off their fast path.
        for step in range(1, x.shape[1]):
            states.append(nn.relu(inputs[:, step] + hidden(states[-1])))
        return jnp.stack(states, axis=1)


class GatedCell(nn.Module):
    """A gated recurrent unit, h ← u·h' + (1 - u)·h.

    The candidate h' is tanh(W x + U (r·h)). The first state is tanh(W x), as published.

    Attributes:
        features: f, width of the input and of the state.
        dtype: Of the computation; parameters are float32.
    """

    features: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns the state after each step: [b, l, f] → [b, l, f]."""
        dense = lambda name: nn.Dense(self.features, dtype=self.dtype, name=name)
        inputs = dense("input")(x)
        update_inputs, reset_inputs = dense("input_update")(x), dense("input_reset")(x)
        hidden, update_hidden = dense("hidden"), dense("hidden_update")
        reset_hidden = dense("hidden_reset")
        states = [jnp.tanh(inputs[:, 0])]
        for step in range(1, x.shape[1]):
            state = states[-1]
            update = nn.sigmoid(update_inputs[:, step] + update_hidden(state))
            reset = nn.sigmoid(reset_inputs[:, step] + reset_hidden(state))
            candidate = jnp.tanh(inputs[:, step] + hidden(reset * state))
            states.append(update * candidate + (1 - update) * state)
        return jnp.stack(states, axis=1)


CELLS = {"plain": PlainCell, "gated": GatedCell}


class CharCnnRnn(nn.Module):
    """Three convolutions, a recurrence, its mean over time, and a linear layer.

    Attributes:
        width: Width of the embedding; 1024 as published.
        features: Features of the three convolutions. The last is also the recurrence's width.
        cell: "plain" or "gated".
        final_pooling: Whether the third convolution is pooled too. The recurrence then has 8 steps
            instead of 18.
        dtype: Of the computation; parameters are float32.
    """

    width: int = 1024
    features: tuple[int, int, int] = (384, 512, 512)
    cell: str = "gated"
    final_pooling: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Embeds captions.

        Args:
            tokens: [b, 201] character indices, 0 to 70, from `indices`.

        Returns:
            [b, width] float32.
        """
        he = nn.initializers.he_normal()
        # Index 0, the padding, becomes a row of zeros.
        x = jax.nn.one_hot(tokens.astype(jnp.int32) - 1, len(ALPHABET), dtype=self.dtype)
        for number, features in enumerate(self.features, start=1):
            name = f"convolution_{number}"
            x = nn.Conv(
                features, (TAPS,), padding="VALID", kernel_init=he, dtype=self.dtype, name=name
            )(x)
            x = threshold(x)
            if number < 3:
                x = pool(x, stride=3)
            elif self.final_pooling:
                x = pool(x, stride=2)
        states = CELLS[self.cell](self.features[-1], self.dtype, name="recurrence")(x)
        x = nn.Dense(self.width, dtype=self.dtype, name="projection")(states.mean(axis=1))
        return x.astype(jnp.float32)

    @staticmethod
    def without_words(key: jax.Array, tokens: jax.Array, share: float) -> jax.Array:
        """Leaves out each word with probability `share`: [b, 201] → [b, 201]."""
        word = jnp.cumsum(tokens == SPACE, axis=1)  # the number of each character's word
        kept = jax.random.bernoulli(key, 1 - share, tokens.shape)
        keep = jnp.take_along_axis(kept, word, axis=1) & (tokens > 0)
        places = jnp.argsort(~keep, axis=1, stable=True)
        return jnp.take_along_axis(jnp.where(keep, tokens, 0), places, axis=1)
