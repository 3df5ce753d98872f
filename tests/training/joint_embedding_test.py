"""The joint embedding: its loss against the published one, and its step."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stackgan_jax.data import augment
from stackgan_jax.models.char_cnn_rnn import CharCnnRnn, indices
from stackgan_jax.models.image_tower import ImageTower
from stackgan_jax.text import retrieval
from stackgan_jax.training import joint_embedding, objectives

GOLDEN = Path(__file__).parents[1] / "data" / "char_cnn_rnn.npz"
COLOURS = {"red": (220, 30, 30), "blue": (30, 30, 220), "green": (30, 200, 30), "black": (9, 9, 9)}


@pytest.fixture(scope="module")
def joint():
    return joint_embedding.JointEmbedding(
        CharCnnRnn(16, (16, 16, 16), "plain", True),
        ImageTower(16, (8, 16)),
        image_size=8,
        learning_rate=1e-2,
        steps=100,
    )


@pytest.fixture(scope="module")
def state(joint):
    return jax.jit(joint.init)(jax.random.key(0))


@pytest.fixture(scope="module")
def step(joint):
    return jax.jit(joint.step)


def colour_batch(seed):
    """One item of each class, a class being a colour: noisy pictures, and what says so."""
    rng = np.random.default_rng(seed)
    images = np.zeros((4, 16, 16, 3)) + np.array(list(COLOURS.values()))[:, None, None]
    frames = ["a {} bird.", "this bird is all {}", "some bird, {} and small"]
    captions = [frames[rng.integers(3)].format(colour) for colour in COLOURS]
    return {
        "image": (images + rng.integers(-9, 9, images.shape)).clip(0, 255).astype(np.uint8),
        "tokens": indices(captions),
        "label": np.arange(4, dtype=np.int32),
    }


def test_loss_is_the_published_one_in_both_directions():
    with np.load(GOLDEN) as golden:
        texts, images, expected = (golden[f"sje_{name}"] for name in ("text", "image", "loss"))
    images, texts, labels = jnp.asarray(images), jnp.asarray(texts), jnp.arange(len(texts))
    by_image = objectives.structured_joint_embedding(images, texts, labels)
    by_text = objectives.structured_joint_embedding(texts, images, labels)
    assert np.allclose([by_image, by_text], expected, rtol=1e-5)


def test_loss_by_hand():
    queries, targets = jnp.array([[1.0], [2.0]]), jnp.array([[3.0], [1.0]])
    # Scores [[3, 1], [6, 2]]: hinges max(0, 1 - 3 + 1) and 6 - 2 + 1, over four pairs.
    loss = lambda *labels: objectives.structured_joint_embedding(
        queries, targets, jnp.array(labels)
    )
    assert loss(0, 1) == pytest.approx(5 / 4)
    assert loss(7, 7) == 0  # of one class: no mismatch


@pytest.mark.slow
def test_training_joins_captions_and_pictures(joint, state, step):
    first = None
    for number in range(joint.steps):
        state, metrics = step(state, colour_batch(number), jax.random.key(number))
        first = first or metrics
    assert int(state.step) == joint.steps
    assert metrics["loss"] < 0.3 * first["loss"]
    unseen = colour_batch(10_000)
    texts = joint.text.apply({"params": state.params["text"]}, unseen["tokens"])
    images = joint.embed_images(state.params, unseen["image"])
    ranks = retrieval.ranks(np.asarray(texts), np.asarray(images), np.arange(4))
    assert set(ranks["caption_to_image"]) == set(ranks["image_to_caption"]) == {1}


def test_step_is_a_function_of_its_arguments(state, step):
    batch = colour_batch(0)
    losses_of = lambda key: float(step(state, batch, jax.random.key(key))[1]["loss"])
    assert losses_of(0) == losses_of(0) != losses_of(1)


def test_accuracies_of_a_step_are_those_of_its_scores(joint, state, step):
    batch = colour_batch(0)
    _, metrics = step(state, batch, jax.random.key(0))
    texts = joint.text.apply({"params": state.params["text"]}, batch["tokens"])
    pictures = augment.reduced(jnp.asarray(batch["image"]), 8, jax.random.key(0))
    images = joint.image.apply({"params": state.params["image"]}, pictures)
    ranks = retrieval.ranks(np.asarray(texts), np.asarray(images), np.arange(4))
    first = {direction: np.mean(places == 1) for direction, places in ranks.items()}
    assert metrics["text_to_image_accuracy"] == pytest.approx(first["caption_to_image"])
    assert metrics["image_to_text_accuracy"] == pytest.approx(first["image_to_caption"])


def test_reduced_keeps_colours_and_cuts():
    image = np.zeros((1, 16, 16, 3), np.uint8)
    image[:, 1:15, 1:15] = 255
    middle = augment.reduced(jnp.asarray(image), 7)
    assert middle.shape == (1, 7, 7, 3) and np.allclose(middle, 1)
