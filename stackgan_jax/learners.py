"""What the loop trains: one Learner for each kind of experiment, built from its config."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from stackgan_jax import (
    augment,
    batches,
    configuration,
    dispatch,
    gan,
    images,
    input_pipeline,
    mesh,
    text,
)
from stackgan_jax.checkpoint import Checkpoints
from stackgan_jax.embedding import ImageTower, JointEmbedding
from stackgan_jax.errors import UserError
from stackgan_jax.models import convolution, stage1, stage2
from stackgan_jax.models.text import CharCnnRnn, indices

PREVIEW_CAPTIONS = 8
HEADINGS = {"stage1": "Stage I", "stage2": "Stage II"}
DTYPES = ("float32", "bfloat16")  # of activations; parameters, statistics, losses are float32
STAGE1_CONFIG = "stage1.json"  # in a Stage-II run: the config of the Stage I that it goes on from


@dataclasses.dataclass(frozen=True)
class Preview:
    """A page of pictures: rows of uint8 `[s, s, 3]`, a caption for each, headings for columns."""

    rows: Sequence[Sequence[np.ndarray]]
    captions: Sequence[str]
    headings: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Learner:
    """All that the loop knows of what it trains.

    Attributes:
      init: key → state, on the devices.
      step: (state, batch) → (state, scalars); the state is given away.
      steps: (state, batches stacked) → (state, scalars stacked): several steps in one dispatch.
      together: how many steps one dispatch should hold; 1 for `step` alone.
      batches: (start, stop) → this process's part of what `step` takes for a batch.
      parameters: state → network name → its parameters.
      preview: state → a page, always of the same captions and noise; None for nothing to see.
      finish: called with the final state; None for nothing to do.
    """

    init: Callable[[jax.Array], Any]
    step: Callable[[Any, Mapping[str, jax.Array]], tuple[Any, Mapping[str, jax.Array]]]
    batches: Callable[[int, int], Iterator[batches.Batch]]
    parameters: Callable[[Any], Mapping[str, Any]]
    preview: Callable[[Any], Preview] | None = None
    finish: Callable[[Any], None] | None = None
    steps: Callable[[Any, Mapping[str, jax.Array]], tuple[Any, Mapping[str, jax.Array]]] = None
    together: int = 1


def create(config: ConfigDict, workdir: Path, devices: jax.sharding.Mesh) -> Learner:
    """The learner of a config; `workdir` is where what it depends on is kept.

    Raises UserError when what the config needs (data, encoder, Stage I) is missing or unfit.
    """
    return KINDS[config.kind](config, workdir, devices)


def text_encoder(config: ConfigDict, workdir: Path, devices: jax.sharding.Mesh) -> Learner:
    """The char-CNN-RNN, trained by the joint embedding of captions and images."""
    split = input_pipeline.load(config.data, "train", config.load_size)
    input_pipeline.claim(split, workdir)
    joint = JointEmbedding(
        text=CharCnnRnn(**_typed(config.text)),
        image=ImageTower(width=config.text.width, **_typed(config.image)),
        steps=config.steps,
        **config.joint,
    )
    tokens = [indices(captions) for captions in split.captions]
    key = jax.random.key(config.seed)
    source = batches.distinct_classes(
        split.images, split.labels, tokens, config.batch_size, config.seed
    )

    def finish(state: Any) -> None:
        if jax.process_index() == 0:
            captions = [caption for captions in split.captions for caption in captions]
            encoder = text.CharCnnRnnEncoder.create(joint.text, state.params["text"])
            text.save_encoder(encoder.normalised_by(captions), workdir / text.DIRECTORY)

    return Learner(
        **dispatch.compiled(
            config,
            devices,
            source,
            joint.init,
            lambda state, batch: joint.step(state, batch, jax.random.fold_in(key, state.step)),
        ),
        parameters=lambda state: {
            "Text tower": state.params["text"],
            "Image tower": state.params["image"],
        },
        finish=finish,
    )


def stage(config: ConfigDict, workdir: Path, devices: jax.sharding.Mesh) -> Learner:
    """Either stage's GAN. The encoder and, for Stage II, Stage I are copied into the run, which
    then stands alone."""
    encoder = _own_encoder(config, workdir)
    prior, prior_variables = _own_stage1(config, workdir)
    game = build(config, prior)
    split = input_pipeline.load(config.data, "train", augment.load_size(game.discriminator.size))
    input_pipeline.claim(split, workdir)
    input_pipeline.tell_of_other_data(split, Path(config.text_encoder))
    embeddings = input_pipeline.embed_captions(split, encoder)
    test = input_pipeline.load(config.data, "test", augment.load_size(game.discriminator.size))
    _, first = np.unique(test.labels, return_index=True)
    captions = [test.captions[i][0] for i in first[:PREVIEW_CAPTIONS]]
    learner = stage_on(config, devices, game, split.images, split.labels, embeddings)
    return dataclasses.replace(
        learner,
        init=lambda key: learner.init(key, prior_variables),
        preview=previewer(config, game, captions, encoder.embed(captions), devices),
    )


def stage_on(
    config: ConfigDict,
    devices: jax.sharding.Mesh,
    game: gan.Gan,
    pictures: np.ndarray,
    labels: np.ndarray,
    embeddings: batches.CaptionEmbeddings,
) -> Learner:
    """A stage's Learner on these arrays, without previews; its `init` takes the prior as well."""
    source = batches.image_text(
        pictures, labels, embeddings, config.batch_size, config.captions_per_image, config.seed
    )
    width, key = embeddings.flat.shape[1], jax.random.key(config.seed)
    return Learner(
        **dispatch.compiled(
            config,
            devices,
            source,
            lambda key, prior: game.init(key, width, prior),
            lambda state, batch: game.step(state, batch, key),
        ),
        parameters=lambda state: {
            "Generator": state.generator.params,
            "Discriminator": state.discriminator.params,
        },
    )


