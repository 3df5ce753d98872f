"""The pictures of a report: drawn for unseen captions, and the training images nearest to them
(StackGAN, sec. 4.2)."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from stackgan_jax import augment, input_pipeline, sample, text
from stackgan_jax.images import resize, to_uint8
from stackgan_jax.input_pipeline import Split
from stackgan_jax.sample import Sampler

JUDGED = 256  # unseen captions, one picture each
SHOWN = 8  # of them, each of another class
STRIP = 8  # pictures in a row of other noise, or between two captions


@dataclasses.dataclass(frozen=True)
class Unseen:
    """Test captions and what was drawn for them.

    Attributes:
      test: the split, at the last stage's load size.
      images: `[n]` indices into the test split.
      labels: `[n]` their classes.
      captions: n sentences, one of each image's.
      embeddings: `[n, t]` of the captions.
      drawn: "stage1", and from a Stage II "stage2": uint8 `[n, s, s, 3]`.
      real: uint8 `[n, s, s, 3]`, the images themselves at the last stage's size.
    """

    test: Split
    images: np.ndarray
    labels: np.ndarray
    captions: Sequence[str]
    embeddings: np.ndarray
    drawn: Mapping[str, np.ndarray]
    real: np.ndarray

    @property
    def final(self) -> np.ndarray:
        return sample.final_images(self.drawn)

    @property
    def shown(self) -> np.ndarray:
        """The first SHOWN that are of different classes: nobody has chosen them by looking."""
        _, first = np.unique(self.labels, return_index=True)
        return np.sort(first)[:SHOWN]


def draw_unseen(sampler: Sampler, seed: int) -> Unseen:
    """One picture for one caption of each of JUDGED test images (all of them if there are fewer).

    A Stage II's Stage-I pictures are those that it went on from.
    """
    size = sampler.game.discriminator.size
    test = input_pipeline.load(sampler.config.data, "test", augment.load_size(size))
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(test))[:JUDGED]
    captions = [str(rng.choice(test.captions[image])) for image in chosen]
    embeddings = text.embed(sampler.directory, captions)
    drawn = sampler.draw(embeddings, seed=seed)
    return Unseen(
        test=test,
        images=chosen,
        labels=test.labels[chosen],
        captions=captions,
        embeddings=embeddings,
        drawn={name: to_uint8(pictures) for name, pictures in drawn.items()},
        real=centre(test.images[chosen], size),
    )


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


def centre(images: np.ndarray, size: int) -> np.ndarray:
    """The middle `[n, size, size, 3]` of pictures."""
    corner = (images.shape[1] - size) // 2
    return images[:, corner : corner + size, corner : corner + size]


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
