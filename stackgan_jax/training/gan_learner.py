"""A stage's training: its game, its data, its text encoder and its previews (StackGAN, sec. 3)."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from stackgan_jax import text
from stackgan_jax.data import augment, input_pipeline, overview
from stackgan_jax.runtime import configuration, mesh, paths
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.text import scorer
from stackgan_jax.training import fused_steps, objectives, probe
from stackgan_jax.training.game import adopt_priors, build
from stackgan_jax.training.gan import Gan
from stackgan_jax.training.gan_previews import measured_pairs, preview_captions, previewer
from stackgan_jax.training.learner import Learner


def create(config: ConfigDict, workdir: Path, devices: jax.sharding.Mesh) -> Learner:
    """Makes the learner of a stage.

    The text encoder and the earlier stages are copied into the run, which then stands alone.

    Args:
        config: of a stage.
        workdir: of the run.
        devices: that share the batch.

    Raises:
        UserError: the data, the text encoder or the stage before are missing or unfit.
    """
    prior_configs, priors = adopt_priors(config, workdir)
    encoder = _own_encoder(config, workdir, priors)
    game = _matched(build(config, prior_configs), encoder, workdir)
    split, test = (input_pipeline.load_for(config, name, game.size) for name in ("train", "test"))
    input_pipeline.record_data(split, workdir)
    overview.announce({"train": split, "test": test}, encoder.name)
    overview.show(split, workdir)
    if not configuration.has_begun(workdir):
        encoder.require_read(split.some_captions(), overview.UNREAD)
    if "probe" in game.weights:
        fitted = probe.of_run(game, split, encoder, workdir)
        game = dataclasses.replace(game, probe=fitted.likeness)
    if encoder.trainable:
        input_pipeline.warn_of_other_data(split, paths.folder(configuration.text_encoder(config)))
    captions = preview_captions(test)
    source = split.image_text(encoder, config.batch_size, config.captions_per_image, config.seed)
    key = jax.random.key(config.seed)
    compiled = fused_steps.compiled(
        config,
        devices,
        source,
        lambda key, priors: game.init(key, encoder.width, priors),
        lambda state, batch: game.step(state, batch, key),
        key,
        priors,
    )
    init = compiled.pop("init")
    return Learner(
        **compiled,
        init=lambda key: init(key, priors),
        parameters=parameters,
        preview=previewer(
            config,
            game,
            captions,
            encoder.embed(captions),
            measured_pairs(config, split, encoder),
            devices,
        ),
    )


def parameters(state: Any) -> dict[str, Any]:
    """The networks under training, for the overview of their parameters."""
    return {
        "Generator": state.generator.params,
        "Discriminator": state.discriminator.params,
    }


def _own_encoder(config: ConfigDict, workdir: Path, priors: tuple[Any, ...] | None) -> text.Encoder:
    """The run's own text encoder, copied from the config's when the run begins.

    Raises UserError when that is missing, or not the one of the earlier stages.
    """
    own = workdir / text.DIRECTORY
    # What a start that failed has copied may be of another config.
    if not (own.exists() and configuration.has_begun(workdir)) and jax.process_index() == 0:
        source = configuration.text_encoder(config)
        if priors:
            kernel = priors[0]["params"]["conditioning"]["dense"]["kernel"]
            previous = config[configuration.previous_stage(config)]
            text.require_of_stage1(source, previous, len(kernel))
        text.copy_encoder(source, own)
    elif jax.process_index() == 0:
        text.repair(configuration.text_encoder(config), own)
    mesh.wait_for_all_processes("text encoder")
    return text.load_encoder(own)


def _matched(game: Gan, encoder: text.Encoder, workdir: Path) -> Gan:
    """The game with the run's image tower as matcher, if its config asks for one."""
    if "matching" not in game.weights:
        return game
    pair = scorer.load(workdir / text.DIRECTORY)
    require_matcher(game, pair.network, pair.image_size)
    return dataclasses.replace(game, matcher=matcher(pair, encoder))


def require_matcher(game: Gan, network: str, image_size: int) -> None:
    """Raises UserError if an image tower can't be the matcher that a game asks for.

    Args:
        game: with or without the term "matching".
        network: `config.image.network` of the text encoder.
        image_size: side of the pictures that the image tower reads.
    """
    if "matching" not in game.weights:
        return
    if network != scorer.TRAINED:
        raise UserError(
            "config.training.matching_weight needs an image tower that was trained on pictures, "
            f"not on the features of {network}; set --config.training.matching_weight=0, or train "
            f"the text encoder with --config.image.network={scorer.TRAINED}."
        )
    if game.size % image_size:
        raise UserError(
            f"config.training.matching_weight needs pictures whose size is a multiple of the image "
            f"tower's {image_size} pixels, not {game.size}; set --config.training.matching_weight=0"
            ", or train the text encoder with another --config.joint.image_size."
        )


def matcher(pair: scorer.Scorer, encoder: text.Encoder) -> Callable[..., jax.Array]:
    """Returns the distance of pictures from the sentences that they were drawn for.

    Args:
        pair: scores captions against pictures.
        encoder: the run's; its embeddings are converted to those that the image tower knows.

    Returns:
        (image `[b, s, s, 3]` float32 in [-1, 1], embedding `[b, width]`, key) → scalar, by
        `objectives.matching`, of pictures disturbed by `augment.disturb`.
    """
    scale = pair.encoder.scale / encoder.scale
    shift = (encoder.shift - pair.encoder.shift) * np.float32(pair.encoder.scale)

    def distance(image: jax.Array, embedding: jax.Array, key: jax.Array) -> jax.Array:
        seen = augment.disturb(key, image.astype(jnp.float32), pair.image_size)
        embedded = pair.image.apply({"params": pair.params}, seen)
        return objectives.matching(embedded, embedding * scale + shift)

    return distance
