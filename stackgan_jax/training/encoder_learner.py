"""The text encoder's training by a joint embedding of captions and images (Reed et al., 2016)."""

import functools
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from stackgan_jax import text
from stackgan_jax.data import batches, input_pipeline
from stackgan_jax.models import registry
from stackgan_jax.models.image_tower import ImageTower
from stackgan_jax.runtime import mesh
from stackgan_jax.text import retrieval, scorer
from stackgan_jax.training import fused_steps
from stackgan_jax.training.joint_embedding import JointEmbedding
from stackgan_jax.training.learner import Learner


def create(config: ConfigDict, workdir: Path, devices: jax.sharding.Mesh) -> Learner:
    """Makes the learner of a text encoder and an image tower.

    If the encoder cannot be trained, the image tower is trained alone.

    Args:
        config: of kind "text_encoder".
        workdir: of the run; training ends with `text_encoder/` and `retrieval.json` in it.
        devices: that share the batch.

    Raises:
        UserError: the encoder is unknown, or the data are missing or unfit.
    """
    kind = text.kind(config.encoder, "config.encoder")
    load = functools.partial(input_pipeline.load, config.data, load_size=config.load_size)
    split, test = load("train"), load("test")
    input_pipeline.record_data(split, workdir)
    encoder = kind.fresh(config, split, test)
    joint = joint_embedding(config, encoder)
    if encoder.trainable:
        tokens = input_pipeline.per_caption(split, encoder.tokens)
    else:
        tokens = input_pipeline.embed_captions(split, encoder)
    key = jax.random.key(config.seed)
    source = batches.joint_embedding(
        split.images, split.labels, tokens, config.batch_size, config.seed
    )

    def finish(state: Any) -> None:
        params = mesh.gathered(devices, state.params)
        if jax.process_index() == 0:
            _save(encoder, joint, params, split, workdir)
            retrieval.write(workdir, test)

    return Learner(
        **fused_steps.compiled(
            config,
            devices,
            source,
            lambda key: joint.init(key, tokens.flat[:1]),
            lambda state, batch: joint.step(state, batch, jax.random.fold_in(key, state.step)),
            key,
        ),
        parameters=lambda state: {
            f"{name.capitalize()} tower": tree for name, tree in state.params.items() if tree
        },
        finish=finish,
    )


def joint_embedding(config: ConfigDict, encoder: text.Encoder) -> JointEmbedding:
    """The text tower and the image tower that a config describes, and how they are trained."""
    return JointEmbedding(
        text=encoder.tower,
        image=ImageTower(width=encoder.width, **registry.typed(config.image)),
        steps=config.steps,
        **config.joint,
    )


def _save(
    encoder: text.Encoder,
    joint: JointEmbedding,
    params: Any,
    split: input_pipeline.Split,
    workdir: Path,
) -> None:
    """Keeps the encoder, normalised by the training captions, together with its image tower."""
    encoder = encoder.trained(params["text"])
    pair = scorer.Scorer(encoder, joint.image, params["image"], joint.image_size)
    if encoder.trainable:
        captions = [caption for captions in split.captions for caption in captions]
        encoder = encoder.normalised_by(captions)
    text.save_encoder(encoder, workdir / text.DIRECTORY, {scorer.IMAGE_TOWER_FILE: pair.arrays()})
