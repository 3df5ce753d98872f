"""The text encoder's training by a joint embedding of captions and images (Reed et al., 2016)."""

import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from stackgan_jax import text
from stackgan_jax.data import image_features, input_pipeline, overview
from stackgan_jax.data.split import Split
from stackgan_jax.models import registry
from stackgan_jax.models.image_tower import FeatureTower, ImageTower
from stackgan_jax.runtime import configuration, mesh
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.text import retrieval, scorer
from stackgan_jax.training import fused_steps, ridge, ridge_teacher
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
    overview.announce({"train": split, "test": test}, config.encoder)
    overview.show(split, workdir)
    encoder = kind.fresh(config, split, test)
    if not configuration.has_begun(workdir):
        encoder.require_read(split.some_captions(), overview.UNREAD)
    joint = joint_embedding(config, encoder)
    _require_streamable(config)
    known, test_features = (features(config, each) for each in (split, test))
    statistics = None if known is None else ridge.standardising(known)
    places = None
    if joint.teacher and not encoder.trainable:
        raise UserError(
            f"config.joint.teacher={joint.teacher} needs a text encoder that is trained, not "
            f"{config.encoder}; set --config.joint.teacher=''."
        )
    if joint.teacher:
        taught = _taught(config, split, known, statistics, joint.image.width)
        statistics["projection"] = {
            "kernel": taught.kernel,
            "bias": np.zeros(joint.image.width, np.float32),
        }
        places = taught.places
    key = jax.random.key(config.seed)
    source = split.joint_embedding(encoder, config.batch_size, config.seed, known, places)
    example = encoder.tokens([split.captions[0][0]])

    def finish(state: Any) -> None:
        params = mesh.gathered(devices, state.params)
        if jax.process_index() == 0:
            _save(config, encoder, joint, params, split, workdir)
            retrieval.write(workdir, test, test_features)

    return Learner(
        **fused_steps.compiled(
            config,
            devices,
            source,
            lambda key: joint.init(key, example, statistics),
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
    fields = registry.typed(config.image)
    network, _ = fields.pop("network"), fields.pop("features_file")
    choices = (scorer.TRAINED, *image_features.NETWORKS, image_features.FILE)
    if network not in choices:
        raise UserError(
            f"Unknown config.image.network {network!r}; choose from {', '.join(choices)}."
        )
    trained = network == scorer.TRAINED
    return JointEmbedding(
        text=encoder.tower,
        image=ImageTower(encoder.width, **fields) if trained else FeatureTower(encoder.width),
        steps=config.steps,
        **config.joint,
    )


def _require_streamable(config: ConfigDict) -> None:
    """Raises UserError if the training needs numbers of every picture, which shards don't have."""
    if config.data.get("shards") and config.image.network != scorer.TRAINED:
        raise UserError(
            f"config.image.network={config.image.network} keeps features of every picture, which "
            "can't be streamed from config.data.shards; set --config.image.network="
            f"{scorer.TRAINED}, or train the text encoder on a part of the pictures without "
            "--config.data.shards."
        )


def _taught(
    config: ConfigDict,
    split: Split,
    known: np.ndarray | None,
    statistics: dict[str, np.ndarray] | None,
    width: int,
) -> ridge_teacher.Teacher:
    """The teacher of `config.joint.teacher`; raises UserError if it can't be had."""
    if config.joint.teacher != "ridge":
        raise UserError(
            f"Unknown config.joint.teacher {config.joint.teacher!r}; choose ridge, or leave it "
            "empty."
        )
    if known is None:
        raise UserError(
            "config.joint.teacher=ridge needs the features of a frozen network: set "
            "--config.image.network=efficientnet_lite0, or --config.joint.teacher=''."
        )
    standard = (np.asarray(known, np.float32) - statistics["shift"]) * statistics["scale"]
    return ridge_teacher.teacher(standard, split.captions, width)


def features(config: ConfigDict, split: Split) -> np.ndarray | None:
    """A split's features `[n, views, d]` by `config.image.network`; None if that is trained."""
    network = config.image.network
    if network == scorer.TRAINED:
        return None
    if network == image_features.FILE:
        return image_features.of_file(config.image.features_file, split)
    return image_features.of_split(split, network, config.joint.image_size)


def _save(
    config: ConfigDict,
    encoder: text.Encoder,
    joint: JointEmbedding,
    params: Any,
    split: Split,
    workdir: Path,
) -> None:
    """Keeps the encoder, normalised by the training captions, together with its image tower."""
    encoder = encoder.trained(params["text"])
    pair = scorer.Scorer(
        encoder, joint.image, params["image"], joint.image_size, config.image.network
    )
    if encoder.trainable:
        encoder = encoder.normalised_by(split.some_captions())
    text.save_encoder(encoder, workdir / text.DIRECTORY, {scorer.IMAGE_TOWER_FILE: pair.arrays()})
