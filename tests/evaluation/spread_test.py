"""Spread: identical pictures have none, real pictures that are alike about as much as real ones."""

from pathlib import Path

import numpy as np
import pytest

from stackgan_jax.data import input_pipeline
from stackgan_jax.data.input_pipeline import Split
from stackgan_jax.data.synthetic_birds.attributes import ATTRIBUTES
from stackgan_jax.data.synthetic_birds.captions import attributes_named
from stackgan_jax.evaluation import spread_scores
from stackgan_jax.evaluation.evidence import Captions, Evidence, Groups
from stackgan_jax.evaluation.metrics import feature_spread, spread
from stackgan_jax.evaluation.protocols import PROTOCOLS
from stackgan_jax.evaluation.readers import JointReader
from stackgan_jax.runtime.errors import UserError


@pytest.fixture(scope="module")
def test(small_config):
    return input_pipeline.load(small_config("stage1").data, "test", 19)


@pytest.fixture(scope="module")
def captions(test):
    images = np.arange(len(test)).repeat(2)
    return Captions([test.captions[i][0] for i in images], images, test.labels[images])


def test_the_spread_is_the_root_mean_square_over_pairs():
    features, groups = (
        np.array([[0.0, 0], [2, 0], [4, 0], [9, 9], [5, 5], [5, 5]]),
        [1, 1, 1, 2, 3, 3],
    )
    pairs = [np.mean([4 / 2, 16 / 2, 4 / 2]), 0.0]  # the second group has one picture
    expected = np.sqrt(np.mean(pairs))
    assert spread_scores.within(features, np.array(groups)) == pytest.approx(expected)


def test_real_pictures_share_what_the_sentence_names(test, captions):
    chosen = spread_scores.choose(test, captions, 8, 4, seed=0)
    assert "attributes that the sentence names" in chosen.compared
    assert len(set(captions.images[chosen.rows])) == len(chosen.rows)
    for row, real in zip(chosen.rows, chosen.real, strict=True):
        assert 2 <= len(real) <= 4 and len(set(real)) == len(real)
        for name, value in attributes_named(captions.sentences[row]).items():
            assert {ATTRIBUTES[name][i] for i in test.attributes[name][real]} == {value}


def split(labels):
    labels = np.array(labels)
    pictures = np.zeros((len(labels), 19, 19, 3), np.uint8)
    return Split(Path("any"), pictures, labels, [["a"]] * len(labels), {})


@pytest.mark.parametrize(
    ("labels", "compared", "alike"),
    [
        ([1, 1, 2, 2], "real pictures of its class", [{0, 1}, {0, 1}, {2, 3}, {2, 3}]),
        ([1, 1, 2, 3], "real pictures of its class", [{0, 1}, {0, 1}]),
        ([1, 1, 1, 1], "any real pictures", [{0, 1, 2, 3}] * 4),
        ([1, 2, 3, 4], "any real pictures", [{0, 1, 2, 3}] * 4),
    ],
)
def test_without_attributes_real_pictures_share_the_class_or_nothing(labels, compared, alike):
    own = split(labels)
    captions = Captions(["a"] * 4, np.arange(4), own.labels)
    chosen = spread_scores.choose(own, captions, 8, 4, seed=0)
    assert chosen.compared == compared
    assert [set(real.tolist()) for real in chosen.real] == alike


@pytest.fixture(scope="module", params=["thumbnails", "layers"])
def measure(request, runs):
    """(pictures, their groups, real pictures, their groups) → the measurement of one reader."""
    layers = request.param == "layers"
    if layers:
        reader = spread_scores.LayerReader(JointReader.of_run(runs / "stage1"))
    else:
        reader = spread_scores.ThumbnailReader()
    metric = feature_spread if layers else spread

    def measured(made, made_groups, real, real_groups):
        groups = Groups(made_groups, real_groups, "real pictures of its class")
        read = reader.read(made), reader.read(real)
        return metric(Evidence(PROTOCOLS["quick"], *read, {}, reader=reader, groups=groups))

    return measured


def test_identical_pictures_have_no_spread_and_real_ones_that_of_real_ones(test, measure):
    pictures, labels = np.asarray(test.images), test.labels
    same = measure(pictures, labels, pictures, labels)
    assert same.value == pytest.approx(1) and same.real == 1 and not same.warning
    _, first = np.unique(labels, return_index=True)
    once = measure(pictures[np.repeat(first, 4)], np.repeat(labels[first], 4), pictures, labels)
    assert once.value == pytest.approx(0, abs=1e-3)
    assert "pictures of one sentence are much alike: they differ by 0 %" in once.warning


def test_other_real_pictures_that_are_alike_have_about_the_same_spread(test, measure):
    pictures, labels = np.asarray(test.images), test.labels
    halves = [np.flatnonzero(np.arange(len(labels)) % 2 == part) for part in (0, 1)]
    one, other = ((pictures[half], np.zeros(len(half))) for half in halves)
    assert measure(*one, *other).value == pytest.approx(1, abs=0.25)


def test_half_the_contrast_is_half_the_spread_of_pixels(test):
    reader, groups = spread_scores.ThumbnailReader(), np.zeros(len(test))
    whole, half = (reader.read(np.asarray(test.images) // by)["thumbnail"] for by in (1, 2))
    evidence = Evidence(
        PROTOCOLS["quick"],
        {"thumbnail": half},
        {"thumbnail": whole},
        {},
        reader=reader,
        groups=Groups(groups, groups, "any real pictures"),
    )
    found = spread(evidence)
    assert found.value == pytest.approx(0.5, abs=0.01) and "any real pictures" in found.warning


def test_real_pictures_that_are_all_the_same_are_an_error(test, measure):
    same = np.repeat(test.images[:1], 4, axis=0)
    groups = np.zeros(4)
    with pytest.raises(UserError, match="no spread to compare"):
        measure(test.images[:4], groups, same, groups)


def test_large_pictures_are_reduced(test):
    pictures = np.repeat(np.repeat(test.images[:2, :16, :16], 8, axis=1), 8, axis=2)
    read = spread_scores.ThumbnailReader().read(pictures)["thumbnail"]
    assert read.shape == (2, 64 * 64 * 3)
