"""The registry of metrics: a metric from outside the package, and metrics that are rejected."""

import json

import numpy as np
import pytest
from sample_scores import QUICK

from stackgan_jax.evaluation import evaluate, records
from stackgan_jax.evaluation.registry import METRICS, Evidence, Measurement, metric
from stackgan_jax.report import comparison


@pytest.fixture
def registered():
    """Removes the metrics that a test adds."""
    before = dict(METRICS)
    yield METRICS
    METRICS.clear()
    METRICS.update(before)


def test_a_metric_from_outside_scores_folders(registered, folder, colours, cache, tmp_path):
    @metric("mean_gap", title="Gap of means", better="lower", reads="inception")
    def mean_gap(evidence: Evidence) -> Measurement:
        gap = np.abs(evidence.generated["2048"].mean(0) - evidence.real["2048"].mean(0)).max()
        return Measurement(float(gap), "largest gap of means", "layer 2048")

    real, output = folder("real", seed=1), tmp_path / "metrics.json"
    same = evaluate.of_folders(real, real, {"inception": "x"}, None, output)
    assert same.scores["mean_gap"].value == 0
    made = folder("made", seed=2)
    other = evaluate.of_folders(made, real, {"inception": "x"}, None, output)
    score = other.scores["mean_gap"]
    assert score.value > 0 and score.stamp.definition == "largest gap of means"
    assert score.stamp.sha256 == "5" * 64 and score.stamp.generated == 40
    assert "not the published weights" in score.warning
    assert "Gap of means" in str(other)
    stored = json.loads(output.read_text())["evaluations"][0]["scores"]["mean_gap"]
    assert stored["better"] == "min" and stored["value"] == score.value


@pytest.mark.slow
def test_a_metric_from_outside_scores_runs_and_appears_in_comparisons(registered, run, capsys):
    @metric(
        "own_cosine", title="Cosine", better="higher", reads="joint", captions=True, percent=True
    )
    def own_cosine(evidence: Evidence) -> Measurement:
        pairs = evidence.generated["joint"], evidence.captions.embeddings["joint"]
        pictures, captions = (p / np.linalg.norm(p, axis=1, keepdims=True) for p in pairs)
        return Measurement(float((pictures * captions).sum(1).mean()), "mean cosine", "joint")

    score = evaluate.of_run(run, QUICK).scores["own_cosine"]
    assert -1 <= score.value <= 1 and score.better == "max"
    (stored,) = records.read(run / "metrics.json")
    assert stored.scores["own_cosine"] == score
    assert f"{100 * score.value:.1f} %" in str(stored)
    comparison.compare([run], QUICK, run / "page.html")
    assert "Cosine" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "changes", "sentence"),
    [
        ("fid", {}, "already a metric 'fid'; choose another name"),
        ("mine", {"better": "min"}, "Unknown better='min' of 'mine'; choose from lower, higher"),
        ("mine", {"reads": "vgg"}, "Unknown reads='vgg' of 'mine'; choose from inception, joint"),
    ],
)
def test_bad_metrics_are_rejected(name, changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        metric(name, **{"title": "Mine", "better": "lower", "reads": "inception"} | changes)


def test_a_metric_that_needs_captions_is_skipped_without_them(registered, folder, colours, cache):
    @metric("captioned", title="Captioned", better="lower", reads="inception", captions=True)
    def captioned(evidence: Evidence) -> Measurement:
        raise AssertionError

    real = folder("real")
    done = evaluate.of_folders(real, real, {"inception": "x"}, None, real / "metrics.json")
    assert "captioned" not in done.scores and "captioned" not in done.left_out


def test_a_score_that_is_not_finite_is_left_out_with_the_reason(
    registered, folder, colours, cache, tmp_path
):
    @metric("nothing", title="Nothing", better="lower", reads="inception")
    def nothing(evidence: Evidence) -> Measurement:
        return Measurement(float("nan"), "nothing", "layer 2048")

    pictures = folder("real", seed=1)
    record = evaluate.of_folders(pictures, pictures, {"inception": "x"}, None, tmp_path / "m.json")
    assert "nothing" not in record.scores
    assert "Nothing is nan" in str(record) and "Nothing is nan" in record.results()
    assert "measured with" in str(record) and "measured with" not in record.results()
    assert record.stamps() in str(record)
