"""Runs made of published weights, which draw and go on training."""

import contextlib
import dataclasses
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from stackgan_jax import text
from stackgan_jax.models.char_cnn_rnn import CharCnnRnn
from stackgan_jax.models.image_tower import ImageTower
from stackgan_jax.runtime import configuration
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.text.encoders import CharCnnRnnEncoder
from stackgan_jax.training import gan
from stackgan_jax.training.checkpoint import Checkpoints
from stackgan_jax.training.game import build
from stackgan_jax.training.joint_embedding import EmbeddingState, JointEmbedding
from stackgan_jax.weights import encoder_names, weight_files
from stackgan_jax.weights.recognition import Weights

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
# The data set whose settings each program was published with (the first) or has as well.
PUBLISHED_DATASETS = {"pytorch": ("coco",), "tensorflow": ("birds", "flowers")}
# What an import takes from the config of a data set that the program wasn't published for.
_OF_THE_DATASET = ("name", "dataset", "data", "text_encoder", "stage1")


@dataclasses.dataclass(frozen=True)
class Imported:
    """A run made of published weights.

    Attributes:
      config: the run's.
      base: the config without the sizes that the weights decided.
      parameters: part → how many numbers are trained in it.
      fresh_discriminator: whether there was none to import.
    """

    config: ConfigDict
    base: ConfigDict
    parameters: Mapping[str, int]
    fresh_discriminator: bool = False


def import_gan(
    weights: Weights,
    workdir: Path,
    dataset: str = "",
    encoder: text.Encoder | None = None,
    step: int = 0,
    configs: Path = CONFIGS,
) -> Imported:
    """Makes `workdir` a run that stands at `step`, with the optimisers fresh.

    Args:
      weights: from `published_networks.recognise`.
      workdir: new or empty; it appears whole or not at all.
      dataset: to go on with; "" for the published one.
      encoder: of sentences; kept in the run.
      step: how many steps the weights have been trained, which places the learning rate.
      configs: the folder with stage1.py and stage2.py.

    Raises UserError when the weights aren't those of the networks, or the workdir can't be made.
    """
    if encoder is not None:
        text.require_width(encoder, weights.text)
    base = _config(weights.source, weights.stage, dataset, configs)
    config, stage1_config = _sized(weights, base, dataset, configs)
    game = build(config, [stage1_config] if stage1_config else [])
    networks = {"generator": game.generator, "discriminator": game.discriminator}
    if stage1_config is not None:
        networks["stage1"] = game.priors[0]
        networks["stage1_discriminator"] = build(stage1_config).discriminator
    variables = weights.variables(networks)
    state = _state(game, variables, weights.text, config.seed, step)
    with new_folder(workdir) as made:
        configuration.write(made / "config.json", config)
        if stage1_config is not None:
            configuration.write(made / "stage1.json", stage1_config)
        if encoder is not None:
            text.save_encoder(encoder, made / text.DIRECTORY)
        _save(made, config, step, state)
    counts = {part: _count(found["params"]) for part, found in variables.items()}
    return Imported(config, base, counts, fresh_discriminator="discriminator" not in variables)


def import_encoder(
    encoder: CharCnnRnnEncoder, workdir: Path, dataset: str = "", configs: Path = CONFIGS
) -> Imported:
    """Makes `workdir` a text encoder's run at step 0, its image tower fresh; raises as above."""
    base = configuration.load(configs / "text_encoder.py", dataset or "birds")
    config = base.copy_and_resolve_references()
    module = encoder.module
    config.text.update(
        width=module.width,
        features=tuple(module.features),
        cell=module.cell,
        final_pooling=module.final_pooling,
    )
    joint = JointEmbedding(
        text=CharCnnRnn(**config.text),
        image=ImageTower(width=config.text.width, **config.image),
        steps=config.steps,
        **config.joint,
    )

    def image_tower_only(key: jax.Array) -> EmbeddingState:
        fresh = joint.init(key)
        return fresh.replace(params={"image": fresh.params["image"]})

    state = jax.jit(image_tower_only)(jax.random.key(config.seed))
    state = state.replace(params=state.params | {"text": encoder.params})
    with new_folder(workdir) as made:
        configuration.write(made / "config.json", config)
        text.save_encoder(encoder, made / text.DIRECTORY)
        _save(made, config, 0, state)
    return Imported(config, base, {"text encoder": _count(encoder.params)})


