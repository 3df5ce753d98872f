"""Runs made of published weights, which draw and go on training, and the way back to .pth files."""

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

from stackgan_jax import (
    configuration,
    gan,
    learners,
    published,
    published_files,
    published_text,
    sample,
    text,
)
from stackgan_jax.checkpoint import Checkpoints
from stackgan_jax.embedding import EmbeddingState, ImageTower, JointEmbedding
from stackgan_jax.errors import UserError
from stackgan_jax.models.text import CharCnnRnn
from stackgan_jax.published_networks import Weights
from stackgan_jax.published_shapes import STAGE1_PREFIX

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
# The data set whose settings each program was published with (the first) or has as well.
PUBLISHED_DATASETS = {"pytorch": ("coco",), "tensorflow": ("birds", "flowers")}
# What an import takes from the config of a data set that the program wasn't published for.
_OF_THE_DATASET = ("name", "dataset", "data", "text_encoder", "stage1")
# Fields of a network that StackGAN-Pytorch reads from its configuration, or that training alone
# sees; in every other field a network must be the published one to be exported.
_FREE_FIELDS = ("features", "condition", "residual_blocks", "truncated_init", "dtype")


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
    game = learners.build(config, stage1_config)
    networks = {"generator": game.generator, "discriminator": game.discriminator}
    if stage1_config is not None:
        networks["stage1"] = game.prior
        networks["stage1_discriminator"] = learners.build(stage1_config).discriminator
    variables = weights.variables(networks)
    state = _state(game, variables, weights.text, config.seed, step)
    with _appearing(workdir) as made:
        configuration.write(made / "config.json", config)
        if stage1_config is not None:
            configuration.write(made / learners.STAGE1_CONFIG, stage1_config)
        if encoder is not None:
            text.save_encoder(encoder, made / text.DIRECTORY)
        _save(made, config, step, state)
    counts = {part: _count(found["params"]) for part, found in variables.items()}
    return Imported(config, base, counts, fresh_discriminator="discriminator" not in variables)


