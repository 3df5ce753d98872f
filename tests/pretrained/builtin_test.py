"""The model that comes with the package."""

import numpy as np
import pytest

import stackgan_jax
from stackgan_jax.pretrained import loading

RED, BLUE = "a small red bird with black wings", "a blue bird"


@pytest.fixture(scope="module")
def model():
    return stackgan_jax.load()


def mean_colour(pictures):
    return np.mean([np.asarray(picture) for picture in pictures], axis=(0, 1, 2))


def test_it_is_small_and_has_a_card_with_scores():
    size = sum(file.stat().st_size for file in loading.BUILTIN.glob("*.safetensors"))
    assert size <= 4 << 20
    card = (loading.BUILTIN / "README.md").read_text(encoding="utf-8")
    assert "Attribute accuracy" in card and "/tmp" not in card and "license:" in card


def test_it_draws_the_colours_of_the_sentence_in_different_pictures(model):
    red, blue = model(RED, n=8), model(BLUE, n=8)
    assert mean_colour(red)[0] - mean_colour(blue)[0] > 5
    assert mean_colour(blue)[2] - mean_colour(red)[2] > 5
    arrays = np.stack([np.asarray(picture, np.float32) for picture in red])
    assert arrays.std(axis=0).mean() > 20


def test_a_file_of_it_is_the_model_again(model, tmp_path):
    again = stackgan_jax.load(model.save(tmp_path / "birds.safetensors"))
    assert np.array_equal(model(RED)[0], again(RED)[0])
