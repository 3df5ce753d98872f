"""A linear probe: how well pictures show their sentences, by what the discriminator sees.

It is a ridge regression from the maps that a projected discriminator sees of a picture, each by its
mean and deviation, to the embedding of the picture's sentences. It is fitted to the real training
pictures before the first step and fixed from then on ("linear probe": Alain and Bengio, 2017).
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from stackgan_jax.data import augment
from stackgan_jax.data.batches import CaptionEmbeddings
from stackgan_jax.data.split import Split
from stackgan_jax.models import convolution
from stackgan_jax.runtime import files, mesh, numpy_files
from stackgan_jax.text import Encoder
from stackgan_jax.training import ridge
from stackgan_jax.training.gan import Gan
from stackgan_jax.training.objectives import Seen, cosine

FILE = "probe.npz"  # in the run, so that a resumed training has the same probe
PICTURES = 4096  # that it is fitted to at most, evenly spaced
VIEWS = 3  # of each: other crops, mirrored or not, and disturbed as in training
STRENGTH = 1.0  # λ, for each picture; of features with mean 0 and deviation 1
_AT_ONCE = 64


class Probe(NamedTuple):
    """The regression's numbers, all float32.

    Attributes:
        shift: `[d]`, the features' means.
        scale: `[d]`, one over their deviations.
        kernel: `[d, t]`.
        middle: `[t]`, the mean of the embeddings, which all sentences have in common.
    """

    shift: np.ndarray
    scale: np.ndarray
    kernel: np.ndarray
    middle: np.ndarray

    def likeness(self, seen: Seen, embedding: jax.Array) -> jax.Array:
        """The cosine between what pictures show and their sentences.

        Args:
            seen: maps `[b, h, w, c]`, by `projected.Discriminator.see`.
            embedding: `[b, t]` of the sentences.

        Returns:
            `[b]` float32, from -1 to 1.
        """
        shown = ((moments(seen) - self.shift) * self.scale) @ self.kernel
        return cosine(shown, embedding - self.middle)


def moments(seen: Seen) -> jax.Array:
    """The mean and the deviation over all places of each map's channels → `[b, d]` float32."""
    found = []
    for each in jax.tree.leaves(seen):
        wide = each.astype(jnp.float32)
        mean = jnp.mean(wide, (1, 2), keepdims=True)
        deviation = jnp.sqrt(jnp.mean(jnp.square(wide - mean), (1, 2)) + 1e-4)  # has a gradient
        found += [mean[:, 0, 0], deviation]
    return jnp.concatenate(found, axis=-1)


def of_run(game: Gan, split: Split, encoder: Encoder, workdir: Path) -> Probe:
    """The probe of a run, fitted when the run begins.

    Args:
        game: whose discriminator sees the pictures.
        split: of training.
        encoder: the run's.
        workdir: of the run, which keeps the probe in `FILE`.
    """
    path = workdir / FILE
    kept = _load(path)
    if mesh.gather_rows(np.array([kept is not None]), jax.process_count()).all():
        return kept
    embedded = split.embed_captions(encoder)  # by all processes together

    def make() -> Probe:
        kept = _load(path)
        if kept is None:
            kept = fit(game, split, embedded)
            with files.replacing(path, several=True) as partial, partial.open("wb") as file:
                np.savez(file, **kept._asdict())
        return kept

    return mesh.process_0_first(make, f"fit {path}")


def fit(game: Gan, split: Split, embedded: CaptionEmbeddings) -> Probe:
    """Fits a probe to real pictures.

    Args:
        game: whose discriminator sees the pictures.
        split: of training.
        embedded: its captions.
    """
    count = min(len(split), PICTURES)
    chosen = np.linspace(0, len(split) - 1, count).astype(int)
    print(f"Fitting the probe to {count:,} pictures …", flush=True)
    images = np.asarray(split.images[chosen])
    starts, ends = embedded.offsets[chosen], embedded.offsets[chosen + 1]
    pairs = zip(starts, ends, strict=True)
    targets = np.stack([embedded.flat[start:end].mean(axis=0) for start, end in pairs])
    read = _reader(game)
    keys = jax.random.split(jax.random.key(0), VIEWS)
    features = np.concatenate([read(images, key) for key in keys])
    return regression(features, np.tile(targets, (VIEWS, 1)))


def regression(features: np.ndarray, targets: np.ndarray) -> Probe:
    """The probe of features `[n, d]` and targets `[n, t]`."""
    standard, middle = ridge.standardising(features), targets.mean(axis=0)
    x = (np.asarray(features, np.float64) - standard["shift"]) * standard["scale"]
    kernel = ridge.regression(x, np.asarray(targets, np.float64) - middle, STRENGTH)
    return Probe(**standard, kernel=np.float32(kernel), middle=np.float32(middle))


def _reader(game: Gan) -> Callable[[np.ndarray, jax.Array], np.ndarray]:
    """(pictures uint8 `[n, l, l, 3]`, key) → their moments `[n, d]`, seen as in training."""

    @functools.partial(jax.jit, compiler_options=convolution.compiler_options())
    def read(images: jax.Array, key: jax.Array) -> jax.Array:
        crop_key, see_key = jax.random.split(key)
        return moments(game.see(augment.augment(crop_key, images, game.size, game.flip), see_key))

    def read_all(images: np.ndarray, key: jax.Array) -> np.ndarray:
        parts = []
        for start in range(0, len(images), _AT_ONCE):
            part = images[start : start + _AT_ONCE]
            full = np.resize(part, (_AT_ONCE, *part.shape[1:]))  # one shape, compiled once
            parts.append(np.asarray(read(full, jax.random.fold_in(key, start)))[: len(part)])
        return np.concatenate(parts)

    return read_all


def _load(path: Path) -> Probe | None:
    try:
        return Probe(**numpy_files.read_npz(path, lambda _: Probe._fields))
    except (OSError, ValueError):  # missing or damaged
        return None
