"""Retrieval scores computed by hand, compared with a plain count, and written by a run."""

import json
import shutil

import numpy as np
import pytest

from stackgan_jax import text
from stackgan_jax.data import input_pipeline
from stackgan_jax.text import retrieval


def test_ranks_match_a_computation_by_hand():
    images = np.eye(3)
    owners = np.array([0, 0, 1, 2])
    texts = np.array([[1, 0, 0], [0, 2, 1], [0, 3, 0], [0, 4, 2.0]])
    found = retrieval.ranks(texts, images, owners)
    assert found["caption_to_image"].tolist() == [1, 3, 1, 2]
    # Image 1 ranks captions 3, 2 and 1 in this order, and caption 2 is its own.
    assert found["image_to_caption"].tolist() == [1, 2, 1]


def test_ranks_in_chunks_match_a_plain_count(monkeypatch):
    rng = np.random.default_rng(0)
    texts, images = rng.normal(size=(40, 8)), rng.normal(size=(12, 8))
    owners = np.sort(np.concatenate([np.arange(12), rng.integers(0, 12, 28)]))
    monkeypatch.setattr(retrieval, "_CHUNK", 7)
    found = retrieval.ranks(texts, images, owners)
    scores = texts @ images.T
    for n, owner in enumerate(owners):
        assert found["caption_to_image"][n] == 1 + sum(scores[n] > scores[n, owner])
    for m in range(12):
        assert found["image_to_caption"][m] == 1 + sum(scores[:, m] > scores[owners == m, m].max())


def test_class_retrieval_matches_a_computation_by_hand():
    texts, text_labels = np.array([[2.0, 0], [0, 0], [0, 1]]), np.array([5, 5, 9])
    images = np.array([[1.0, 0], [2, 1], [0, 1], [0, 3]])
    scores = retrieval.class_retrieval(texts, text_labels, images, np.array([5, 9, 9, 5]), k=2)
    # The query of class 5 is [1, 0], its best images are 1 and 0. Class 9: [0, 1], images 3 and 1.
    assert scores == {"average_precision": 2 / 4, "accuracy": 2 / 4}


def test_perfect_embeddings_score_1_and_chance_is_the_share_fetched():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(200, 64))
    images /= np.linalg.norm(images, axis=1, keepdims=True)
    owners, labels = np.repeat(np.arange(200), 2), np.arange(200) % 2
    found = retrieval.measure(images[owners], images, owners, labels)
    by_chance = retrieval.chance(images[owners], images, owners, labels)
    assert found["caption_to_image_recall_at_1"] == found["image_to_caption_recall_at_1"] == 1
    assert found["caption_to_image_median_rank"] == 1
    assert by_chance["caption_to_image_recall_at_10"] == pytest.approx(10 / 200, abs=0.03)
    assert by_chance["caption_to_image_median_rank"] == pytest.approx(100, abs=10)
    assert by_chance["class_average_precision_at_50"] == pytest.approx(0.5, abs=0.1)


def test_training_ends_by_writing_retrieval_scores(runs, small_config, monkeypatch, tmp_path):
    run = shutil.copytree(runs / "text_encoder", tmp_path / "text_encoder")
    written = json.loads((run / retrieval.FILE).read_text())
    assert written["fingerprint"] == text.load_encoder(runs / "stage2").fingerprint
    assert written["found"].keys() == written["chance"].keys()
    test = input_pipeline.load(small_config("text_encoder").data, "test", 19)
    assert written["images"] == len(test)
    assert retrieval.write(run, test) == written
    assert retrieval.table(written).count("\n") == len(written["found"])
    monkeypatch.setattr(retrieval, "MOST", 5)
    assert retrieval.write(run, test)["images"] <= 5