def import_encoder(
    encoder: text.CharCnnRnnEncoder, workdir: Path, dataset: str = "", configs: Path = CONFIGS
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
    with _appearing(workdir) as made:
        configuration.write(made / "config.json", config)
        text.save_encoder(encoder, made / text.DIRECTORY)
        _save(made, config, 0, state)
    return Imported(config, base, {"text encoder": _count(encoder.params)})


def read_encoder(path: str | Path) -> text.CharCnnRnnEncoder:
    """The encoder in a published file, PyTorch's or Lua Torch's; raises UserError on others."""
    weights, final_pooling = published_files.read_encoder(path)
    try:
        module, params = published_text.from_state_dict(weights)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    if final_pooling is not None:
        module = module.clone(final_pooling=final_pooling)
    return text.CharCnnRnnEncoder.create(module, params)


def export(
    workdir: Path, directory: Path, averaged: bool = True, configs: Path = CONFIGS
) -> list[Path]:
    """Writes a run's networks as the published PyTorch programs load them.

    Args:
      workdir: of any stage, or a text encoder.
      directory: new or empty; netG.pth and netD.pth appear in it, and encoder.pth where the run
        has an encoder.
      averaged: the generator's moving average, which draws better, or the one under training.
      configs: the folder with stage1.py and stage2.py.

    Returns the files. Raises UserError for networks that those programs don't have.
    """
    files = {}
    if not _only_an_encoder(workdir):
        files = _exported_gan(*sample.find_run(workdir), averaged, configs)
    if text.exists(workdir):
        files["encoder.pth"] = _exported_encoder(text.load_encoder(workdir))
    with _appearing(directory) as made:
        for name, arrays in files.items():
            published_files.write_pytorch(made / name, arrays)
    return [directory / name for name in files]


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

    def fresh(key: jax.Array) -> tuple[gan.Net, gan.Net]:
        state = game.init(key, text_width)
        return state.generator, state.discriminator

    def imported(net: gan.Net, given: Mapping[str, Any] | None) -> gan.Net:
        # What isn't returned isn't computed, and drawing the weights takes longest.
        return net.replace(params=None, batch_stats=None) if given else net

    given = [variables.get(part) for part in ("generator", "discriminator")]
    made = jax.jit(lambda key: tuple(map(imported, fresh(key), given)))(jax.random.key(seed))
    generator, discriminator = (
        _at(net.replace(**own) if own else net, step) for net, own in zip(made, given, strict=True)
    )
    return gan.GanState(
        step=jnp.asarray(step, jnp.int32),
        generator=generator,
        discriminator=discriminator,
        ema=dict(variables["generator"]),
        prior=variables.get("stage1"),
    )


def _at(net: gan.Net, step: int) -> gan.Net:
    """The learning rate's schedule moved to `step`; Adam's own count stays, its moments are new."""

    def of_the_schedule(path: tuple, _: Any) -> bool:
        return getattr(path[-1], "tuple_name", "") == "ScaleByScheduleState"

    count = jnp.asarray(step, jnp.int32)
    moved = optax.tree_utils.tree_set(net.opt_state, of_the_schedule, count=count)
    return net.replace(opt_state=moved)


def _save(workdir: Path, config: ConfigDict, step: int, state: Any) -> None:
    checkpoints = Checkpoints(workdir / "checkpoints", **config.keep)
    checkpoints.save(step, state, {})
    checkpoints.close()


@contextlib.contextmanager
def _appearing(directory: Path) -> Iterator[Path]:
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


def _only_an_encoder(workdir: Path) -> bool:
    path = workdir / "config.json"
    if path.is_file():
        return configuration.read(path).get("kind") == "text_encoder"
    return text.exists(workdir)


def _exported_gan(
    workdir: Path, config: ConfigDict, averaged: bool, configs: Path
) -> dict[str, dict[str, np.ndarray]]:
    stage1_config = None
    if config.kind == "stage2":
        stage1_config = configuration.read(workdir / learners.STAGE1_CONFIG)
    game = learners.build(config, stage1_config)
    networks = {"": game.generator}
    if game.prior is not None:
        networks = {STAGE1_PREFIX: game.prior, "": game.generator}
    _refuse_unpublished(config.kind, networks, game.discriminator, configs)
    names = ("generator", "discriminator", "ema", *(("prior",) if game.prior else ()))
    saved = Checkpoints(workdir / "checkpoints").restore_part(names)
    generator = {"": saved["ema" if averaged else "generator"], STAGE1_PREFIX: saved.get("prior")}
    return {
        "netG.pth": published.to_pytorch(_variables(generator, networks), networks),
        "netD.pth": published.to_pytorch(
            _variables({"": saved["discriminator"]}, [""]), {"": game.discriminator}
        ),
    }


def _variables(saved: Mapping[str, Any], prefixes: Any) -> dict[str, Any]:
    kept = ("params", "batch_stats")
    return {prefix: {name: saved[prefix][name] for name in kept} for prefix in prefixes}


def _refuse_unpublished(
    kind: str, generators: Mapping[str, Any], discriminator: Any, configs: Path
) -> None:
    """Raises UserError unless the networks are StackGAN-Pytorch's, their sizes aside."""
    stage1, stage2 = (configuration.load(configs / f"stage{n}.py", "coco") for n in (1, 2))
    wanted = learners.build(stage2, stage1) if kind == "stage2" else learners.build(stage1)
    pairs = [(discriminator, wanted.discriminator), (generators[""], wanted.generator)]
    if kind == "stage2":
        pairs.append((generators[STAGE1_PREFIX], wanted.prior))
    different = [
        f"{field.name}={getattr(own, field.name)}"
        for own, published_one in pairs
        for field in dataclasses.fields(own)
        if field.name not in (*_FREE_FIELDS, "parent", "name")
        and getattr(own, field.name) != getattr(published_one, field.name)
    ]
    if different:
        raise UserError(
            "StackGAN-Pytorch has no such networks: it has those of the COCO configs alone, and "
            f"these have {', '.join(sorted(set(different)))}."
        )


def _exported_encoder(encoder: text.Encoder) -> dict[str, np.ndarray]:
    """A state dict that embeds as the encoder does: its normalisation goes into the last layer."""
    module = getattr(encoder, "module", None)
    if not isinstance(module, CharCnnRnn) or module.final_pooling == (module.cell == "gated"):
        raise UserError(
            f"The text encoder {encoder.name} has no published PyTorch form: there a plain "
            "recurrence pools the third convolution and a gated one doesn't."
        )
    weights = published_text.to_state_dict(module, encoder.params)
    scale = np.float32(encoder.scale)
    bias = (weights["emb_proj.bias"] - encoder.shift) * scale
    return weights | {"emb_proj.weight": weights["emb_proj.weight"] * scale, "emb_proj.bias": bias}


def _count(params: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(params))
