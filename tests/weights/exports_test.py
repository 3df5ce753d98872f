"""Exports are the inverse of imports."""

import numpy as np
import pytest
from conversion import DATA, command, write_small_encoder

from stackgan_jax import text
from stackgan_jax.runtime import configuration
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.training import game
from stackgan_jax.weights import exports, imports


@pytest.mark.parametrize("name", ["pt_stage1", "pt_stage2"])
def test_an_export_is_the_inverse_of_an_import(imported_run, name, tmp_path):
    torch = pytest.importorskip("torch")
    command(f"--export={tmp_path / 'out'}", f"--workdir={imported_run(name)}")
    for network in "GD":
        original = torch.load(DATA / f"{name}_net{network}.pth", weights_only=True)
        exported = torch.load(tmp_path / "out" / f"net{network}.pth", weights_only=True)
        assert list(exported) == list(original)
        assert all(torch.equal(exported[key], original[key]) for key in original)


def test_networks_that_pytorch_does_not_have_are_not_exported(imported_run, tmp_path):
    with pytest.raises(UserError, match=r"only the networks of the COCO .*noise_first=False"):
        command(f"--export={tmp_path / 'out'}", f"--workdir={imported_run('tf_stage1')}")
    assert not list(tmp_path.iterdir())


def test_the_modern_recipes_networks_are_not_exported():
    config = configuration.load("stage1.py", "folder,modern")
    built = game.build(config)
    with pytest.raises(UserError, match=r"the network projected, the network stage1_modulated"):
        exports._require_published("stage1", {"": built.generator}, built.discriminator)


def test_an_exported_encoder_includes_the_normalisation(tmp_path):
    pytest.importorskip("torch")
    path = write_small_encoder(tmp_path / "encoder.t7")
    captions = ["a small red bird", "a large blue one"]
    normalised = imports.read_encoder(path).normalised_by(captions)
    text.save_encoder(normalised, tmp_path / "encoder")
    command(f"--export={tmp_path / 'out'}", f"--workdir={tmp_path / 'encoder'}")
    read = imports.read_encoder(tmp_path / "out" / "encoder.pth")
    expected = normalised.embed(captions)
    assert np.abs(read.embed(captions) - expected).max() < 1e-3 * np.abs(expected).max()
