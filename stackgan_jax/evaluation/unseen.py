"""Pictures drawn for captions of the test split."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from stackgan_jax import sample, text
from stackgan_jax.data import augment, input_pipeline
from stackgan_jax.data.images import to_uint8
from stackgan_jax.data.input_pipeline import Split
from stackgan_jax.sample import Sampler

JUDGED = 256  # unseen captions, one picture each
SHOWN = 8  # of them, each of another class


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


def centre(images: np.ndarray, size: int) -> np.ndarray:
    """The middle `[n, size, size, 3]` of pictures."""
    corner = (images.shape[1] - size) // 2
    return images[:, corner : corner + size, corner : corner + size]
