"""Drawing from runs: what is given is used, seeds repeat, chunks don't matter."""

import dataclasses

import jax
import numpy as np
import pytest

from stackgan_jax import sample, text
from stackgan_jax.runtime.errors import UserError


def test_stage_two_draws_both_sizes_and_repeats_itself(runs):
    embedding = text.embed(runs / "stage2", ["a red bird", "a blue bird"])
    first = sample.generate(runs / "stage2", embedding, seed=3)
    assert {name: batch.shape for name, batch in first.items()} == {
        "stage1": (2, 16, 16, 3),
        "stage2": (2, 64, 64, 3),
    }
    assert all(np.abs(batch).max() <= 1 for batch in first.values())
    again = sample.generate(runs / "stage2", embedding, seed=3)
    np.testing.assert_array_equal(first["stage2"], again["stage2"])
    other = sample.generate(runs / "stage2", embedding, seed=4)
    assert np.abs(first["stage1"] - other["stage1"]).max() > 0
    assert np.abs(first["stage2"] - other["stage2"]).max() > 0


def test_given_noise_is_used_as_it_is(runs):
    embedding = text.embed(runs / "stage2", ["a red bird"])
    noise = {
        "z": np.ones((1, 4)),
        "epsilon": np.full((1, 8), 0.5),
        "stage2_epsilon": np.full((1, 8), -0.5),
    }
    drawn = [
        sample.generate(runs / "stage2", embedding, **noise, seed=seed)["stage2"] for seed in (0, 1)
    ]
    np.testing.assert_array_equal(*drawn)
    changed = {**noise, "stage2_epsilon": np.full((1, 8), 2.0)}
    other = sample.generate(runs / "stage2", embedding, **changed)
    np.testing.assert_array_equal(
        other["stage1"], sample.generate(runs / "stage2", embedding, **noise)["stage1"]
    )
    assert np.abs(other["stage2"] - drawn[0]).max() > 0


def test_a_picture_does_not_depend_on_the_chunk_it_is_drawn_in(runs):
    sampler = sample.load(runs / "stage1")
    embedding = np.repeat(text.embed(runs / "stage1", ["a red bird"]), sample.CHUNK + 3, axis=0)
    noise = sampler.game.cascade.noise(jax.random.key(0), len(embedding))
    whole = sampler.draw(embedding, noise)["stage1"]
    last = sampler.draw(embedding[-2:], jax.tree.map(lambda each: each[-2:], noise))["stage1"]
    np.testing.assert_allclose(whole[-2:], last, atol=1e-6)


def test_all_devices_together_draw_the_pictures_of_one(runs):
    alone = sample.load(runs / "stage2")
    together = alone.on_all_devices()
    assert together.devices.size == 8
    for count in (5, 40):
        embedding = np.random.default_rng(0).normal(size=(count, alone.width))
        expected, drawn = (each.draw(embedding, seed=3) for each in (alone, together))
        for stage, pictures in expected.items():
            np.testing.assert_allclose(drawn[stage], pictures, atol=1e-5)


@pytest.mark.parametrize("truncation", [0.0, 0.7])
def test_a_picture_of_a_seed_is_the_same_alone_and_among_others(truncation, runs):
    sampler = sample.load(runs / "stage2")
    embedding = text.embed(sampler.directory, ["a red bird"])

    def drawn(*seeds):
        noise = sampler.noise_of(seeds, truncation)
        return sampler.draw(np.repeat(embedding, len(seeds), axis=0), noise, chunk=1)["stage2"]

    among = drawn(5, 0, 3, 7)
    np.testing.assert_array_equal(among[2], drawn(3)[0])
    np.testing.assert_array_equal(
        among[1], sampler.draw(embedding, seed=0, truncation=truncation)["stage2"][0]
    )
    assert np.abs(among[0] - among[3]).max() > 0


def test_widths_that_dont_fit_are_refused(runs):
    with pytest.raises(UserError, match=r"embedding has shape \[2, 5\], but .* takes \[2, 16\]"):
        sample.generate(runs / "stage1", np.zeros((2, 5)))
    with pytest.raises(UserError, match=r"z has shape \[1, 3\]"):
        sample.generate(runs / "stage1", np.zeros((1, 16)), z=np.zeros((1, 3)))


def test_truncated_noise_is_bounded_and_the_rest_of_the_noise_stays(runs):
    sampler = sample.load(runs / "stage1")
    whole, cut = sampler.noise(500, 1), sampler.noise(500, 1, truncation=0.5)
    assert np.abs(whole.z).max() > 2 and np.abs(cut.z).max() <= 1
    np.testing.assert_array_equal(whole.epsilons[0], cut.epsilons[0])
    embedding = np.ones((2, 16), np.float32)
    drawn = [sampler.draw(embedding, seed=1, truncation=t)["stage1"] for t in (0.0, 0.5)]
    assert np.abs(drawn[0] - drawn[1]).max() > 0


def test_pictures_that_are_not_finite_are_refused(runs):
    sampler = sample.load(runs / "stage1")
    with pytest.raises(UserError, match="An embedding has values that are not finite"):
        sampler.draw(np.full((1, 16), np.nan, np.float32))
    broken = jax.tree.map(lambda x: np.full_like(x, np.inf), sampler.state)
    with pytest.raises(UserError, match=r"Step 4 of .* go back to an earlier checkpoint"):
        dataclasses.replace(sampler, state=broken).draw(np.ones((1, 16), np.float32))
