"""Writes a run's networks as .pth files that the published PyTorch programs load."""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import numpy as np
from ml_collections import ConfigDict

from stackgan_jax import sample, text
from stackgan_jax.models import registry
from stackgan_jax.models.char_cnn_rnn import CharCnnRnn
from stackgan_jax.runtime import configuration
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.training.checkpoint import Checkpoints
from stackgan_jax.training.game import build, load_game
from stackgan_jax.weights import encoder_names, name_tables, weight_files
from stackgan_jax.weights.imports import new_folder
from stackgan_jax.weights.network_sizes import STAGE1_PREFIX

# Fields that may differ from the published networks: StackGAN-Pytorch reads them from its
# configuration, or only training uses them. All other fields must have the published values.
_FREE_FIELDS = ("features", "condition", "residual_blocks", "truncated_init", "dtype")


def export(workdir: Path, directory: Path, averaged: bool = True) -> list[Path]:
    """Writes a run's networks in the format of the published PyTorch programs.

    Args:
        workdir: A run of any stage, or a text encoder.
        directory: A new or empty folder for netG.pth and netD.pth, and for encoder.pth if the run
            has an encoder.
        averaged: Whether to write the generator's moving average, which draws better, instead of
            the generator that is being trained.

    Returns:
        The files.

    Raises:
        UserError: If those programs have no such networks, or `directory` can't be written.
    """
    networks = {}
    if not _only_an_encoder(workdir):
        networks = _exported_gan(*sample.find_run(workdir), averaged)
    if text.exists(workdir):
        networks["encoder.pth"] = _exported_encoder(text.load_encoder(workdir))
    with new_folder(directory) as folder:
        for name, arrays in networks.items():
            weight_files.write_pytorch(folder / name, arrays)
    return [directory / name for name in networks]


def _only_an_encoder(workdir: Path) -> bool:
    path = workdir / "config.json"
    if path.is_file():
        return configuration.read(path).get("kind") == "text_encoder"
    return text.exists(workdir)


def _exported_gan(
    workdir: Path, config: ConfigDict, averaged: bool
) -> dict[str, dict[str, np.ndarray]]:
    """Returns file name → state dict."""
    game = load_game(workdir)
    if len(game.priors) > 1:
        raise UserError(
            f"StackGAN-Pytorch has two stages, and {workdir} is {config.kind}; export the runs of "
            "its first two stages."
        )
    networks = {"": game.generator}
    if game.priors:
        networks = {STAGE1_PREFIX: game.priors[0], "": game.generator}
    _require_published(config.kind, networks, game.discriminator)
    names = ("generator", "discriminator", "ema", "priors")
    checkpoints = Checkpoints(workdir / "checkpoints", **config.get("keep", {}), read_only=True)
    saved = checkpoints.restore_part(names).state
    generator = {"": saved["ema" if averaged else "generator"]}
    if game.priors:
        generator[STAGE1_PREFIX] = saved["priors"][0]
    return {
        "netG.pth": name_tables.to_pytorch(_variables(generator, networks), networks),
        "netD.pth": name_tables.to_pytorch(
            _variables({"": saved["discriminator"]}, [""]), {"": game.discriminator}
        ),
    }


def _variables(saved: Mapping[str, Any], prefixes: Iterable[str]) -> dict[str, Any]:
    kept = ("params", "batch_stats")
    return {prefix: {name: saved[prefix][name] for name in kept} for prefix in prefixes}


def _require_published(kind: str, generators: Mapping[str, Any], discriminator: Any) -> None:
    """Raises UserError unless the networks are StackGAN-Pytorch's, apart from their sizes."""
    stage1, stage2 = (configuration.load(f"stage{n}.py", "coco") for n in (1, 2))
    wanted = build(stage2, [stage1]) if kind == "stage2" else build(stage1)
    pairs = [(discriminator, wanted.discriminator), (generators[""], wanted.generator)]
    if kind == "stage2":
        pairs.append((generators[STAGE1_PREFIX], wanted.priors[0]))
    different = [
        f"{name}={value}"
        for own, published_one in pairs
        for name, value in _settings(own).items()
        if type(own) is type(published_one) and value != _settings(published_one)[name]
    ]
    different += [
        f"the network {_name_of(own)}"
        for own, published_one in pairs
        if type(own) is not type(published_one)
    ]
    if different:
        raise UserError(
            "StackGAN-Pytorch has only the networks of the COCO configs, and these networks have "
            f"{', '.join(sorted(set(different)))}; train with --config=configs/stage1.py:coco and "
            "stage2.py:coco to export."
        )


def _name_of(network: nn.Module) -> str:
    """The name that a config has for a network."""
    known = registry.GENERATORS | registry.DISCRIMINATORS
    return next(name for name, kind in known.items() if type(network) is kind)


def _settings(network: nn.Module) -> dict[str, Any]:
    """Returns the fields of a network and its layers that must have the published values."""
    fields = {field.name: getattr(network, field.name) for field in dataclasses.fields(network)}
    fields |= vars(fields.pop("options"))
    return {name: fields[name] for name in fields.keys() - {*_FREE_FIELDS, "parent", "name"}}


def _exported_encoder(encoder: text.Encoder) -> dict[str, np.ndarray]:
    """Returns a state dict with the same embeddings: the last layer includes the normalisation."""
    module = getattr(encoder, "module", None)
    if not isinstance(module, CharCnnRnn) or module.final_pooling == (module.cell == "gated"):
        raise UserError(
            f"The text encoder {encoder.name} has no published PyTorch form; the published "
            "char-CNN-RNNs pool the third convolution with cell=plain and don't with cell=gated."
        )
    weights = encoder_names.to_state_dict(module, encoder.params)
    scale = np.float32(encoder.scale)
    bias = (weights["emb_proj.bias"] - encoder.shift) * scale
    return weights | {"emb_proj.weight": weights["emb_proj.weight"] * scale, "emb_proj.bias": bias}
