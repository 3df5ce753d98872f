"""What tests of imports and exports share: the command, golden files, small encoders' files."""

from pathlib import Path

import jax
import lua_torch
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

from stackgan_jax import convert
from stackgan_jax.models.char_cnn_rnn import CharCnnRnn
from stackgan_jax.runtime import configuration
from stackgan_jax.training.game import load_game
from stackgan_jax.weights.encoder_names import shapes

DATA = Path(__file__).parents[1] / "data"
NETWORKS = ("generator", "discriminator")


def command(*arguments):
    """Runs `python -m stackgan_jax.convert` with these arguments, in this process."""
    with flagsaver.flagsaver():
        flags.FLAGS(["convert", *arguments])
        convert.run()


def files_of(name):
    """Returns the command's options for a golden checkpoint."""
    if name.startswith("tf"):
        return ["--source=tensorflow", f"--generator={DATA / name}_v1.ckpt"]
    pytest.importorskip("torch")
    networks = (f"--{kind}={DATA / name}_net{kind[0].upper()}.pth" for kind in NETWORKS)
    return ["--source=pytorch", *networks]


def load_golden(name):
    """Returns the arrays of a golden file."""
    with np.load(DATA / f"{name}.npz") as archive:
        return dict(archive)


def close(found, expected):
    """Asserts agreement within 1e-4 of the largest expected value."""
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def template(workdir):
    """Returns the config of an imported run, and a state of zeros that its checkpoint fits."""
    config = configuration.read(workdir / "config.json")
    game = load_game(workdir)
    abstract = jax.eval_shape(lambda key: game.init(key, 32), jax.random.key(0))
    return config, jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), abstract)


def published_weights(fields):
    """Returns the state dict of a char-CNN-RNN with these fields, drawn by the golden rule."""
    named = shapes(CharCnnRnn(**fields)).items()
    return {key: lua_torch.draw(key, shape) for key, shape in named}


def write_lua_torch(path, value):
    """Writes a value as Lua Torch's `torch.save` does, and returns the path."""
    path.write_bytes(lua_torch.dump(value))
    return path


def write_small_encoder(path, **fields):
    """Writes a small plain encoder as Lua Torch does, and returns the path."""
    return write_lua_torch(path, lua_torch.small_encoder(**fields).graph("plain", True))
