"""The independent scorer: a text tower and an image tower that no generator is trained against.

A generator can learn what pleases the networks that it is trained with, and a discriminator that
sees ImageNet's features can game scores by them (Kynkäänniemi et al., ICLR 2023). So these towers
are trained on the real training pictures alone, with another text encoder than the run's, another
image tower and another seed, and they never saw ImageNet.
"""

import dataclasses
import hashlib
import json
import typing
from collections.abc import Callable

import jax
import numpy as np

from stackgan_jax import text
from stackgan_jax.data import augment, overview, preparation
from stackgan_jax.data.split import Split
from stackgan_jax.evaluation.readers import Features, JointReader, sha256
from stackgan_jax.models import convolution
from stackgan_jax.models.image_tower import IMAGE_LENGTH, ImageTower
from stackgan_jax.runtime import mesh
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.runtime.locking import locked
from stackgan_jax.runtime.progress import Progress
from stackgan_jax.text import scorer
from stackgan_jax.training.joint_embedding import JointEmbedding

SIDE = 64  # pixels that the image tower sees; the run's own usually sees 32
WIDTH = 128
FEATURES = (24, 48, 96, 192)
STEPS = 800
BATCH_SIZE = 48
SEED = 1017  # no run's default
# Of the text tower, as configs/text_encoder.py has them for own pictures.
_TEXT = {"width": WIDTH, "features": (48, 128, 192), "cell": "gated", "final_pooling": True}
_TRAINING = {"learning_rate": 2e-3, "drop_words": 0.3}


@dataclasses.dataclass(frozen=True)
class IndependentReader(JointReader):
    """The independent scorer: reads "independent", whose inner products are d times a cosine."""

    name: typing.ClassVar[str] = "independent"

    @property
    def stamp(self) -> dict[str, str]:
        """The two towers, with a fingerprint of their weights."""
        encoder = self.scorer.encoder
        return {
            **super().stamp,
            "weights": f"independent scorer ({encoder.name}), trained on the training pictures",
            "sha256": sha256([encoder.fingerprint, self.scorer.params]),
        }

    def read(self, images: np.ndarray) -> Features:
        """Reads pictures, uint8 `[n, s, s, 3]`; raises UserError for too small ones."""
        self.require_size(images)
        scale = np.float32(np.sqrt(self.scorer.image.width) / IMAGE_LENGTH)
        return {"independent": scale * self.scorer.embed_images(images)}


def trained(
    load: Callable[[str, int], Split], encoder: str, size: int, flip: bool, train: bool = True
) -> scorer.Scorer:
    """Loads the scorer that is kept with the data set; the first use trains it.

    Args:
        load: split name, load size → a split of the data set.
        encoder: the name of the run's text encoder, which the scorer does not use.
        size: of the run's pictures, in pixels.
        flip: whether mirrored pictures fit their captions.
        train: False to raise an error where there is none yet.

    Raises:
        UserError: there is none and `train` is False, the other encoder can't read the captions, or
            the disk can't be written.
    """
    side = min(size, SIDE)
    # Of the published margin, whatever the run's: one scorer for all runs of these data.
    split = load("train", augment.load_size(side))
    fresh = _other_encoder(encoder, split)
    settings = [fresh.name, side, flip, WIDTH, FEATURES, STEPS, BATCH_SIZE, SEED, _TEXT, _TRAINING]
    known = preparation.facts(split.directory)["fingerprint"]
    digest = hashlib.sha256(json.dumps([known, settings]).encode()).hexdigest()
    folder = split.directory.parents[1] / "scorers" / f"{fresh.name}-{digest[:16]}"

    def make() -> None:
        if text.exists(folder):
            return
        with locked(folder):  # another evaluation may be training it
            if not text.exists(folder):
                pair = _train(split, fresh, side, flip)
                tower = {scorer.IMAGE_TOWER_FILE: pair.arrays()}
                text.save_encoder(pair.encoder, folder, tower)

    if train:
        mesh.process_0_first(make, f"train {folder}")
    elif not text.exists(folder):
        raise UserError(
            "The independent scorer of these data is not trained yet; --mode=evaluate trains it."
        )
    return scorer.load(folder)


def _other_encoder(encoder: str, split: Split) -> text.Encoder:
    """The scorer's untrained text encoder: not the run's, unless no other reads the captions."""
    names = sorted(("bag_of_words", "char_cnn_rnn"), key=lambda name: name == encoder)
    choice = {"text": {**_TEXT, "dtype": "float32"}}
    for name in names:
        try:
            fresh = text.kind(name, "the scorer").fresh(choice, split, split)
            fresh.require_read(split.some_captions(), overview.UNREAD)
        except UserError as error:
            reason = error
        else:
            return fresh
    raise reason


def _train(split: Split, encoder: text.Encoder, side: int, flip: bool) -> scorer.Scorer:
    """Trains both towers by the joint embedding of a text encoder's training."""
    joint = JointEmbedding(
        encoder.tower, ImageTower(WIDTH, FEATURES), side, steps=STEPS, flip=flip, **_TRAINING
    )
    source = split.joint_embedding(encoder, BATCH_SIZE, SEED)
    key = jax.random.key(SEED)
    state = joint.init(key, encoder.tokens([split.captions[0][0]]))
    step = jax.jit(
        lambda state, batch: joint.step(state, batch, jax.random.fold_in(key, state.step)),
        donate_argnums=0,
        compiler_options=convolution.compiler_options(),
    )
    show = Progress("independent scorer", STEPS * BATCH_SIZE, "trained on")
    for number in range(STEPS):
        state, _ = step(state, source.whole(number))
        show((number + 1) * BATCH_SIZE)
    params = jax.device_get(state.params)
    return scorer.Scorer(encoder.trained(params["text"]), joint.image, params["image"], side)
