"""Pictures of several runs for the same captions, side by side."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from stackgan_jax import sample, text
from stackgan_jax.data import input_pipeline
from stackgan_jax.data.images import to_uint8
from stackgan_jax.runtime import configuration
from stackgan_jax.sample import Sampler

SHOWN = 6  # captions
SEED = 0  # of the choice of captions and of the noise


class Row(NamedTuple):
    """A caption and the picture of each run.

    Attributes:
        caption: the sentence.
        pictures: run → uint8 `[s, s, 3]`, each of its own size.
    """

    caption: str
    pictures: Mapping[str, np.ndarray]


def draw(samplers: Mapping[str, Sampler], data: Mapping[str, Any] | None = None) -> list[Row]:
    """Draws captions of the first run's test split by every run.

    Nobody picks the captions by eye: they are of the first images in a random order. Each run reads
    them by its own text encoder.

    Args:
        samplers: run → its sampler, at least one.
        data: values of `config.data` where the data have moved.

    Raises:
        UserError: the data are missing, or an encoder can't read a caption.
    """
    first = next(iter(samplers.values()))
    captions = _captions(first, data)
    drawn = {run: _pictures(sampler, captions) for run, sampler in samplers.items()}
    return [
        Row(caption, {run: pictures[number] for run, pictures in drawn.items()})
        for number, caption in enumerate(captions)
    ]


def _captions(sampler: Sampler, data: Mapping[str, Any] | None) -> list[str]:
    config = configuration.with_data(sampler.config, data)
    test = input_pipeline.load_for(config, "test", sampler.game.discriminator.size)
    chosen = np.random.default_rng((SEED, 7)).permutation(len(test))[:SHOWN]
    return [test.captions[image][0] for image in chosen]


def _pictures(sampler: Sampler, captions: Sequence[str]) -> np.ndarray:
    """`[n, s, s, 3]` uint8 of the last stage."""
    embeddings = text.embed(sampler.directory, captions)
    return to_uint8(sample.final_images(sampler.draw(embeddings, seed=SEED)))
