"""Unseen captions: captions of the test split and the pictures drawn for them."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from stackgan_jax import sample, text
from stackgan_jax.data import input_pipeline
from stackgan_jax.data.images import to_uint8
from stackgan_jax.data.split import Split
from stackgan_jax.sample import Sampler

JUDGED = 256  # unseen captions, one picture each
SHOWN = 8  # of these, each of a different class


@dataclasses.dataclass(frozen=True)
class Unseen:
    """Test captions and the pictures drawn for them.

    Attributes:
        test: the test split, at the last stage's load size.
        images: `[n]`, indices into the test split.
        labels: `[n]`, the images' classes.
        captions: n sentences, one for each image.
        embeddings: `[n, t]`, of the captions.
        drawn: stage → pictures, uint8 `[n, s, s, 3]`: "stage1" and, in a Stage-II run, "stage2".
        real: the images themselves at the last stage's size, uint8 `[n, s, s, 3]`.
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
        """The pictures of the last stage, uint8 `[n, s, s, 3]`."""
        return sample.final_images(self.drawn)

    @property
    def shown(self) -> np.ndarray:
        """Indices of the first SHOWN captions of different classes; nobody picks them by eye."""
        _, first = np.unique(self.labels, return_index=True)
        return np.sort(first)[:SHOWN]


def draw_unseen(sampler: Sampler, seed: int) -> Unseen:
    """Draws one picture for one caption of each of JUDGED test images, or of all if fewer.

    In a Stage-II run, the Stage-I pictures are the ones that Stage II refined.

    Args:
        sampler: of the run.
        seed: of the choice of captions and of the noise.
    """
    size = sampler.game.discriminator.size
    test = input_pipeline.load_for(sampler.config, "test", size)
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
    """Returns the centre crops `[n, size, size, 3]` of pictures."""
    corner = (images.shape[1] - size) // 2
    return images[:, corner : corner + size, corner : corner + size]
