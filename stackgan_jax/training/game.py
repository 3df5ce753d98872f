"""Games made from configs and from runs: a stage's networks with its earlier stages."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from flax.core import FrozenDict
from ml_collections import ConfigDict

from stackgan_jax.models import registry
from stackgan_jax.runtime import configuration, mesh, paths
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.training import objectives
from stackgan_jax.training.checkpoint import Checkpoints
from stackgan_jax.training.gan import SCALARS, Gan
from stackgan_jax.training.optimisation import Optimisation

ALWAYS_LOGGED = "kl"  # A term of the generator's objective, whatever its weight.
NUMERALS = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII")


def title(stage: str) -> str:
    """A stage's name in the paper: "stage1" → "Stage I"."""
    return f"Stage {NUMERALS[int(stage.removeprefix('stage')) - 1]}"


def build(config: ConfigDict, priors: Sequence[ConfigDict] = ()) -> Gan:
    """Makes the game that a config describes.

    Args:
        config: of a stage.
        priors: the configs of the earlier stages, in order.

    Raises:
        UserError: a field of the config is not one of the network's, a name is unknown, or the
            noise has another width than Stage I's.
    """
    training = dict(config.training)
    groups = training.pop("batch_norm_groups", 1)
    if not 1 <= groups <= config.batch_size:
        raise UserError(
            f"config.training.batch_norm_groups is {groups}; give a number from 1 (the whole "
            f"batch's statistics) to config.batch_size, {config.batch_size}."
        )
    if priors and priors[0].training.z_features != config.training.z_features:
        trained = priors[0].training.z_features
        raise UserError(
            f"config.training.z_features is {config.training.z_features}, but Stage I was trained "
            f"with {trained}; set --config.training.z_features={trained}."
        )
    weights = {name: training.pop(f"{name}_weight", 0.0) for name in objectives.TERMS}
    for name in ("diversity", "restoration"):
        if weights[name] and groups > (half := -(-config.batch_size // 2)):
            raise UserError(
                f"config.training.{name}_weight draws half of the batch, {half} pictures, a second "
                f"time, which {groups} groups can't share; set "
                f"--config.training.batch_norm_groups={half}."
            )
    names = [field.name for field in dataclasses.fields(Optimisation)]
    moves = {name: training.pop(name) for name in names if name in training}
    try:
        return Gan(
            generator=registry.generator(config.generator, groups),
            discriminator=registry.discriminator_of(config.discriminator, groups),
            priors=tuple(registry.generator(prior.generator, groups) for prior in priors),
            weights=FrozenDict({n: w for n, w in weights.items() if w or n == ALWAYS_LOGGED}),
            optimisation=Optimisation(**moves),
            **training,
        )
    except (TypeError, ValueError) as error:
        raise UserError(f"The config {config.name} can't be built: {error}") from error


def scalars(config: ConfigDict) -> tuple[str, ...]:
    """The names of the scalars that every step of a stage returns.

    Args:
        config: of the stage.
    """
    training = config.training
    penalty = ("penalty",) if training.get("penalty") else ()
    terms = [n for n in objectives.TERMS if training.get(f"{n}_weight") or n == ALWAYS_LOGGED]
    return (*SCALARS, *penalty, *terms)


def load_game(workdir: Path) -> Gan:
    """The game of a run.

    Args:
        workdir: holds config.json and the configs of the earlier stages, stage1.json and so on.

    Raises:
        UserError: as `build`.
    """
    config = configuration.read(workdir / "config.json")
    return build(config, prior_configs(config, workdir))


def prior_configs(config: ConfigDict, workdir: Path) -> tuple[ConfigDict, ...]:
    """The configs of a run's earlier stages, in order, as the run keeps them."""
    found: list[ConfigDict] = []
    while name := configuration.previous_stage(config):
        config = configuration.read(workdir / f"{name}.json")
        found.insert(0, config)
    return tuple(found)


def earlier_configs(config: ConfigDict, workdir: Path) -> tuple[ConfigDict, ...]:
    """The configs of the earlier stages, in order: a run's own, or those that it will adopt."""
    name = configuration.previous_stage(config)
    if name is None or configuration.has_begun(workdir):
        return prior_configs(config, workdir)
    source = paths.folder(config[name])
    previous = configuration.read(source / "config.json")
    return (*prior_configs(previous, source), previous)


def adopt_priors(
    config: ConfigDict, workdir: Path
) -> tuple[tuple[ConfigDict, ...], tuple[Any, ...] | None]:
    """Copies the earlier stages' configs into a new run.

    Args:
        config: of a stage; its field `stage1`, `stage2` … names the run of the stage before.
        workdir: of the run.

    Returns:
        The earlier stages' configs, and their {"params", "batch_stats"} for a fresh state; None in
        a run that has begun, whose checkpoints hold them.

    Raises:
        UserError: the run of the stage before has no checkpoint.
    """
    name = configuration.previous_stage(config)
    if name is None:
        return (), ()
    begun = configuration.has_begun(workdir)
    source = paths.folder(config[name])
    if not begun and jax.process_index() == 0:
        for earlier in earlier_configs(config, workdir):
            configuration.write(workdir / f"{earlier.kind}.json", earlier)
    mesh.wait_for_all_processes("earlier stages")
    configs = prior_configs(config, workdir)
    if begun:
        return configs, None
    # Read only: the stage before may be training at this moment.
    checkpoints = Checkpoints(source / "checkpoints", **configs[-1].get("keep", {}), read_only=True)
    saved = checkpoints.restore_part(("ema", "priors")).state
    if checkpoints.latest < configs[-1].steps and jax.process_index() == 0:
        print(
            f"{title(name)} in {source} has done {checkpoints.latest:,} of its "
            f"{configs[-1].steps:,} steps. {title(config.kind)} starts from what it draws now; "
            "what it learns later does not reach this run.",
            flush=True,
        )
    return configs, (*saved["priors"], saved["ema"])
