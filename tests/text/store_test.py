"""Text encoders on disk: saved, found, loaded; damaged and unfit ones are rejected."""

import dataclasses

import jax
import numpy as np
import pytest

from stackgan_jax import text
from stackgan_jax.models.char_cnn_rnn import CharCnnRnn, indices
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.text.encoders import CharCnnRnnEncoder

CAPTIONS = ["a small red bird.", "a bird with black wings", "this one has a long, pointed beak"]


@pytest.fixture(scope="module")
def encoder():
    module = CharCnnRnn(width=16, features=(8, 8, 8), cell="plain", final_pooling=True)
    params = jax.jit(module.init)(jax.random.key(0), indices(["a"]))["params"]
    return CharCnnRnnEncoder.create(module, params)


def test_batches_do_not_change_embeddings(encoder):
    captions = [f"a bird with {n} wings" for n in range(11)]
    whole = encoder.embed(captions)
    assert whole.shape == (11, 16) and whole.dtype == np.float32
    assert np.allclose(encoder.embed(captions, batch_size=4), whole, atol=1e-5)
    assert np.allclose(encoder.embed(captions[7]), whole[7:8], atol=1e-5)


def test_normalisation_centres_and_scales(encoder):
    normalised = encoder.normalised_by(CAPTIONS)
    embeddings = normalised.embed(CAPTIONS)
    assert np.abs(embeddings.mean(axis=0)).max() < 1e-5
    assert np.isclose(np.sqrt(np.mean(embeddings**2)), 1, atol=1e-4)
    again = normalised.normalised_by(CAPTIONS)
    assert np.isclose(again.scale, normalised.scale)


def test_captions_that_are_all_the_same_have_no_spread_to_divide_by(encoder):
    normalised = encoder.normalised_by(["a photo of sks dog"] * 11)
    embeddings = normalised.embed(["a photo of sks dog", *CAPTIONS])
    assert np.abs(embeddings[0]).max() < 1e-3 and np.abs(embeddings).max() < 1e3


def test_captions_in_another_alphabet_are_rejected_with_the_other_encoders(encoder, tmp_path):
    directory = text.save_encoder(encoder, tmp_path / "text_encoder")
    with pytest.raises(UserError, match=r"of 1 of the 2 captions, .*'红色的鸟'.* bag_of_words"):
        text.embed(directory, ["a red bird", "红色的鸟"])
    encoder.require_read(["größer", *["a bird"] * 99, "鸟"], allowed=0.01)


def test_a_saved_encoder_loads_unchanged_and_replaces_an_earlier_one(encoder, tmp_path):
    normalised = encoder.normalised_by(CAPTIONS)
    directory = text.save_encoder(normalised, tmp_path / "run" / "text_encoder")
    text.save_encoder(normalised, directory)
    assert sorted(p.name for p in directory.parent.iterdir()) == ["text_encoder"]
    loaded = text.load_encoder(tmp_path / "run")
    assert loaded.fingerprint == normalised.fingerprint != encoder.fingerprint
    assert np.array_equal(text.embed(directory, CAPTIONS), normalised.embed(CAPTIONS))
    assert text.find(tmp_path / "run") == directory


def test_a_folder_without_an_encoder_is_rejected(tmp_path):
    assert not text.exists(tmp_path) and not text.exists("")
    with pytest.raises(UserError, match=r"no text encoder in .*configs/text_encoder\.py"):
        text.embed(tmp_path, "a bird")


@pytest.mark.parametrize("damage", ["truncated arrays", "no arrays", "json", "widths", "pickle"])
def test_a_damaged_encoder_is_rejected(encoder, tmp_path, damage):
    directory = text.save_encoder(encoder, tmp_path / "text_encoder")
    arrays, description = directory / "arrays.npz", directory / "encoder.json"
    if damage == "truncated arrays":
        arrays.write_bytes(arrays.read_bytes()[:1000])
    elif damage == "no arrays":
        arrays.unlink()
    elif damage == "json":
        description.write_text("{")
    elif damage == "widths":
        description.write_text(description.read_text().replace('"width": 16', '"width": 17'))
    else:
        np.savez(arrays, shift=np.array([print], object), allow_pickle=True)
    with pytest.raises(UserError, match="is damaged"):
        text.load_encoder(directory)


def test_a_saved_encoder_of_an_unknown_kind_is_rejected(encoder, tmp_path):
    directory = text.save_encoder(encoder, tmp_path / "text_encoder")
    description = directory / "encoder.json"
    description.write_text(description.read_text().replace("char_cnn_rnn", "word2vec"))
    (directory / "seal.json").unlink()
    with pytest.raises(UserError, match=r"Unknown text encoder 'word2vec'.*char_cnn_rnn"):
        text.load_encoder(directory)


def test_an_unwritable_folder_is_reported(encoder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="can't be written"):
        text.save_encoder(encoder, tmp_path / "file" / "text_encoder")


@pytest.mark.parametrize("captions", [[], "", ["a bird", "  "]])
def test_empty_captions_are_rejected(encoder, captions):
    with pytest.raises(UserError, match=r"no caption|is empty"):
        encoder.embed(captions)


def test_an_encoder_of_another_width_is_rejected(encoder):
    text.require_width(encoder, 16)
    with pytest.raises(UserError, match="16 numbers, but the network was made for 1024"):
        text.require_width(encoder, 1024)


def test_an_encoder_with_numbers_that_are_not_finite_is_rejected(encoder, tmp_path):
    broken = jax.tree.map(np.copy, encoder.params)
    jax.tree.leaves(broken)[0].flat[0] = np.nan
    for number, damaged in enumerate(
        (
            encoder.trained(broken),
            dataclasses.replace(encoder, scale=float("inf")),
            dataclasses.replace(encoder, scale=0.0),
            dataclasses.replace(encoder, shift=np.full(16, np.nan, np.float32)),
            dataclasses.replace(encoder, shift=np.zeros(5, np.float32)),
        )
    ):
        directory = text.save_encoder(damaged, tmp_path / str(number))
        with pytest.raises(UserError, match=r"is damaged .*train or import it again"):
            text.load_encoder(directory)
