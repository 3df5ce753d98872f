"""The pictures of a report: of unseen captions, with other noise, and between two captions.

Source: StackGAN, sec. 4.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from stackgan_jax import sample
from stackgan_jax.data import input_pipeline
from stackgan_jax.data.images import to_uint8
from stackgan_jax.evaluation.unseen import Unseen
from stackgan_jax.report.measurement import SEED, Measurement
from stackgan_jax.sample import Sampler

STRIP = 8  # pictures in a row
INTERPOLATIONS = 2  # pairs of captions to interpolate between


@dataclasses.dataclass(frozen=True)
class Example:
    """A caption and its pictures, each uint8 `[s, s, 3]`.

    Attributes:
        caption: the sentence.
        drawn: stage → picture.
        attributes: stage → attribute → (value named by the caption, value read in the picture).
        nearest: the training image nearest to the last stage's picture.
        distance: between these two.
        real: the caption's own image.
    """

    caption: str
    drawn: Mapping[str, np.ndarray]
    attributes: Mapping[str, Mapping[str, tuple[str, str]]]
    nearest: np.ndarray
    distance: float
    real: np.ndarray


@dataclasses.dataclass(frozen=True)
class Strip:
    """A row of pictures.

    Attributes:
        captions: one, or the captions of the first and the last picture.
        pictures: uint8 `[STRIP, s, s, 3]`.
    """

    captions: Sequence[str]
    pictures: np.ndarray


def examples(sampler: Sampler, measurement: Measurement) -> list[Example]:
    """Returns the shown captions with their pictures."""
    unseen, judgement, nearest = measurement.unseen, measurement.judgement, measurement.drawn
    size = unseen.real.shape[1]
    training = input_pipeline.load_for(sampler.config, "train", size)
    return [
        Example(
            caption=unseen.captions[i],
            drawn={stage: pictures[i] for stage, pictures in unseen.drawn.items()},
            attributes={
                stage: judgement.found(stage, i) if judgement else {} for stage in unseen.drawn
            },
            nearest=nearest.image(training.images, i, size),
            distance=float(nearest.distance[i]),
            real=unseen.real[i],
        )
        for i in unseen.shown
    ]


def noise_strips(sampler: Sampler, unseen: Unseen) -> list[Strip]:
    """Returns a row for each of the first shown captions, drawn with STRIP different noises."""
    chosen = unseen.shown[: sample.CHUNK // STRIP]
    drawn = sampler.draw(np.repeat(unseen.embeddings[chosen], STRIP, axis=0), seed=SEED)
    pictures = to_uint8(sample.final_images(drawn))
    rows = pictures.reshape(len(chosen), STRIP, *pictures.shape[1:])
    return [Strip([unseen.captions[i]], row) for i, row in zip(chosen, rows, strict=True)]


def interpolations(sampler: Sampler, unseen: Unseen) -> list[Strip]:
    """Returns a row from one caption to another for each of the last pairs of shown captions."""
    ends = unseen.shown[-2 * INTERPOLATIONS :]
    return [
        Strip(
            [unseen.captions[a], unseen.captions[b]],
            interpolation(sampler, unseen.embeddings[a], unseen.embeddings[b]),
        )
        for a, b in zip(ends[::2], ends[1::2], strict=False)
    ]


def interpolation(sampler: Sampler, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Returns uint8 `[STRIP, s, s, 3]` from one embedding `[t]` to another, with one noise."""
    # A full chunk is drawn because its program is compiled already; compiling takes longer.
    drawn = sampler.draw(*sample.way(sampler, first, last, sample.CHUNK, SEED))
    drawn = to_uint8(sample.final_images(drawn))
    return drawn[np.linspace(0, len(drawn) - 1, STRIP).round().astype(int)]
