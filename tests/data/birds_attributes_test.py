"""Species are balanced and distinct, and the test species are unseen combinations."""

import collections

import numpy as np
import pytest

from stackgan_jax.data.synthetic_birds import attributes as birds


def colours(kind):
    return tuple(kind.values[name] for name in birds.COLOUR_ATTRIBUTES)


@pytest.mark.parametrize("train, test", [(504, 96), (1600, 400), (12, 4)])
def test_test_species_are_unseen_combinations_of_values_seen_in_training(train, test):
    kinds = birds.species(0, train, test)
    assert len(kinds) == train + test
    assert len({colours(kind) for kind in kinds}) == train + test
    for name, choices in birds.SPECIES_ATTRIBUTES.items():
        assert {kind.values[name] for kind in kinds[:train]} == set(choices)
    assert [kind.index for kind in kinds] == list(range(train + test))
    assert len({kind.name for kind in kinds}) == train + test


def test_every_value_is_about_equally_frequent():
    kinds = birds.species(3, 504, 96)[:504]
    for name, choices in birds.SPECIES_ATTRIBUTES.items():
        counts = collections.Counter(kind.values[name] for kind in kinds)
        assert max(counts.values()) - min(counts.values()) <= 2
        assert 1 / len(choices) == pytest.approx(counts[choices[0]] / 504, rel=0.02)


def test_the_colours_of_parts_are_independent_except_in_birds_of_one_colour():
    kinds = [k for k in birds.species(0, 504, 96)[:504] if len(set(colours(k)[:3])) > 1]
    assert 0.85 * 504 < len(kinds) < 0.95 * 504
    # Two independent parts have the same colour in 1 / 8 of the birds, with standard error 0.016.
    for first in range(4):
        for second in range(first):
            equal = np.mean([colours(kind)[first] == colours(kind)[second] for kind in kinds])
            assert 0.06 < equal < 0.19


def test_training_and_test_species_include_birds_of_every_single_colour():
    kinds = birds.species(0, 504, 96)
    for part in (kinds[:504], kinds[504:]):
        assert {k.values["crown"] for k in part if len(set(colours(k)[:3])) == 1} == set(
            birds.COLOURS
        )


def test_species_depend_on_the_seed_alone():
    assert birds.species(5, 12, 4) == birds.species(5, 12, 4)
    assert birds.species(5, 12, 4) != birds.species(6, 12, 4)


def test_individuals_vary_in_the_attributes_that_the_species_leaves_open():
    kind = birds.species(0, 12, 4)[0]
    flock = [birds.individual(kind, birds.stream(0, "individual", i)) for i in range(60)]
    for name, choices in birds.IMAGE_ATTRIBUTES.items():
        assert {bird[name] for bird in flock} == set(choices)
    assert all(bird[name] == kind.values[name] for bird in flock for name in kind.values)
