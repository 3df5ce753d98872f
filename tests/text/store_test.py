"""The text encoders: parity with the published networks, and encoders kept on disk."""

import json
import zlib
from pathlib import Path

import jax
import numpy as np
import pytest

from stackgan_jax import text
from stackgan_jax.models.char_cnn_rnn import ALPHABET, PUBLISHED, BagOfWords, CharCnnRnn, indices
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.text.encoders import CharCnnRnnEncoder
from stackgan_jax.weights import encoder_names

GOLDEN = Path(__file__).parents[1] / "data" / "char_cnn_rnn.npz"
CAPTIONS = ["a small red bird.", "a bird with black wings", "this one has a long, pointed beak"]


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as archive:
        return dict(archive)


@pytest.fixture(scope="module")
def encoder():
    module = CharCnnRnn(width=16, features=(8, 8, 8), cell="plain", final_pooling=True)
    params = jax.jit(module.init)(jax.random.key(0), indices(["a"]))["params"]
    return CharCnnRnnEncoder.create(module, params)


def seeded_weights(golden, variant):
    """The golden file's weights, by its rule."""

    def draw(key, shape):
        rng = np.random.RandomState((zlib.crc32(key.encode()) + 31) & 0xFFFFFFFF)
        scale = 0.1 if len(shape) == 1 else 1 / np.sqrt(np.prod(shape[1:]))
        return (rng.standard_normal(shape) * scale).astype(np.float32)

    shapes = json.loads(str(golden[f"shapes/{variant}"]))
    return {key: draw(key, shape) for key, shape in shapes.items()}


def test_indices_are_the_published_ones(golden):
    assert np.array_equal(indices(golden["captions"].tolist()), golden["labels"])


def test_indices_of_odd_captions():
    rows = indices(["", "\udce9\n\U0001f426", "-" * 300])
    assert not rows[0].any()
    assert rows[1, :4].tolist() == [70, 70, 70, 0]
    assert set(rows[2]) == {60}


@pytest.mark.parametrize("variant", PUBLISHED)
def test_embeddings_are_the_published_ones(golden, variant):
    module, params = encoder_names.from_state_dict(seeded_weights(golden, variant), variant)
    embeddings = CharCnnRnnEncoder.create(module, params).embed(golden["captions"].tolist())
    expected = golden[f"emb/{variant}"]
    assert np.abs(embeddings - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("variant", "parameters"),
    [("birds_cvpr", 1_814_144), ("birds_icml", 4_045_184), ("flowers_icml", 2_994_560)],
)
def test_parameter_counts(variant, parameters):
    module = CharCnnRnn(**PUBLISHED[variant])
    made = jax.eval_shape(module.init, jax.random.key(0), indices(["a"]))
    assert sum(leaf.size for leaf in jax.tree.leaves(made)) == parameters


@pytest.mark.parametrize("cell", ["plain", "gated"])
def test_state_dict_round_trip_and_inference(cell):
    module = CharCnnRnn(width=7, features=(8, 6, 5), cell=cell, final_pooling=cell == "plain")
    shapes = encoder_names.shapes(module)
    rng = np.random.default_rng(0)
    weights = {key: rng.normal(size=shape).astype(np.float32) for key, shape in shapes.items()}
    inferred, params = encoder_names.from_state_dict(weights)
    assert inferred == module
    back = encoder_names.to_state_dict(inferred, params)
    assert back.keys() == weights.keys()
    assert all(np.array_equal(back[key], weights[key]) for key in weights)


def test_state_dict_names_every_problem(golden):
    weights = seeded_weights(golden, "birds_cvpr")
    weights["conv9.weight"] = weights.pop("rnn.h2h.bias")
    weights["emb_proj.weight"] = weights["emb_proj.weight"][:, :3]
    with pytest.raises(UserError) as error:
        encoder_names.from_state_dict(weights, "birds_cvpr")
    assert "rnn.h2h.bias is missing" in str(error.value)
    assert "conv9.weight is extra" in str(error.value)
    assert "emb_proj.weight has shape (1024, 3) instead of (1024, 256)" in str(error.value)


def test_state_dict_of_another_network():
    with pytest.raises(UserError, match=r"no char-CNN-RNN weights: conv1\.bias"):
        encoder_names.from_state_dict({"main.0.weight": np.zeros(3)})
    with pytest.raises(UserError, match="choose from birds_cvpr"):
        encoder_names.from_state_dict({}, "cats_cvpr")


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


def test_saved_and_loaded_encoder_is_the_same(encoder, tmp_path):
    normalised = encoder.normalised_by(CAPTIONS)
    directory = text.save_encoder(normalised, tmp_path / "run" / "text_encoder")
    text.save_encoder(normalised, directory)
    assert sorted(p.name for p in directory.parent.iterdir()) == ["text_encoder"]
    loaded = text.load_encoder(tmp_path / "run")
    assert loaded.fingerprint == normalised.fingerprint != encoder.fingerprint
    assert np.array_equal(text.embed(directory, CAPTIONS), normalised.embed(CAPTIONS))
    assert text.find(tmp_path / "run") == directory


def test_no_encoder(tmp_path):
    assert not text.exists(tmp_path) and not text.exists("")
    with pytest.raises(UserError, match=r"no text encoder in .*configs/text_encoder\.py"):
        text.embed(tmp_path, "a bird")


@pytest.mark.parametrize("damage", ["truncated arrays", "no arrays", "json", "widths", "pickle"])
def test_damaged_encoder(encoder, tmp_path, damage):
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


def test_unknown_encoder(encoder, tmp_path):
    directory = text.save_encoder(encoder, tmp_path / "text_encoder")
    description = directory / "encoder.json"
    description.write_text(description.read_text().replace("char_cnn_rnn", "word2vec"))
    with pytest.raises(UserError, match=r"Unknown text encoder 'word2vec'.*char_cnn_rnn"):
        text.load_encoder(directory)


def test_unwritable_directory(encoder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="can't be written"):
        text.save_encoder(encoder, tmp_path / "file" / "text_encoder")


@pytest.mark.parametrize("captions", [[], "", ["a bird", "  "]])
def test_empty_captions(encoder, captions):
    with pytest.raises(UserError, match=r"no caption|is empty"):
        encoder.embed(captions)


def test_width_is_checked(encoder):
    text.require_width(encoder, 16)
    with pytest.raises(UserError, match="16 numbers, but the network was made for 1024"):
        text.require_width(encoder, 1024)


def test_characters_of_words_are_left_out_at_random():
    caption = "a small red bird with black wings"
    tokens = np.repeat(indices([caption]), 300, axis=0)
    module = CharCnnRnn()
    assert np.array_equal(module.without_words(jax.random.key(0), tokens, 0.0), tokens)
    left = np.asarray(module.without_words(jax.random.key(0), tokens, 0.5))
    assert left.shape == tokens.shape and left.dtype == tokens.dtype
    words = ["".join(ALPHABET[i - 1] for i in row[row > 0]).split() for row in left]
    assert all(row == [word for word in caption.split() if word in row] for row in words)
    assert 3 < np.mean([len(row) for row in words]) < 4
    assert all(not row[np.argmin(row) :].any() for row in left)  # nothing after the end


def test_words_are_left_out_at_random():
    tokens = np.repeat(np.array([[3, 1, 2, 0]]), 300, axis=0)
    left = np.asarray(BagOfWords(8, 3).without_words(jax.random.key(0), tokens, 0.5))
    assert set(np.unique(left[:, 0])) == {0, 3} and 1.2 < np.mean((left > 0).sum(axis=1)) < 1.8
