"""Sensitivity of the metrics: the more pictures are degraded, the worse they score.

These tests use cheap features. docs/evaluation.md has the results of Inception, of a trained joint
embedding and of the attribute judge.
"""

from pathlib import Path

import numpy as np
import pytest

from stackgan_jax.data.input_pipeline import Split
from stackgan_jax.evaluation import inception_weights, protocols, readers, sensitivity
from stackgan_jax.evaluation.evidence import Captions
from stackgan_jax.evaluation.runs import Evaluation
from stackgan_jax.runtime.errors import UserError

CLASSES, EACH, SIZE = 8, 24, 32


class Fields:
    """Means and deviations of the colours in 4×4 fields of a picture."""

    resize, dtype = "clean", "float32"

    def __call__(self, pictures):
        fields = pictures.reshape(-1, 4, 8, 4, 8, 3) / 64
        numbers = [fields.mean(axis=(2, 4)), fields.std(axis=(2, 4))]
        numbers = np.concatenate([each.reshape(len(pictures), -1) for each in numbers], axis=1)
        return {"2048": numbers.astype(np.float32), "logits_unbiased": numbers[:, :10]}


@pytest.fixture(scope="module")
def measured():
    """The scores of degraded pictures: a square of the class's colour on a noisy background."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(CLASSES), EACH)
    colours = rng.integers(40, 216, (CLASSES, 3))
    pictures = rng.normal(128, 4, (len(labels), SIZE, SIZE, 3))
    for picture, label in zip(pictures, labels, strict=True):
        x, y = rng.integers(4, 12, 2)
        picture[y : y + 16, x : x + 16] = colours[label] + rng.normal(0, 8, 3)
    pictures = np.clip(pictures, 0, 255).astype(np.uint8)
    weights = inception_weights.Weights(None, "fields", "5" * 64)
    evaluation = Evaluation(
        protocol=protocols.Protocol("small", 192, kid_subsets=20, kid_subset_size=80),
        directory=Path("run"),
        data="squares",
        test=Split(Path("squares/1/decoded/test"), pictures, labels, [["a"]] * len(labels), {}),
        size=SIZE,
        readers=[readers.InceptionReader(weights, Fields())],
        captions=Captions(["a"] * len(labels), rng.permutation(len(labels)), labels),
        embeddings=np.zeros((len(labels), 1)),
        left_out={},
    )
    return sensitivity.measure(evaluation)


@pytest.fixture(scope="module")
def rows(measured):
    return {row: {s.name: s.value for s in scores} for row, (scores, _) in measured.items()}


@pytest.mark.parametrize("metric", ["fid", "kid"])
@pytest.mark.parametrize("kind", ["blur", "noise", "hues"])
def test_the_distance_grows_with_the_degradation(metric, kind, rows):
    distances = [scores[metric] for row, scores in rows.items() if row.startswith(kind)]
    assert len(distances) >= 3
    assert distances == sorted(distances) and distances[0] < distances[-1] / 4


def test_a_set_has_no_distance_to_itself_and_little_to_its_half(rows):
    same, half = rows["the set itself"], rows["one half against the other"]
    assert same["fid"] < 1e-8 and same["precision"] == same["recall"] == 1
    assert abs(half["kid"]) < 0.02 * rows["noise, σ 64"]["kid"]


def test_dropped_classes_lower_recall(rows):
    dropped, half = rows["every second class dropped"], rows["half of the images against all"]
    assert dropped["fid"] > 2 * half["fid"] and dropped["kid"] > half["kid"] + 0.02
    assert dropped["precision"] == 1 and dropped["recall"] < half["recall"] - 0.2


def test_the_table_has_the_stamps_of_its_scores(measured):
    table = sensitivity.table(measured)
    assert all(f"| {row} | " in table for row in measured)
    assert "| one half against the other | 96, 96 |" in table
    stamp = measured["the set itself"][0][0].stamp
    assert "fields (not the published weights)" in table and stamp.sha256 in table
    assert "left out" not in table


def test_the_table_gives_the_reason_for_each_missing_score(measured):
    fid, few = measured["the set itself"][0][0], {"kid": UserError("too few")}
    table = sensitivity.table({"all": ([fid], few), "half": ([], {"fid": UserError("one")} | few)})
    assert "| half | – | – |" in table and "left out: FID (half): one" in table
    assert table.count("left out: KID: too few") == 1
