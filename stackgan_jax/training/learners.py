"""What the loop trains: one Learner for each kind of experiment, built from its config."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from stackgan_jax import text
from stackgan_jax.data import augment, batches, images, input_pipeline
from stackgan_jax.models import convolution, stage1, stage2
from stackgan_jax.models.image_tower import ImageTower
from stackgan_jax.runtime import configuration, mesh, paths
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.text import retrieval, scorer
from stackgan_jax.training import fused_steps, gan, objectives
from stackgan_jax.training.checkpoint import Checkpoints
from stackgan_jax.training.joint_embedding import JointEmbedding

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
    """A text encoder and an image tower, trained by the joint embedding of captions and images;
    the image tower alone where the encoder is given."""
    kind = text.kind(config.encoder, "config.encoder")
    load = functools.partial(input_pipeline.load, config.data, load_size=config.load_size)
    split, test = load("train"), load("test")
    input_pipeline.claim(split, workdir)
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
            _save_towers(encoder, joint, params, split, workdir)
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
    """The two towers that a config describes, and how they are trained."""
    return JointEmbedding(
        text=encoder.tower,
        image=ImageTower(width=encoder.width, **_typed(config.image)),
        steps=config.steps,
        **config.joint,
    )


def _save_towers(
    encoder: text.Encoder,
    joint: JointEmbedding,
    params: Any,
    split: input_pipeline.Split,
    workdir: Path,
) -> None:
    """Keeps the encoder, normalised by the training captions, with its image tower beside it."""
    encoder = encoder.trained(params["text"])
    pair = scorer.Scorer(encoder, joint.image, params["image"], joint.image_size)
    if encoder.trainable:
        captions = [caption for captions in split.captions for caption in captions]
        encoder = encoder.normalised_by(captions)
    text.save_encoder(encoder, workdir / text.DIRECTORY, {scorer.IMAGE_TOWER_FILE: pair.arrays()})


def stage(config: ConfigDict, workdir: Path, devices: jax.sharding.Mesh) -> Learner:
    """Either stage's GAN. The encoder and, for Stage II, Stage I are copied into the run, which
    then stands alone."""
    prior, prior_variables = _own_stage1(config, workdir)
    encoder = _own_encoder(config, workdir, prior_variables)
    game = _matched(build(config, prior), encoder, workdir)
    size = game.discriminator.size
    split = input_pipeline.load(config.data, "train", augment.load_size(size))
    input_pipeline.claim(split, workdir)
    if encoder.trainable:
        input_pipeline.tell_of_other_data(split, paths.folder(config.text_encoder))
    embeddings = input_pipeline.embed_captions(split, encoder)
    test = input_pipeline.load(config.data, "test", augment.load_size(size))
    captions = preview_captions(test)
    source = batches.image_text(
        split.images,
        split.labels,
        embeddings,
        config.batch_size,
        config.captions_per_image,
        config.seed,
    )
    key = jax.random.key(config.seed)
    compiled = fused_steps.compiled(
        config,
        devices,
        source,
        lambda key, prior: game.init(key, encoder.width, prior),
        lambda state, batch: game.step(state, batch, key),
        key,
        prior_variables,
    )
    init = compiled.pop("init")
    return Learner(
        **compiled,
        init=lambda key: init(key, prior_variables),
        parameters=lambda state: {
            "Generator": state.generator.params,
            "Discriminator": state.discriminator.params,
        },
        preview=previewer(config, game, captions, encoder.embed(captions), devices),
    )


def build(config: ConfigDict, stage1_config: ConfigDict | None = None) -> gan.Gan:
    """The game that a config describes; Stage II's with the Stage I of `stage1_config`.

    Raises UserError when a field of the config is not one of the network's, or the noise is not of
    Stage I's width.
    """
    networks = NETWORKS[config.kind]
    training = dict(config.training)
    norm = {"batch_norm_groups": training.pop("batch_norm_groups", 1)}
    if not 1 <= norm["batch_norm_groups"] <= config.batch_size:
        raise UserError(
            f"config.training.batch_norm_groups is {norm['batch_norm_groups']}; give a number from "
            f"1 (the whole batch's statistics) to config.batch_size, {config.batch_size}."
        )
    if stage1_config and stage1_config.training.z_features != config.training.z_features:
        trained = stage1_config.training.z_features
        raise UserError(
            f"config.training.z_features is {config.training.z_features} and the Stage I that the "
            f"run goes on from was trained with {trained}; set "
            f"--config.training.z_features={trained}."
        )
    try:
        prior = None
        if stage1_config:
            prior = stage1.Generator(**_typed(stage1_config.generator), **norm)
        return gan.Gan(
            generator=networks.Generator(**_typed(config.generator), **norm),
            discriminator=networks.Discriminator(**_typed(config.discriminator), **norm),
            prior=prior,
            **training,
        )
    except (TypeError, ValueError) as error:
        raise UserError(f"The config {config.name} can't be built: {error}") from error


def _matched(game: gan.Gan, encoder: text.Encoder, workdir: Path) -> gan.Gan:
    """The game with the run's image tower as matcher, where its config asks for one."""
    if not game.matching_weight:
        return game
    pair = scorer.load(workdir / text.DIRECTORY)
    if game.discriminator.size % pair.image_size:
        raise UserError(
            f"config.training.matching_weight needs pictures whose size is a multiple of the image "
            f"tower's {pair.image_size} pixels, not {game.discriminator.size}; set it to 0, or "
            "train the text encoder with another config.joint.image_size."
        )
    return dataclasses.replace(game, matcher=matcher(pair, encoder))


