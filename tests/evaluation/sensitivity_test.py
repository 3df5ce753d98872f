"""Do the metrics measure? Spoilt pictures score worse, the more the worse; on cheap features.

On Inception, on a trained joint embedding and on the classifier: docs/evaluation.md.
"""

from pathlib import Path

import numpy as np
import pytest

from stackgan_jax.data.input_pipeline import Split
from stackgan_jax.evaluation import inception_weights, protocols, readers, scoring, sensitivity
from stackgan_jax.evaluation.runs import Evaluation
from stackgan_jax.runtime.errors import UserError

CLASSES, EACH, SIZE = 8, 24, 32


class Fields:
    """Colours, and how much they vary, over 4x4 fields of a picture."""

    resize, dtype = "clean", "float32"

    def __call__(self, pictures):
        fields = pictures.reshape(-1, 4, 8, 4, 8, 3) / 64
        numbers = [fields.mean(axis=(2, 4)), fields.std(axis=(2, 4))]
        numbers = np.concatenate([each.reshape(len(pictures), -1) for each in numbers], axis=1)
        return {"2048": numbers.astype(np.float32), "logits_unbiased": numbers[:, :10]}


@pytest.fixture(scope="module")
def measured():
    """What squares of each class's colour, somewhere on noisy ground, score when spoilt."""
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
        captions=scoring.Captions(["a"] * len(labels), rng.permutation(len(labels)), labels),
        embeddings=np.zeros((len(labels), 1)),
        left_out={},
    )
    return sensitivity.measure(evaluation)


@pytest.fixture(scope="module")
def rows(measured):
    return {row: {s.name: s.value for s in scores} for row, (scores, _) in measured.items()}


@pytest.mark.parametrize("metric", ["fid", "kid"])
@pytest.mark.parametrize("kind", ["blur", "noise", "hues"])
def test_the_more_a_picture_is_spoilt_the_larger_the_distance(metric, kind, rows):
    distances = [scores[metric] for row, scores in rows.items() if row.startswith(kind)]
    assert len(distances) >= 3
    assert distances == sorted(distances) and distances[0] < distances[-1] / 4


def test_a_set_is_at_no_distance_from_itself_and_near_its_own_half(rows):
    same, half = rows["the set itself"], rows["one half against the other"]
    assert same["fid"] < 1e-8 and same["precision"] == same["recall"] == 1
    assert abs(half["kid"]) < 0.02 * rows["noise, σ 64"]["kid"]


def test_dropped_classes_are_missed(rows):
    dropped, half = rows["every second class dropped"], rows["half of the images against all"]
    assert dropped["fid"] > 2 * half["fid"] and dropped["kid"] > half["kid"] + 0.02
    assert dropped["precision"] == 1 and dropped["recall"] < half["recall"] - 0.2


def test_the_table_tells_what_its_scores_were_measured_with(measured):
    told = sensitivity.table(measured)
    assert all(f"| {row} | " in told for row in measured)
    assert "| one half against the other | 96, 96 |" in told
    stamp = measured["the set itself"][0][0].stamp
    assert "fields (not the published weights)" in told and stamp.sha256 in told
    assert "left out" not in told


def test_what_is_missing_in_a_table_is_told_with_the_reason(measured):
    fid, few = measured["the set itself"][0][0], {"kid": UserError("too few")}
    told = sensitivity.table({"all": ([fid], few), "half": ([], {"fid": UserError("one")} | few)})
    assert "| half | – | – |" in told and "left out: FID (half): one" in told
    assert told.count("left out: KID: too few") == 1
