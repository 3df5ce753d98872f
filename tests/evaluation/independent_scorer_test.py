"""The independent scorer: other networks than the run's, trained once, and its scores."""

import dataclasses
import functools

import numpy as np
import pytest
from sample_scores import QUICK

from stackgan_jax import text
from stackgan_jax.data import input_pipeline
from stackgan_jax.evaluation import evaluate, independent_scorer, protocols
from stackgan_jax.evaluation.evidence import Captions, Evidence
from stackgan_jax.evaluation.independent_scorer import IndependentReader, trained
from stackgan_jax.evaluation.metrics import METRICS
from stackgan_jax.runtime.errors import UserError

NAMES = (
    "independent_kid",
    "independent_r_precision",
    "independent_precision",
    "independent_recall",
)


@pytest.fixture
def trainings(monkeypatch):
    """Makes the scorer's networks small; returns the encoders of its trainings."""
    small = {"WIDTH": 8, "FEATURES": (4, 4), "STEPS": 2, "BATCH_SIZE": 8}
    for name, value in small.items():
        monkeypatch.setattr(independent_scorer, name, value)
    tower = {"width": 8, "features": (4, 4, 4), "cell": "plain", "final_pooling": True}
    monkeypatch.setattr(independent_scorer, "_TEXT", tower)
    seen, train = [], independent_scorer._train

    def counted(split, encoder, side, flip):
        seen.append(encoder.name)
        return train(split, encoder, side, flip)

    monkeypatch.setattr(independent_scorer, "_train", counted)
    return seen


@pytest.fixture
def load(small_config, tmp_path):
    """Split name, load size → a split of data that have no scorer yet."""
    known = functools.partial(input_pipeline.load, small_config("stage1").data)

    def moved(split, size):
        found = known(split, size)
        (folder := tmp_path / "data" / "decoded" / split).mkdir(parents=True, exist_ok=True)
        (folder / "facts.json").write_text((found.directory / "facts.json").read_text())
        return dataclasses.replace(found, directory=folder)

    return moved


def test_it_is_trained_once_with_another_text_encoder_than_the_run(load, trainings):
    with pytest.raises(UserError, match="not trained yet; --mode=evaluate trains it"):
        trained(load, "char_cnn_rnn", 16, True, train=False)
    first = trained(load, "char_cnn_rnn", 16, True)
    again = trained(load, "sentence_transformer", 16, True, train=False)
    assert trainings == ["bag_of_words"] and first.encoder.name == "bag_of_words"
    assert again.encoder.fingerprint == first.encoder.fingerprint
    read = IndependentReader(first).read(np.zeros((3, 16, 16, 3), np.uint8))["independent"]
    np.testing.assert_allclose(np.square(read).sum(axis=1), 8, rtol=1e-3)  # d times a cosine of 1


def test_captions_that_the_other_encoder_can_not_read_are_read_by_the_run_s_kind(load):
    split = load("train", 19)
    assert independent_scorer._other_encoder("bag_of_words", split).name == "char_cnn_rnn"
    chinese = dataclasses.replace(split, captions=[["红 鸟"], ["蓝 鸟"], ["红 花"]])
    assert independent_scorer._other_encoder("bag_of_words", chinese).name == "bag_of_words"


@pytest.fixture
def scored():
    """(share of noise in the pictures, of captions' partners that are wrong) → metric → result."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(40), 5)
    classes = rng.normal(size=(40, 16))
    unit = lambda x: 4 * x / np.linalg.norm(x, axis=1, keepdims=True)
    real = unit(classes[labels] + 0.3 * rng.normal(size=(200, 16)))
    captions = Captions(["a"] * 200, np.arange(200), labels, {"independent": classes[labels]})
    protocol = dataclasses.replace(protocols.PROTOCOLS["quick"], candidates=20)

    def measure(noise, shuffled=False):
        made = unit(classes[labels] + 0.3 * rng.normal(size=(200, 16)))
        made = unit((1 - noise) * made + noise * rng.normal(size=(200, 16)))
        made = made[rng.permutation(200)] if shuffled else made
        evidence = Evidence(protocol, {"independent": made}, {"independent": real}, {}, captions)
        return {name: METRICS[name].measure(evidence) for name in NAMES}

    return measure


def test_pictures_like_real_ones_score_like_them_and_noise_scores_worse(scored):
    good, bad = scored(0.0), scored(0.8)
    kid = good["independent_kid"]
    assert abs(kid.value) < 0.1 and abs(kid.real) < 0.1 < bad["independent_kid"].value - kid.value
    for name in NAMES[1:]:
        assert good[name].value == pytest.approx(good[name].real, abs=0.15)
    for name in ("independent_r_precision", "independent_precision"):
        assert bad[name].value < good[name].value - 0.2


def test_pictures_of_other_captions_have_low_r_precision(scored):
    shuffled = scored(0.0, shuffled=True)["independent_r_precision"]
    assert shuffled.value < 0.2 < 0.9 < shuffled.real and not shuffled.warning


@pytest.mark.slow
def test_a_run_is_scored_by_it(run, trainings, tmp_path):
    done = evaluate.of_run(run, QUICK | {"independent": True})
    assert set(NAMES) - set(done.left_out) <= set(done.scores)
    score = done.scores["independent_kid"]
    own = text.load_encoder(run).name
    assert own not in score.stamp.weights and score.real is not None
    assert len(score.stamp.sha256) == 64
