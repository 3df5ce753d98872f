"""The pictures of a report: drawn for unseen captions, and the training images nearest to them
(StackGAN, sec. 4.2)."""

import dataclasses

import numpy as np

from stackgan_jax import sample
from stackgan_jax.data.images import resize, to_uint8
from stackgan_jax.evaluation.unseen import centre
from stackgan_jax.sample import Sampler

STRIP = 8  # pictures in a row of other noise, or between two captions


def other_noise(sampler: Sampler, embeddings: np.ndarray, seed: int) -> np.ndarray:
    """uint8 `[n, STRIP, s, s, 3]`: each of n embeddings drawn with STRIP different noises."""
    drawn = sampler.draw(np.repeat(embeddings, STRIP, axis=0), seed=seed)
    pictures = to_uint8(sample.final_images(drawn))
    return pictures.reshape(len(embeddings), STRIP, *pictures.shape[1:])


def between(sampler: Sampler, first: np.ndarray, last: np.ndarray, seed: int) -> np.ndarray:
    """uint8 `[STRIP, s, s, 3]` on the way from one embedding to the other, with one noise."""
    # A full chunk, because it has been compiled already; that takes longer than drawing it.
    way = sample.interpolation(sampler, first, last, sample.CHUNK, seed)
    return way[np.linspace(0, len(way) - 1, STRIP).round().astype(int)]


def shrunk(pictures: np.ndarray, size: int) -> np.ndarray:
    """uint8 `[n, s, s, 3]` → `[n, size, size, 3]` by area averaging."""
    return np.stack([resize(picture, size) for picture in pictures])


def nearest(pictures: np.ndarray, training: np.ndarray) -> "Nearest":
    """For each picture the training image that differs least, as it is or in the mirror.

    Args:
      pictures: uint8 `[n, s, s, 3]`.
      training: uint8 `[m, l, l, 3]`, l at least s; their middles are compared.
    """
    count, size = len(pictures), pictures.shape[1]
    wanted = np.concatenate([_vectors(pictures), _vectors(pictures[:, :, ::-1])])
    best = np.full(2 * count, np.inf, np.float32)
    index = np.zeros(2 * count, int)
    for start in range(0, len(training), 512):
        block = _vectors(centre(training[start : start + 512], size))
        # |a - b|² less |a|², which is the same for all b.
        squares = np.square(block).sum(axis=1) - 2 * wanted @ block.T
        least = squares.min(axis=1)
        index = np.where(least < best, start + squares.argmin(axis=1), index)
        best = np.minimum(least, best)
    squares = np.maximum(best + np.square(wanted).sum(axis=1), 0)
    plain, mirrored = np.split(np.sqrt(squares / wanted.shape[1]), 2)
    turned = mirrored < plain
    return Nearest(
        index=np.where(turned, index[count:], index[:count]),
        mirrored=turned,
        distance=np.minimum(plain, mirrored),
    )


@dataclasses.dataclass(frozen=True)
class Nearest:
    """The training images nearest to n pictures.

    Attributes:
      index: `[n]`, which image.
      mirrored: `[n]`, whether its mirror image is nearer than itself.
      distance: `[n]` root mean square differences over pixels and channels, of 255 at most.
    """

    index: np.ndarray
    mirrored: np.ndarray
    distance: np.ndarray

    def image(self, training: np.ndarray, of: int, size: int) -> np.ndarray:
        """uint8 `[size, size, 3]`: the one nearest to picture `of`, turned as it was compared."""
        found = centre(training[[self.index[of]]], size)[0]
        return found[:, ::-1] if self.mirrored[of] else found

    def summary(self) -> dict[str, float]:
        """Of the distances."""
        return {
            "median": round(float(np.median(self.distance)), 2),
            "least": round(float(self.distance.min()), 2),
        }


def _vectors(pictures: np.ndarray) -> np.ndarray:
    return pictures.reshape(len(pictures), -1).astype(np.float32) - 127.5
