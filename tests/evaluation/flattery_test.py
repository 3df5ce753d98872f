"""Scores that flatter are marked: above those of real pictures, or by the run's own tower."""

import json
import shutil

import pytest

from stackgan_jax.evaluation import cautions
from stackgan_jax.evaluation.metrics import METRICS
from stackgan_jax.evaluation.readers import JointReader, trained_against
from stackgan_jax.text.scorer import TRAINED


@pytest.mark.parametrize(
    ("name", "value", "real", "marked"),
    [
        ("r_precision", 0.54, 0.316, True),
        ("r_precision", 0.318, 0.316, False),  # chance
        ("r_precision", 0.2, 0.316, False),
        ("r_precision", 0.54, None, False),
        ("spread", 1.3, 1.0, False),  # differing more than real pictures flatters nobody
    ],
)
def test_a_text_score_above_that_of_real_pictures_is_marked(name, value, real, marked):
    warning = cautions.above_real(METRICS[name], value, real)
    assert ("not to be trusted" in warning) == marked


def test_a_tower_that_the_generator_was_trained_against_is_named(runs, tmp_path):
    assert not JointReader.of_run(runs / "stage1").warning
    shutil.copytree(runs / "stage2", tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))
    file = tmp_path / "run" / "stage1.json"  # the earlier stage was
    config = json.loads(file.read_text())
    config["training"]["matching_weight"] = 10.0
    file.write_text(json.dumps(config))
    assert "trained against the image tower" in JointReader.of_run(tmp_path / "run").warning


def test_a_probe_counts_for_a_tower_that_reads_a_pretrained_network(runs, tmp_path):
    config = json.loads((runs / "stage1" / "config.json").read_text())
    config["training"]["probe_weight"] = 10.0
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert trained_against(tmp_path, "efficientnet_lite0")
    assert not trained_against(tmp_path, TRAINED)
