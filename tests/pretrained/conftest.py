"""A model of both stages that the tests of this folder share."""

import pytest

import stackgan_jax


@pytest.fixture(scope="session")
def model(runs):
    return stackgan_jax.load(runs / "stage2")
