"""Makes runs of published weights. Such a run draws and can be trained further."""

import contextlib
import dataclasses
import shutil
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
from stackgan_jax.runtime import configuration, files
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.text.encoders import CharCnnRnnEncoder
from stackgan_jax.training import gan
from stackgan_jax.training.checkpoint import Checkpoints
from stackgan_jax.training.game import build
from stackgan_jax.training.joint_embedding import EmbeddingState, JointEmbedding
from stackgan_jax.weights import encoder_names, weight_files
from stackgan_jax.weights.network_sizes import Sizes
from stackgan_jax.weights.recognition import Weights

# The data sets whose settings each program was published with. The first is the default.
PUBLISHED_DATASETS = {"pytorch": ("coco",), "tensorflow": ("birds", "flowers")}
# For any other data set, these fields come from that data set's config, the rest from the default.
_OF_THE_DATASET = ("name", "dataset", "data", "text_encoder", "stage1")


@dataclasses.dataclass(frozen=True)
class Imported:
    """A run made of published weights.

    Attributes:
        config: The run's config.
        base: The same config before the sizes of the weights were filled in.
        parameters: Part of the weights → its number of trained parameters.
        fresh_discriminator: Whether the discriminator is new because none was imported.
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
) -> Imported:
    """Makes `workdir` a run of the given weights, with fresh optimisers.

    Args:
        weights: The weights, from `recognition.recognise`.
        workdir: A new or empty folder. It is written whole or not at all.
        dataset: The data set to train with; "" for the published one.
        encoder: A text encoder to keep in the run; None for none.
        step: How many steps the weights were trained. The run and its learning rate continue there.

    Raises:
        UserError: If the weights don't fit the networks, or `workdir` can't be written.
    """
    if encoder is not None:
        text.require_width(encoder, weights.text)
    base = _config(weights.source, weights.stage, dataset)
    config, stage1_config = _sized(weights, base, dataset)
    game = build(config, [stage1_config] if stage1_config else [])
    networks = {"generator": game.generator, "discriminator": game.discriminator}
    if stage1_config is not None:
        networks["stage1"] = game.priors[0]
        networks["stage1_discriminator"] = build(stage1_config).discriminator
    variables = weights.variables(networks)
    state = _state(game, variables, weights.text, config.seed, step)
    with new_folder(workdir) as folder:
        configuration.write(folder / "config.json", config)
        if stage1_config is not None:
            configuration.write(folder / "stage1.json", stage1_config)
        if encoder is not None:
            text.save_encoder(encoder, folder / text.DIRECTORY)
        _save(folder, config, step, state)
    counts = {part: _count(found["params"]) for part, found in variables.items()}
    return Imported(config, base, counts, fresh_discriminator="discriminator" not in variables)


def import_encoder(encoder: CharCnnRnnEncoder, workdir: Path, dataset: str = "") -> Imported:
    """Makes `workdir` a run of a text encoder at step 0, with a fresh image tower.

    Args:
        encoder: The encoder, from `read_encoder`.
        workdir: A new or empty folder. It is written whole or not at all.
        dataset: The data set to train with; "" for birds.

    Raises:
        UserError: If `workdir` can't be written.
    """
    base = configuration.load("text_encoder.py", dataset or "birds")
    config = base.copy_and_resolve_references()
    module = encoder.module
    config.text.update(
        width=module.width,
        features=tuple(module.features),
        cell=module.cell,
        final_pooling=module.final_pooling,
    )
    state = _encoder_state(config, encoder.params)
    with new_folder(workdir) as folder:
        configuration.write(folder / "config.json", config)
        text.save_encoder(encoder, folder / text.DIRECTORY)
        _save(folder, config, 0, state)
    return Imported(config, base, {"text encoder": _count(encoder.params)})


def _encoder_state(config: ConfigDict, params: Any) -> EmbeddingState:
    """Returns the state of the joint embedding with an imported encoder and the rest fresh."""
    joint = JointEmbedding(
        text=CharCnnRnn(**config.text),
        image=ImageTower(config.text.width, tuple(config.image.features)),
        steps=config.steps,
        **config.joint,
    )

    def image_tower_only(key: jax.Array) -> EmbeddingState:
        fresh = joint.init(key)
        return fresh.replace(params={"image": fresh.params["image"]})

    # Under jit, the text parameters are not computed, because they are not returned.
    state = jax.jit(image_tower_only)(jax.random.key(config.seed))
    return state.replace(params=state.params | {"text": params})


def read_encoder(path: str | Path) -> CharCnnRnnEncoder:
    """Reads a published encoder from a PyTorch or Lua Torch file.

    Raises:
        UserError: If the file holds no char-CNN-RNN encoder.
    """
    weights, final_pooling = weight_files.read_encoder(path)
    try:
        module, params = encoder_names.from_state_dict(weights)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    if final_pooling is not None:
        module = module.clone(final_pooling=final_pooling)
    return CharCnnRnnEncoder.create(module, params)


def _config(source: str, stage: int, dataset: str) -> ConfigDict:
    """Returns the published config of a stage, with the data of `dataset` if that is another."""
    file = f"stage{stage}.py"
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
    weights: Weights, base: ConfigDict, dataset: str
) -> tuple[ConfigDict, ConfigDict | None]:
    """Returns the config with the sizes of the weights, and for Stage II that of Stage I too."""
    sizes = weights.sizes
    config = _with_sizes(base, sizes["generator"], sizes.get("discriminator"), weights.noise)
    if weights.stage == 1:
        if "discriminator" not in sizes:
            config.discriminator.size = config.generator.size
        return config, None
    stage1 = _config(weights.source, 1, dataset)
    discriminator = sizes.get("stage1_discriminator")
    return config, _with_sizes(stage1, sizes["stage1"], discriminator, weights.noise)


def _with_sizes(
    config: ConfigDict, generator: Sizes, discriminator: Sizes | None, noise: int
) -> ConfigDict:
    """Returns a copy of a config with the given sizes."""
    config = config.copy_and_resolve_references()
    own = generator.fields
    config.generator.update(own)
    # A fresh discriminator is half as wide as the generator, like the published ones.
    fresh = {"features": max(own["features"] // 2, 1), "condition": own["condition"]}
    config.discriminator.update(discriminator.fields if discriminator else fresh)
    config.training.z_features = noise
    return config


def _state(
    game: gan.Gan, variables: Mapping[str, Any], text_width: int, seed: int, step: int
) -> gan.GanState:
    """Returns the imported networks with fresh optimisers, whose schedules stand at `step`."""

    def fresh_discriminator(key: jax.Array) -> dict[str, Any]:
        net = game.init(key, text_width).discriminator
        return {"params": net.params, "batch_stats": net.batch_stats}

    discriminator = variables.get("discriminator")
    if discriminator is None:
        # Under jit, the generator is not computed, because it is not returned.
        discriminator = jax.jit(fresh_discriminator)(jax.random.key(seed))
    priors = (variables["stage1"],) if "stage1" in variables else ()
    state = game.start(variables["generator"], discriminator, priors)
    return state.replace(
        step=jnp.asarray(step, jnp.int32),
        generator=_at(state.generator, step),
        discriminator=_at(state.discriminator, step),
    )


def _at(net: gan.Net, step: int) -> gan.Net:
    """Moves the learning rate's schedule to `step`. Adam's own count stays: its moments are new."""

    def of_the_schedule(path: tuple, _: Any) -> bool:
        return getattr(path[-1], "tuple_name", "") == "ScaleByScheduleState"

    count = jnp.asarray(step, jnp.int32)
    moved = optax.tree_utils.tree_set(net.opt_state, of_the_schedule, count=count)
    return net.replace(opt_state=moved)


def _save(workdir: Path, config: ConfigDict, step: int, state: Any) -> None:
    """Writes the checkpoint; raises UserError first if the disk has too little space."""
    # Fresh moments are zeros, which take no space. Compression saves less than a tenth of the rest.
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
    """Yields a folder to write in, which becomes `directory` at the end.

    If the block raises, nothing is written.

    Raises:
        UserError: If `directory` is not empty, or can't be written.
    """
    directory = Path(directory).absolute()
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise UserError(f"{directory} exists and is not an empty folder; give a new folder.")
    try:
        with files.replacing_folder(directory) as folder:
            yield folder
    except OSError as error:
        raise UserError(
            f"{directory} can't be written: {error.strerror or error}; free space, or choose "
            "another folder."
        ) from error


def _count(params: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(params))
