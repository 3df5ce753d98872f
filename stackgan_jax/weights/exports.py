"""A run's networks as the .pth files that the published PyTorch programs load."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from stackgan_jax import sample, text
from stackgan_jax.models.char_cnn_rnn import CharCnnRnn
from stackgan_jax.runtime import configuration
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.training.checkpoint import Checkpoints
from stackgan_jax.training.game import build, load_game
from stackgan_jax.weights import encoder_names, name_tables, weight_files
from stackgan_jax.weights.imports import CONFIGS, new_folder
from stackgan_jax.weights.network_sizes import STAGE1_PREFIX

# Fields of a network that StackGAN-Pytorch reads from its configuration, or that training alone
# sees; in every other field a network must be the published one to be exported.
_FREE_FIELDS = ("features", "condition", "residual_blocks", "truncated_init", "dtype")


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
    with new_folder(directory) as made:
        for name, arrays in files.items():
            weight_files.write_pytorch(made / name, arrays)
    return [directory / name for name in files]


def _only_an_encoder(workdir: Path) -> bool:
    path = workdir / "config.json"
    if path.is_file():
        return configuration.read(path).get("kind") == "text_encoder"
    return text.exists(workdir)


def _exported_gan(
    workdir: Path, config: ConfigDict, averaged: bool, configs: Path
) -> dict[str, dict[str, np.ndarray]]:
    game = load_game(workdir)
    networks = {"": game.generator}
    if game.priors:
        networks = {STAGE1_PREFIX: game.priors[0], "": game.generator}
    _refuse_unpublished(config.kind, networks, game.discriminator, configs)
    names = ("generator", "discriminator", "ema", "priors")
    saved = Checkpoints(workdir / "checkpoints").restore_part(names)
    generator = {"": saved["ema" if averaged else "generator"]}
    if game.priors:
        generator[STAGE1_PREFIX] = saved["priors"][0]
    return {
        "netG.pth": name_tables.to_pytorch(_variables(generator, networks), networks),
        "netD.pth": name_tables.to_pytorch(
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
    wanted = build(stage2, [stage1]) if kind == "stage2" else build(stage1)
    pairs = [(discriminator, wanted.discriminator), (generators[""], wanted.generator)]
    if kind == "stage2":
        pairs.append((generators[STAGE1_PREFIX], wanted.priors[0]))
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
    weights = encoder_names.to_state_dict(module, encoder.params)
    scale = np.float32(encoder.scale)
    bias = (weights["emb_proj.bias"] - encoder.shift) * scale
    return weights | {"emb_proj.weight": weights["emb_proj.weight"] * scale, "emb_proj.bias": bias}