def read_encoder(path: str | Path) -> CharCnnRnnEncoder:
    """The encoder in a published file, PyTorch's or Lua Torch's; raises UserError on others."""
    weights, final_pooling = weight_files.read_encoder(path)
    try:
        module, params = encoder_names.from_state_dict(weights)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    if final_pooling is not None:
        module = module.clone(final_pooling=final_pooling)
    return CharCnnRnnEncoder.create(module, params)


def _config(source: str, stage: int, dataset: str, configs: Path) -> ConfigDict:
    """The published config, with the data of another data set where that is asked for."""
    file = configs / f"stage{stage}.py"
    published_for = PUBLISHED_DATASETS[source]
    dataset = dataset or published_for[0]
    if dataset in published_for:
        return configuration.load(file, dataset)
    config, other = configuration.load(file, published_for[0]), configuration.load(file, dataset)
    with config.unlocked():
        for name in _OF_THE_DATASET:
            if name in other:
                config[name] = other[name]
    return config


def _sized(
    weights: Weights, base: ConfigDict, dataset: str, configs: Path
) -> tuple[ConfigDict, ConfigDict | None]:
    """The config with the sizes of the weights, and Stage I's where this is Stage II."""

    def fit(config: ConfigDict, generator: str, discriminator: str) -> ConfigDict:
        config = config.copy_and_resolve_references()
        own = weights.sizes[generator].fields
        config.generator.update(own)
        # A fresh discriminator is half as wide as the generator, as the published ones are.
        fresh = {"features": max(own["features"] // 2, 1), "condition": own["condition"]}
        judge = weights.sizes.get(discriminator)
        config.discriminator.update(judge.fields if judge else fresh)
        config.training.z_features = weights.noise
        return config

    config = fit(base, "generator", "discriminator")
    if weights.stage == 1:
        if "discriminator" not in weights.sizes:
            config.discriminator.size = config.generator.size
        return config, None
    stage1_base = _config(weights.source, 1, dataset, configs)
    return config, fit(stage1_base, "stage1", "stage1_discriminator")


def _state(
    game: gan.Gan, variables: Mapping[str, Any], text_width: int, seed: int, step: int
) -> gan.GanState:
    """The imported networks with fresh optimisers, whose schedules stand at `step`."""

    def fresh_discriminator(key: jax.Array) -> dict[str, Any]:
        net = game.init(key, text_width).discriminator
        return {"params": net.params, "batch_stats": net.batch_stats}

    discriminator = variables.get("discriminator")
    if discriminator is None:
        # Compiled, what isn't returned isn't drawn.
        discriminator = jax.jit(fresh_discriminator)(jax.random.key(seed))
    priors = (variables["stage1"],) if "stage1" in variables else ()
    state = game.start(variables["generator"], discriminator, priors)
    return state.replace(
        step=jnp.asarray(step, jnp.int32),
        generator=_at(state.generator, step),
        discriminator=_at(state.discriminator, step),
    )


def _at(net: gan.Net, step: int) -> gan.Net:
    """The learning rate's schedule moved to `step`; Adam's own count stays, its moments are new."""

    def of_the_schedule(path: tuple, _: Any) -> bool:
        return getattr(path[-1], "tuple_name", "") == "ScaleByScheduleState"

    count = jnp.asarray(step, jnp.int32)
    moved = optax.tree_utils.tree_set(net.opt_state, of_the_schedule, count=count)
    return net.replace(opt_state=moved)


def _save(workdir: Path, config: ConfigDict, step: int, state: Any) -> None:
    # Fresh moments are zeros, which take no room; the rest shrinks by less than a tenth.
    needed = 0.9 * sum(leaf.nbytes for leaf in jax.tree.leaves(state) if np.any(leaf))
    free = shutil.disk_usage(workdir).free
    if free < needed:
        raise UserError(
            f"The run needs {needed / 1e6:,.0f} MB and {workdir.parent} has {free / 1e6:,.0f} MB "
            "left; free space, or choose another --workdir."
        )
    checkpoints = Checkpoints(workdir / "checkpoints", **config.keep)
    checkpoints.save(step, state, {})
    checkpoints.close()


@contextlib.contextmanager
def new_folder(directory: Path) -> Iterator[Path]:
    """A folder to write in, which becomes `directory` at the end, or nothing does."""
    directory = Path(directory).absolute()
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise UserError(f"{directory} already holds something; give a new folder.")
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
        try:
            yield made
            made.chmod(0o755)
            os.replace(made, directory)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    except OSError as error:
        raise UserError(
            f"{directory} can't be written: {error.strerror or error}; free space, or choose "
            "another folder."
        ) from error


def _count(params: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(params))
