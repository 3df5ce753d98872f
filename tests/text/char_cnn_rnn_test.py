"""The char-CNN-RNN encoder and the bag of words: parity with the published networks, words."""

import json
import zlib
from pathlib import Path

import jax
import numpy as np
import pytest

from stackgan_jax.models.bag_of_words import BagOfWords
from stackgan_jax.models.char_cnn_rnn import ALPHABET, PUBLISHED, CharCnnRnn, indices
from stackgan_jax.text.encoders import CharCnnRnnEncoder
from stackgan_jax.weights import encoder_names

GOLDEN = Path(__file__).parents[1] / "data" / "char_cnn_rnn.npz"


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as archive:
        return dict(archive)


def seeded_weights(golden, variant):
    """Returns the weights of a variant, drawn by the golden file's rule."""

    def draw(key, shape):
        rng = np.random.RandomState((zlib.crc32(key.encode()) + 31) & 0xFFFFFFFF)
        scale = 0.1 if len(shape) == 1 else 1 / np.sqrt(np.prod(shape[1:]))
        return (rng.standard_normal(shape) * scale).astype(np.float32)

    shapes = json.loads(str(golden[f"shapes/{variant}"]))
    return {key: draw(key, shape) for key, shape in shapes.items()}


def test_indices_are_the_published_ones(golden):
    assert np.array_equal(indices(golden["captions"].tolist()), golden["labels"])


def test_indices_of_empty_undecodable_and_long_captions():
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
def test_parameter_counts_are_the_published_ones(variant, parameters):
    module = CharCnnRnn(**PUBLISHED[variant])
    made = jax.eval_shape(module.init, jax.random.key(0), indices(["a"]))
    assert sum(leaf.size for leaf in jax.tree.leaves(made)) == parameters


def test_char_cnn_rnn_leaves_out_whole_words_at_random():
    caption = "a small red bird with black wings"
    tokens = np.repeat(indices([caption]), 300, axis=0)
    module = CharCnnRnn()
    assert np.array_equal(module.without_words(jax.random.key(0), tokens, 0.0), tokens)
    left = np.asarray(module.without_words(jax.random.key(0), tokens, 0.5))
    assert left.shape == tokens.shape and left.dtype == tokens.dtype
    words = ["".join(ALPHABET[i - 1] for i in row[row > 0]).split() for row in left]
    assert all(row == [word for word in caption.split() if word in row] for row in words)
    assert 3 < np.mean([len(row) for row in words]) < 4
    assert all(not row[np.argmin(row) :].any() for row in left)  # padding only after the end


def test_bag_of_words_leaves_out_words_at_random():
    tokens = np.repeat(np.array([[3, 1, 2, 0]]), 300, axis=0)
    left = np.asarray(BagOfWords(8, 3).without_words(jax.random.key(0), tokens, 0.5))
    assert set(np.unique(left[:, 0])) == {0, 3} and 1.2 < np.mean((left > 0).sum(axis=1)) < 1.8
