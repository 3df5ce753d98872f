"""The scorer that training saves: kept with the encoder and copied into runs that use it."""

import jax
import numpy as np
import pytest

from stackgan_jax import text
from stackgan_jax.data import augment, input_pipeline
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.text import scorer
from stackgan_jax.training import encoder_learner, gan_learner, objectives
from stackgan_jax.training.checkpoint import Checkpoints


@pytest.fixture(scope="module")
def split(small_config):
    return input_pipeline.load(small_config("text_encoder").data, "test", 19)


def test_a_gan_run_has_the_scorer_of_its_encoder(runs, split):
    own, trained = scorer.load(runs / "stage2"), scorer.load(runs / "text_encoder")
    pictures = np.asarray(split.images)
    assert np.array_equal(own.embed_images(pictures), trained.embed_images(pictures))
    captions = [captions[0] for captions in split.captions]
    assert np.array_equal(own.embed_captions(captions), trained.embed_captions(captions))


def test_embeddings_equal_those_of_training(runs, split, small_config):
    encoder = text.load_encoder(runs / "text_encoder")
    joint = encoder_learner.joint_embedding(small_config("text_encoder"), encoder)
    params = (
        Checkpoints(runs / "text_encoder" / "checkpoints").restore_part(("params",)).state["params"]
    )
    pair = scorer.load(runs / "text_encoder")
    pictures = np.asarray(split.images)
    expected = joint.embed_images(params, pictures)
    assert np.allclose(pair.embed_images(pictures), expected, atol=1e-5)
    assert np.allclose(pair.embed_images(pictures[:3]), expected[:3], atol=1e-5)
    captions = [captions[0] for captions in split.captions]
    expected = joint.text.apply({"params": params["text"]}, encoder.tokens(captions))
    assert np.allclose(pair.embed_captions(captions), expected, atol=1e-5)


def test_chunks_do_not_change_embeddings(runs, split, monkeypatch):
    pair = scorer.load(runs / "text_encoder")
    whole = pair.embed_images(split.images[:7])
    monkeypatch.setattr(scorer, "CHUNK", 3)
    assert np.allclose(pair.embed_images(split.images[:7]), whole, atol=1e-5)


def test_an_encoder_without_an_image_tower_is_rejected(runs, tmp_path):
    directory = text.save_encoder(text.load_encoder(runs / "text_encoder"), tmp_path / "alone")
    with pytest.raises(UserError, match=r"char_cnn_rnn in .* has no image tower.*configs/text_enc"):
        scorer.load(directory)


def test_a_damaged_image_tower_is_rejected(runs, tmp_path):
    directory = text.copy_encoder(runs / "text_encoder", tmp_path / "copy")
    (directory / scorer.IMAGE_TOWER_FILE).write_bytes(b"PK")
    with pytest.raises(UserError, match=r"is damaged .image_tower\.npz isn't as it was written"):
        scorer.load(directory)
    (directory / "seal.json").unlink()  # as an earlier version saved it
    with pytest.raises(UserError, match=r"image tower .* is damaged"):
        scorer.load(directory)


def test_the_matcher_does_not_depend_on_how_the_runs_embeddings_are_normalised(runs, split):
    pair, encoder = scorer.load(runs / "stage1"), text.load_encoder(runs / "stage1")
    captions = [captions[0] for captions in split.captions][:4]
    pictures = augment.normalise(split.images[:4, :16, :16])
    key = jax.random.key(0)
    distances = [
        gan_learner.matcher(pair, one)(pictures, one.embed(captions), key)
        for one in (encoder, pair.encoder)
    ]
    np.testing.assert_allclose(*distances, rtol=1e-4)
    seen = pair.image.apply({"params": pair.params}, augment.disturb(key, pictures, 16))
    expected = objectives.matching(seen, pair.embed_captions(captions))
    np.testing.assert_allclose(distances[0], expected, rtol=1e-4)
