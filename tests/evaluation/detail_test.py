"""Sharpness and combs: known waves, blur, drawn lines, and real birds."""

import numpy as np
import pytest
from PIL import Image

from stackgan_jax.data import input_pipeline
from stackgan_jax.evaluation import sensitivity
from stackgan_jax.evaluation.detail import DetailReader, cutoff, detail, gradients
from stackgan_jax.evaluation.evidence import Evidence
from stackgan_jax.evaluation.metrics import combs, sharpness
from stackgan_jax.evaluation.protocols import PROTOCOLS
from stackgan_jax.runtime.errors import UserError


@pytest.fixture(scope="module")
def birds(small_config):
    """Synthetic birds of 304 pixels."""
    return np.asarray(input_pipeline.load(small_config("stage2").data, "test", 304).images)


def wave(cycles, size=128, axis=0):
    """A grey picture `[1, size, size]` of one cosine along an axis."""
    line = np.cos(2 * np.pi * cycles * (np.arange(size) + 0.5) / size)
    return np.broadcast_to(line[:, None] if axis == 0 else line, (1, size, size))


@pytest.mark.parametrize("axis", [0, 1])
def test_waves_beyond_32_cycles_are_fine(axis):
    coarse, fine = wave(31.5, axis=axis), 2 * wave(32, axis=axis)
    assert detail(coarse)[0, 0] == pytest.approx(0, abs=1e-9)
    beyond, whole, cycles = detail(coarse + fine + 5.0)[0]
    assert beyond / whole == pytest.approx(4 / 5) and cycles == 32


def test_energy_is_that_of_the_pixels_without_their_mean():
    picture = np.random.default_rng(0).random((2, 40, 72))
    spread = picture - picture.mean(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(detail(picture)[:, 1], np.square(spread).sum(axis=(1, 2)))


def test_small_pictures_have_a_cutoff_of_their_own():
    assert [cutoff(side) for side in (256, 65, 64, 16)] == [32, 32, 16, 4]
    assert detail(wave(15, 64))[0, 0] == pytest.approx(0, abs=1e-9)
    assert detail(wave(16, 64))[0, 0] == pytest.approx(detail(wave(16, 64))[0, 1])


def test_gradients_tell_the_two_directions_apart():
    vertical, horizontal = gradients(wave(10, axis=0))[0]
    assert horizontal == 0 and vertical > 0
    assert gradients(wave(10, axis=1))[0, 1] == pytest.approx(vertical)


def measured(metric, made, real):
    read = DetailReader().read
    return metric(Evidence(PROTOCOLS["quick"], read(made), read(real), {}, reader=DetailReader()))


def test_real_pictures_score_like_themselves(birds):
    for metric in (sharpness, combs):
        found = measured(metric, birds, birds)
        assert found.value == found.real and not found.warning
    assert 0.001 < measured(sharpness, birds, birds).value < 0.2


def test_blurred_pictures_lose_sharpness_and_noise_adds_it(birds):
    rng = np.random.default_rng(0)
    blurred = [sensitivity.blurred(radius)(birds, rng) for radius in (0.25, 0.5, 1)]
    values = [measured(sharpness, made, birds).value for made in (birds, *blurred)]
    assert values == sorted(values, reverse=True) and values[2] < values[0] / 3
    enlarged = np.stack(
        [np.asarray(Image.fromarray(one).resize((64, 64)).resize((304, 304))) for one in birds]
    )
    assert measured(sharpness, enlarged, birds).value < values[0] / 3
    noisy = measured(sharpness, sensitivity.noisy(32)(birds, rng), birds)
    assert noisy.value > 2 * noisy.real


@pytest.mark.parametrize("lines", ["horizontal", "vertical"])
def test_drawn_combs_are_found(birds, lines):
    combed = birds.astype(int)
    part = combed[:, ::2] if lines == "horizontal" else combed[:, :, ::2]
    part += 24
    found = measured(combs, np.clip(combed, 0, 255).astype(np.uint8), birds)
    assert (found.value > 2 * found.real) == (lines == "horizontal")
    assert f"combs of {lines} lines" in found.warning


def test_pictures_of_other_sizes_have_no_sharpness_and_flat_ones_no_combs(birds):
    with pytest.raises(UserError, match="Sharpness compares pictures of one size"):
        measured(sharpness, birds[:, :64, :64], birds)
    flat = np.zeros_like(birds)
    assert measured(sharpness, flat, birds).value == 0
    with pytest.raises(UserError, match="single colour"):
        measured(combs, flat, birds)
