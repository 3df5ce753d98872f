"""The networks and the training step that are measured, on random images, captions and weights."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from stackgan_jax.data import augment, batches
from stackgan_jax.models.image_tower import ImageTower
from stackgan_jax.runtime import configuration
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.training import (
    fused_steps,
    game,
    gan,
    gan_learner,
    gan_previews,
    objectives,
    probe,
)
from stackgan_jax.training.learner import Learner

EMBEDDING = {"synthetic_birds": 256}  # width of the captions' embeddings; elsewhere as published
PUBLISHED_EMBEDDING = 1024
IMAGES = 1024
CAPTIONS = 10  # for each image
CLASSES = 150
TOWER_SIZE = 32  # side of what an image tower reads


@dataclasses.dataclass(frozen=True)
class Subject:
    """A stage's config and what is built from it.

    Attributes:
        config: the config of a stage.
        game: the networks and the losses that `config` describes.
        embedding: width of a caption's embedding.
    """

    config: ConfigDict
    game: gan.Gan
    embedding: int

    @property
    def dtype(self) -> str:
        """The type of the generator's activations: "float32" or "bfloat16"."""
        return str(self.config.generator.dtype)

    def step(self, state: Any, batch: Any) -> tuple[Any, Any]:
        """Returns the state after one training step, and the step's metrics."""
        return self.game.step(state, batch, jax.random.key(self.config.seed))

    def init(self, key: jax.Array) -> gan.GanState:
        """Returns a state with random weights."""
        return self.game.init(key, self.embedding)

    def source(self) -> batches.Source:
        """Returns random images at load size, each with embeddings of its captions.

        There are as many images as the batch has, and at least IMAGES.
        """
        rng = np.random.default_rng(0)
        count = max(IMAGES, self.config.batch_size)
        size = augment.load_size(self.game.discriminator.size, self.config.margin)
        images = rng.integers(0, 256, (count, size, size, 3), np.uint8)
        flat = rng.standard_normal((count * CAPTIONS, self.embedding), np.float32)
        offsets = np.arange(count + 1) * CAPTIONS
        return batches.image_text(
            images,
            rng.integers(0, CLASSES, count).astype(np.int32),
            batches.CaptionEmbeddings(flat, offsets),
            self.config.batch_size,
            self.config.captions_per_image,
            self.config.seed,
        )

    def learner(self, devices: jax.sharding.Mesh) -> Learner:
        """What the training loop takes, with previews."""
        captions = [f"caption {i}" for i in range(gan_previews.PREVIEW_CAPTIONS)]
        embedding = np.zeros((len(captions), self.embedding), np.float32)
        source = self.source()
        pairs = source.gather(source.held, source.choose(0))
        return Learner(
            **fused_steps.compiled(self.config, devices, source, self.init, self.step),
            parameters=gan_learner.parameters,
            preview=gan_previews.previewer(
                self.config, self.game, captions, embedding, pairs, devices
            ),
        )


def of_config(config: ConfigDict) -> Subject:
    """Builds the subject of a stage's config.

    A later stage gets the packaged earlier stages of the same data set, with images of the sizes
    that it needs.

    Raises:
        UserError: `config` is not of a stage, or its fields don't fit together.
    """
    if not configuration.is_stage(config):
        raise UserError(
            "The benchmark measures one stage, not a config of kind "
            f"{config.get('kind', 'several at once')!r}; give --config=configs/stage1.py."
        )
    built = game.build(config, _priors(config))
    width = EMBEDDING.get(config.get("dataset"), PUBLISHED_EMBEDDING)
    return Subject(config, _with_random_teachers(built, width), width)


def _with_random_teachers(built: gan.Gan, width: int) -> gan.Gan:
    """The game with a random image tower and a random probe, which cost as much as trained ones."""
    # Constants of the step, as trained ones are.
    constant = lambda shape: np.random.default_rng(0).standard_normal(shape, np.float32)
    tower, picture = ImageTower(width), jnp.zeros((1, TOWER_SIZE, TOWER_SIZE, 3))
    shapes = jax.eval_shape(tower.init, jax.random.key(0), picture)
    params = jax.tree.map(lambda leaf: constant(leaf.shape), shapes)

    def matcher(image: jax.Array, embedding: jax.Array, key: jax.Array) -> jax.Array:
        seen = augment.disturb(key, image.astype(jnp.float32), TOWER_SIZE)
        return objectives.matching(tower.apply(params, seen), embedding)

    def likeness(seen: objectives.Seen, embedding: jax.Array) -> jax.Array:
        shown = probe.moments(seen)
        return objectives.cosine(shown @ constant((shown.shape[-1], width)), embedding)

    return dataclasses.replace(built, matcher=matcher, probe=likeness)


def _priors(config: ConfigDict) -> list[ConfigDict]:
    """The configs of the earlier stages, in order, with the sizes that this stage needs."""
    name = configuration.previous_stage(config)
    if name is None:
        return []
    prior = configuration.load(f"{name}.py", configuration.argument(config))
    prior.generator.dtype = config.generator.dtype
    prior.discriminator.size = config.discriminator.size // 4
    if "size" in prior.generator:
        prior.generator.size = prior.discriminator.size
    prior.training.z_features = config.training.z_features
    return [*_priors(prior), prior]