def build(config: ConfigDict, stage1_config: ConfigDict | None = None) -> gan.Gan:
    """The game that a config describes; Stage II's with the Stage I of `stage1_config`.

    Raises UserError when a field of the config is not one of the network's.
    """
    networks = NETWORKS[config.kind]
    try:
        prior = stage1.Generator(**_typed(stage1_config.generator)) if stage1_config else None
        return gan.Gan(
            generator=networks.Generator(**_typed(config.generator)),
            discriminator=networks.Discriminator(**_typed(config.discriminator)),
            prior=prior,
            **config.training,
        )
    except (TypeError, ValueError) as error:
        raise UserError(f"The config {config.name} can't be built: {error}") from error


def _typed(fields: ConfigDict) -> dict[str, Any]:
    """A network's fields, the precision given as a name."""
    if fields.dtype not in DTYPES:
        raise UserError(f"Unknown dtype {fields.dtype!r}; choose from {', '.join(DTYPES)}.")
    return {**fields, "dtype": jax.numpy.dtype(fields.dtype)}


def _own_encoder(config: ConfigDict, workdir: Path) -> text.Encoder:
    """The run's own text encoder, copied from `config.text_encoder` when the run begins."""
    own = workdir / text.DIRECTORY
    if not own.exists() and jax.process_index() == 0:
        text.save_encoder(text.load_encoder(config.text_encoder), own)
    mesh.wait_for_all_processes("text encoder")
    return text.load_encoder(own)


def _own_stage1(config: ConfigDict, workdir: Path) -> tuple[ConfigDict | None, Any]:
    """Stage I's config, kept in the run as stage1.json, and its variables for a fresh state."""
    if config.kind != "stage2":
        return None, None
    own = workdir / STAGE1_CONFIG
    if not own.exists() and jax.process_index() == 0:
        configuration.write(own, configuration.read(Path(config.stage1) / "config.json"))
    mesh.wait_for_all_processes("Stage I")
    if (workdir / "checkpoints").exists():
        return configuration.read(own), None  # comes with the checkpoint
    saved = Checkpoints(Path(config.stage1) / "checkpoints").restore_part(("ema",))
    return configuration.read(own), saved["ema"]


def previewer(
    config: ConfigDict,
    game: gan.Gan,
    captions: Sequence[str],
    embedding: np.ndarray,
    devices: jax.sharding.Mesh,
) -> Callable[[Any], Preview]:
    """Draws these captions, whose embeddings are `[n, t]`, with noise that stays the same."""
    noise = game.noise(jax.random.key(config.seed), len(captions))
    draw = jax.jit(
        lambda state: game.generate(state, embedding, *noise),
        out_shardings=mesh.replicated(devices),
        compiler_options=convolution.compiler_options(),
    )

    def preview(state: Any) -> Preview:
        drawn = {name: images.to_uint8(batch) for name, batch in draw(state).items()}
        return Preview(
            rows=list(zip(*drawn.values(), strict=True)),
            captions=captions,
            headings=[HEADINGS[name] for name in drawn],
        )

    return preview


KINDS = {"text_encoder": text_encoder, "stage1": stage, "stage2": stage}
NETWORKS = {"stage1": stage1, "stage2": stage2}
