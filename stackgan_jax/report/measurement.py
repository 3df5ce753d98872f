"""What a report measures: attributes in drawn pictures, and their distance from training images.

Source: StackGAN, sec. 4. The pictures are drawn for captions of the test split.
"""

import dataclasses
from typing import Any

import numpy as np

from stackgan_jax.data import input_pipeline
from stackgan_jax.data.images import resize
from stackgan_jax.data.split import Split
from stackgan_jax.evaluation.attribute_accuracy import Judgement, judge
from stackgan_jax.evaluation.unseen import Unseen, draw_unseen
from stackgan_jax.report.nearest import Nearest, find_nearest
from stackgan_jax.sample import Sampler

SEED = 0  # of everything that a report draws
COMPARED = 64  # largest size in pixels at which pictures are compared with the training images


@dataclasses.dataclass(frozen=True)
class Measurement:
    """The pictures of unseen captions, and the measurements of them.

    Attributes:
        unseen: captions and pictures.
        judgement: the attributes found in them; None for data without attributes.
        size: of the pictures when they are compared with the training images.
        training: the training split at the load size of `size`.
        drawn: the training images nearest to the last stage's pictures.
        real: the training images nearest to the captions' own images.
    """

    unseen: Unseen
    judgement: Judgement | None
    size: int
    training: Split
    drawn: Nearest
    real: Nearest

    def facts(self) -> dict[str, Any]:
        """Returns the measurements for report.json."""
        return {
            "seed": SEED,
            "captions_judged": len(self.unseen.captions),
            **(self.judgement.facts() if self.judgement else {}),
            "nearest_training_image": {
                "compared": f"pixels at {self.size}×{self.size}, area-averaged, also mirrored",
                "drawn": self.drawn.summary(),
                "real": self.real.summary(),
            },
        }


def measure(sampler: Sampler) -> Measurement:
    """Draws pictures for unseen captions and measures them.

    Args:
        sampler: the run that draws.
    """
    print(f"Drawing captions of the test split with {sampler.directory} …", flush=True)
    unseen = draw_unseen(sampler, SEED)
    size = min(unseen.real.shape[1], COMPARED)
    training = input_pipeline.load_for(sampler.config, "train", size)
    drawn, real = (
        find_nearest(shrunk(pictures, size), training.images)
        for pictures in (unseen.final, unseen.real)
    )
    return Measurement(unseen, judge(unseen), size, training, drawn, real)


def shrunk(pictures: np.ndarray, size: int) -> np.ndarray:
    """Returns uint8 `[n, s, s, 3]` as `[n, size, size, 3]`, area-averaged."""
    return np.stack([resize(picture, size) for picture in pictures])
