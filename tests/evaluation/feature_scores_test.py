"""The formulas of the metrics: torch-fidelity's numbers, exact values, too few pictures."""

import warnings
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from stackgan_jax.evaluation import caption_matching, feature_scores
from stackgan_jax.runtime.errors import UserError

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def golden():
    with np.load(DATA / "metrics.npz") as archive:
        return dict(archive)


def precision_recall(real, generated):
    return (
        feature_scores.share_within(generated, real),
        feature_scores.share_within(real, generated),
    )


def fid(a, b):
    return feature_scores.frechet_distance(
        feature_scores.Moments.of(a), feature_scores.Moments.of(b)
    )


def test_scores_equal_torch_fidelity(golden):
    a, b = golden["features_a"], golden["features_b"]
    assert fid(a, b) == pytest.approx(float(golden["fid"]), rel=1e-6)
    found = feature_scores.kernel_distance(a, b, subsets=50, subset_size=100, seed=2020)
    assert found == pytest.approx((float(golden["kid_mean"]), float(golden["kid_std"])), rel=1e-6)
    found = feature_scores.inception_score(golden["logits"], splits=10, seed=2020)
    assert found == pytest.approx((float(golden["isc_mean"]), float(golden["isc_std"])), rel=1e-6)


@hypothesis.settings(max_examples=25)
@hypothesis.given(
    st.integers(0, 1000), st.lists(st.integers(1, 40), min_size=1, max_size=6), st.floats(-50, 50)
)
def test_moments_of_parts_equal_those_of_the_whole(seed, sizes, offset):
    features = np.random.default_rng(seed).normal(offset, 2, (sum(sizes) + 1, 5))
    moments = feature_scores.Moments.of(features[:1])
    for part in np.split(features[1:], np.cumsum(sizes)[:-1]):
        moments.add(part)
    np.testing.assert_allclose(moments.mean, features.mean(axis=0), rtol=1e-10, atol=1e-12)
    expected = np.cov(features, rowvar=False)
    np.testing.assert_allclose(moments.covariance, expected, rtol=1e-8, atol=1e-9)


def test_fewer_pictures_than_dimensions_give_a_warning():
    features = np.random.default_rng(0).normal(size=(65, 64))
    with pytest.warns(UserWarning, match="64 pictures can't span 64 dimensions"):
        fid(features, features[:64])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fid(features, features)


@pytest.mark.filterwarnings("ignore:.*can't span")
@pytest.mark.parametrize("count", [10, 300])  # fewer and more than dimensions
def test_distance_of_a_set_to_itself_is_zero(count):
    features = np.random.default_rng(0).normal(size=(count, 64)).astype(np.float32)
    assert fid(features, features) < 1e-8
    assert precision_recall(features, features) == (1, 1)


@pytest.mark.filterwarnings("ignore:.*can't span")
def test_distance_without_full_rank_is_exact():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(12, 200)), rng.normal(1, 2, size=(9, 200))
    one, two = (f - f.mean(axis=0) for f in (a, b))
    # tr (C₁C₂)^½ by the factors of the covariances, which are small.
    root = np.linalg.svd(one @ two.T, compute_uv=False).sum() / np.sqrt(11 * 8)
    traces = np.square(one).sum() / 11 + np.square(two).sum() / 8
    expected = np.square(a.mean(axis=0) - b.mean(axis=0)).sum() + traces - 2 * root
    assert fid(a, b) == pytest.approx(expected, rel=1e-9)


def test_distance_of_gaussians_equals_the_formula():
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(2, 40_000, 3)) * [[[1, 2, 3]], [[2, 2, 1]]] + [[[0, 0, 0]], [[1, 0, 0]]]
    assert fid(a, b) == pytest.approx(1 + 1 + 0 + 4, rel=0.03)


def test_precision_measures_quality_and_recall_variety():
    rng = np.random.default_rng(3)
    real = np.concatenate([rng.normal(c, 0.5, (200, 8)) for c in (-10, 10)])
    half = rng.normal(10, 0.5, (200, 8))  # realistic, one mode missing
    precision, recall = precision_recall(real, half)
    assert precision > 0.8 and recall < 0.55
    precision, recall = precision_recall(real, np.concatenate([real, real + 100]))
    assert precision == pytest.approx(0.5) and recall == 1


def test_r_precision_by_known_embeddings():
    rng = np.random.default_rng(4)
    captions = rng.normal(size=(300, 16))
    labels = np.arange(300) // 3
    right = caption_matching.r_precision(3 * captions, captions, labels)
    assert right == 1
    shuffled = caption_matching.r_precision(captions, np.roll(captions, 3, axis=0), labels)
    assert shuffled < 0.05
    same = np.ones((300, 16))  # everything ties: chance, not luck
    assert caption_matching.r_precision(same, same, labels) == pytest.approx(0.01)
    assert caption_matching.retrieval(captions, captions) == {
        "caption_to_image": 1,
        "image_to_caption": 1,
    }
    again = caption_matching.r_precision(captions + 2, captions, labels, seed=5)
    assert again == caption_matching.r_precision(captions + 2, captions, labels, seed=5)


def test_too_few_pictures_are_rejected_in_one_sentence():
    few = np.random.default_rng(0).normal(size=(9, 4))
    for call, sentence in [
        (lambda: fid(few, few[:1]), "at least 2 pictures, not 1"),
        (
            lambda: feature_scores.kernel_distance(few, few),
            "subsets of 1,000 pictures and one side has 9",
        ),
        (lambda: feature_scores.inception_score(few), "needs at least 20 pictures, not 9"),
        (lambda: feature_scores.share_within(few[:3], few), "more than 3 pictures on both"),
        (
            lambda: caption_matching.r_precision(few, few, np.zeros(9, int)),
            "99 captions of other classes",
        ),
        (lambda: fid(few, few[:, :2]), "4 and of 2 numbers can't be compared"),
    ]:
        with pytest.raises(UserError, match=sentence):
            call()


def test_features_that_are_not_finite_are_rejected():
    features = np.ones((5, 3))
    features[2, 1] = np.nan
    with pytest.raises(UserError, match=r"1 of 5 pictures are not finite \(the first is picture 2"):
        feature_scores.Moments.of(features)
