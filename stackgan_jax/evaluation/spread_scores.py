"""Spread: how much pictures of one sentence differ, beside real pictures that are alike."""

import dataclasses
import typing
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from stackgan_jax.data.augment import reduced
from stackgan_jax.data.images import resize
from stackgan_jax.data.split import Split
from stackgan_jax.data.synthetic_birds.attributes import ATTRIBUTES
from stackgan_jax.data.synthetic_birds.captions import attributes_named
from stackgan_jax.evaluation.evidence import Captions
from stackgan_jax.evaluation.readers import Features, JointReader, Reader

THUMBNAIL = 64  # pixels at most: noise in single pixels is no spread


@dataclasses.dataclass(frozen=True)
class Sample:
    """The sentences that are drawn several times, and like real pictures.

    Attributes:
        rows: `[n]`, which of the evaluation's captions.
        real: for each of them indices of at least two real pictures.
        compared: what the real pictures of a sentence have in common, in words.
    """

    rows: np.ndarray
    real: Sequence[np.ndarray]
    compared: str


def choose(test: Split, captions: Captions, sentences: int, each: int, seed: int) -> Sample:
    """Chooses sentences of different images, and for each the real pictures that are like its own.

    These share the attributes that the sentence names; in data without attributes they share the
    class. Where no two pictures do, they are any real pictures.

    Args:
        test: the split of the captions.
        captions: from which to choose.
        sentences: how many, at most.
        each: how many real pictures of one sentence, at most.
        seed: of the choice of real pictures.
    """
    rng = np.random.default_rng((seed, 6))
    _, first = np.unique(captions.images, return_index=True)
    candidates = np.sort(first)
    compared = "any real pictures"
    if test.attributes:
        compared = "real pictures with the attributes that the sentence names"
        alike = {row: _with_attributes(test, captions.sentences[row]) for row in candidates}
    elif len(np.unique(test.labels)) > 1:
        compared = "real pictures of its class"
        alike = {row: np.flatnonzero(test.labels == captions.labels[row]) for row in candidates}
    else:
        alike = {}
    rows = [row for row in alike if len(alike[row]) > 1]
    if not rows:
        compared, rows = "any real pictures", list(candidates)
        alike = dict.fromkeys(rows, np.arange(len(test)))
    rows = rows[:sentences]
    return Sample(np.array(rows), [rng.permutation(alike[row])[:each] for row in rows], compared)


def _with_attributes(test: Split, sentence: str) -> np.ndarray:
    """Indices of the pictures that have all the attributes that a sentence names."""
    named = attributes_named(sentence)
    fits = np.ones(len(test), bool)
    for name, value in named.items():
        fits &= test.attributes[name] == list(ATTRIBUTES[name]).index(value)
    return np.flatnonzero(fits)


def within(features: np.ndarray, groups: np.ndarray) -> float:
    """The root mean square difference of two pictures of one group.

    Args:
        features: `[n, d]`; the difference is the mean over d.
        groups: `[n]`, the number of each picture's group. Each group counts the same; groups of
            one picture don't count.
    """
    squares = []
    for group in np.unique(groups):
        own = features[groups == group].astype(np.float64)
        if len(own) > 1:
            # The mean of (a - b)² over pairs is twice the variance.
            squares.append(2 * own.var(axis=0, ddof=1).mean())
    return float(np.sqrt(np.mean(squares)))


@dataclasses.dataclass(frozen=True)
class ThumbnailReader(Reader):
    """Reads "thumbnail" `[n, d]`: the pixels in [0, 1] of pictures reduced to `THUMBNAIL`."""

    name: typing.ClassVar[str] = "thumbnails"

    @property
    def stamp(self) -> dict[str, str]:
        """There is no network."""
        return {
            "weights": "none: pixels",
            "sha256": "none: pixels",
            "resize": f"area average to {THUMBNAIL}×{THUMBNAIL}, smaller ones not at all",
            "precision": "float32",
        }

    def read(self, images: np.ndarray) -> Features:
        """Reads pictures, uint8 `[n, s, s, 3]`."""
        if images.shape[1] > THUMBNAIL:
            images = np.stack([resize(image, THUMBNAIL) for image in images])
        return {"thumbnail": images.reshape(len(images), -1).astype(np.float32) / 255}


@dataclasses.dataclass(frozen=True)
class LayerReader(Reader):
    """Reads "layers" `[n, d]`: every convolution of an image tower, side by side.

    The channels at each place have length 1, and each layer weighs the same, so that the squared
    difference of two pictures is that of LPIPS (Zhang et al., CVPR 2018) without learnt weights.
    """

    name: typing.ClassVar[str] = "layers"
    joint: JointReader

    @property
    def stamp(self) -> dict[str, str]:
        """That of the joint embedding's reader."""
        return dict(self.joint.stamp)

    @property
    def warning(self) -> str:
        """That of the joint embedding's reader."""
        return self.joint.warning

    def read(self, images: np.ndarray) -> Features:
        """Reads pictures, uint8 `[n, s, s, 3]`."""
        self.joint.require_size(images)
        pair = self.joint.scorer
        return {"layers": np.asarray(_layers(pair.image, pair.image_size, pair.params, images))}


def _layers(module: nn.Module, size: int, params: typing.Any, images: np.ndarray) -> jax.Array:
    """Every convolution of an image tower, `[n, d]`."""
    pictures = reduced(jnp.asarray(images), size)
    is_convolution = lambda module, method: isinstance(module, nn.Conv)
    _, kept = module.apply({"params": params}, pictures, capture_intermediates=is_convolution)
    maps = [nn.relu(one) for one in jax.tree.leaves(kept["intermediates"])]
    return jnp.concatenate([_directions(one) for one in maps], axis=1)


def _directions(one: jax.Array) -> jax.Array:
    """`[n, h, w, c]` → `[n, d]`: channels of length 1, divided so that the whole has length 1."""
    lengths = jnp.linalg.norm(one, axis=-1, keepdims=True)
    scaled = one / (lengths + 1e-6) / np.sqrt(one.shape[1] * one.shape[2])
    return scaled.reshape(len(one), -1)