def matcher(pair: scorer.Scorer, encoder: text.Encoder) -> Callable[..., jax.Array]:
    """What `gan.Gan` asks how far pictures are from the sentences they were drawn for.

    Args:
        pair: the towers that score them.
        encoder: the run's; its embeddings are brought to what the image tower knows.

    Returns:
        (image [b, s, s, 3] float32 in [-1, 1], embedding [b, width], key) → scalar, by
        `objectives.matching`, of pictures disturbed by `augment.disturb`.
    """
    scale = pair.encoder.scale / encoder.scale
    shift = (encoder.shift - pair.encoder.shift) * np.float32(pair.encoder.scale)

    def distance(image, embedding, key):
        seen = augment.disturb(key, image.astype(jax.numpy.float32), pair.image_size)
        embedded = pair.image.apply({"params": pair.params}, seen)
        return objectives.matching(embedded, embedding * scale + shift)

    return distance


def _typed(fields: ConfigDict) -> dict[str, Any]:
    """A network's fields, the precision given as a name."""
    if fields.dtype not in DTYPES:
        raise UserError(f"Unknown dtype {fields.dtype!r}; choose from {', '.join(DTYPES)}.")
    return {**fields, "dtype": jax.numpy.dtype(fields.dtype)}


def _own_encoder(config: ConfigDict, workdir: Path, prior_variables: Any) -> text.Encoder:
    """The run's own text encoder, copied from `config.text_encoder` when the run begins.

    Raises UserError when that is missing, or not the one that Stage I was trained with.
    """
    own = workdir / text.DIRECTORY
    # What a start that failed has copied may be of another config.
    if not (own.exists() and configuration.has_begun(workdir)) and jax.process_index() == 0:
        if prior_variables is not None:
            kernel = prior_variables["params"]["conditioning"]["dense"]["kernel"]
            text.require_of_stage1(config.text_encoder, config.stage1, len(kernel))
        text.copy_encoder(config.text_encoder, own)
    mesh.wait_for_all_processes("text encoder")
    return text.load_encoder(own)


def _own_stage1(config: ConfigDict, workdir: Path) -> tuple[ConfigDict | None, Any]:
    """Stage I's config, kept in the run as stage1.json, and its variables for a fresh state."""
    if config.kind != "stage2":
        return None, None
    own = workdir / STAGE1_CONFIG
    if not configuration.has_begun(workdir) and jax.process_index() == 0:
        configuration.write(own, configuration.read(paths.folder(config.stage1) / "config.json"))
    mesh.wait_for_all_processes("Stage I")
    if configuration.has_begun(workdir):
        return configuration.read(own), None  # comes with the checkpoint
    stage1_config = configuration.read(own)
    # Read only: that Stage I may be training at this moment.
    theirs = Checkpoints(paths.folder(config.stage1) / "checkpoints", read_only=True)
    saved = theirs.restore_part(("ema",))
    if theirs.latest < stage1_config.steps and jax.process_index() == 0:
        print(
            f"The Stage I in {config.stage1} has done {theirs.latest:,} of its "
            f"{stage1_config.steps:,} steps: Stage II goes on from what it draws now, and what it "
            "learns later doesn't reach this run.",
            flush=True,
        )
    return stage1_config, saved["ema"]


def preview_captions(test: input_pipeline.Split) -> list[str]:
    """Of as many classes as can be, and not of each picture the first: that may be but a name."""
    _, first = np.unique(test.labels, return_index=True)
    others = np.setdiff1d(np.arange(len(test)), first)
    chosen = [*first, *others][:PREVIEW_CAPTIONS]
    captions = [test.captions[i] for i in chosen]
    return [several[n % len(several)] for n, several in enumerate(captions)]


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
