"""Batches are a function of (seed, step), whatever the process, and hold what they should."""

import dataclasses

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackgan_jax import configuration, input_pipeline, text
from stackgan_jax.errors import UserError
from stackgan_jax.models.text import indices


@pytest.fixture(scope="module")
def split(data_dir):
    data = configuration.data_set("synthetic_birds")
    data.update(builder_config="tiny", dir=str(data_dir))
    return input_pipeline.load(data, "train", 19)


@pytest.fixture(scope="module")
def embeddings(split):
    counts = [len(captions) for captions in split.captions]
    flat = np.random.default_rng(0).normal(size=(sum(counts), 4)).astype(np.float32)
    return input_pipeline.CaptionEmbeddings(flat, np.cumsum([0, *counts]))


def test_a_split_is_decoded_whole(split):
    assert split.images.shape == (36, 19, 19, 3) and split.images.dtype == np.uint8
    assert split.images.std() > 20
    assert all(len(captions) == 10 for captions in split.captions)
    assert sorted(set(split.labels)) == list(range(12))
    assert {"crown", "wings"} <= split.attributes.keys()
    assert isinstance(split.images, np.memmap)


@given(st.integers(0, 99), st.integers(2, 50), st.integers(1, 16), st.integers(0, 5))
def test_an_epoch_visits_every_image_at_most_once(seed, images, batch, epoch):
    batch = min(batch, images)
    steps = images // batch
    orders = [
        input_pipeline.epoch_order(seed, epoch * steps + step, batch, images)
        for step in range(steps)
    ]
    visited = np.concatenate(orders)
    assert len(set(visited)) == len(visited) == steps * batch
    assert visited.max() < images


def gan_batches(split, embeddings, start, stop, seed=3):
    return list(input_pipeline.image_text_batches(split, embeddings, 8, 4, seed, start, stop))


def test_batches_depend_on_seed_and_step_only(split, embeddings):
    whole = gan_batches(split, embeddings, 0, 6)
    resumed = gan_batches(split, embeddings, 4, 6)
    for one, other in zip(whole[4:], resumed, strict=True):
        jax.tree.map(np.testing.assert_array_equal, one, other)
    other_seed = gan_batches(split, embeddings, 0, 1, seed=4)[0]
    assert (other_seed["image"] != whole[0]["image"]).any()


def test_an_embedding_is_the_mean_of_captions_of_its_image(split, embeddings):
    (batch,) = gan_batches(split, embeddings, 0, 1)
    for image, embedding, label in zip(*batch.values(), strict=True):
        (index,) = np.flatnonzero((split.images == image).all((1, 2, 3)))
        assert split.labels[index] == label
        own = embeddings.flat[embeddings.offsets[index] : embeddings.offsets[index + 1]]
        assert np.abs(embedding).max() <= np.abs(own).max()
    rng = np.random.default_rng(0)
    np.testing.assert_allclose(embeddings.mean_of(2, 10, rng), embeddings.flat[20:30].mean(0), 1e-5)


def test_processes_share_a_batch_as_one_process_would_fill_it(split, embeddings, monkeypatch):
    (whole,) = gan_batches(split, embeddings, 2, 3)
    monkeypatch.setattr(jax, "process_count", lambda: 4)
    parts = []
    for process in range(4):
        monkeypatch.setattr(jax, "process_index", lambda process=process: process)
        parts += gan_batches(split, embeddings, 2, 3)
    for name in whole:
        joined = np.concatenate([part[name] for part in parts])
        np.testing.assert_array_equal(joined, whole[name])


def joint_batches(split, batch_size):
    tokens = input_pipeline.per_caption(split, indices)
    return input_pipeline.joint_embedding_batches(split, tokens, batch_size, 0, 0, 5)


def test_every_item_for_the_joint_embedding_is_of_another_class(split):
    for batch in joint_batches(split, 12):
        assert len(set(batch["label"])) == 12
        assert batch["tokens"].shape == (12, 201)


def test_few_classes_come_evenly_often(split):
    two = dataclasses.replace(split, labels=(np.arange(len(split)) % 2).astype(np.int32))
    for batch in joint_batches(two, 7):
        assert sorted(np.unique(batch["label"], return_counts=True)[1]) == [3, 4]


def test_images_of_one_class_are_classes_of_their_own(split):
    one = dataclasses.replace(split, labels=np.zeros(len(split), np.int32))
    for batch in joint_batches(one, 8):
        assert len(set(batch["label"])) == 8


def test_captions_are_embedded_once(split, runs):
    encoder = text.load_encoder(runs / "text_encoder")
    first = input_pipeline.embed_captions(split, encoder)
    (file,) = split.directory.glob(f"embeddings-{encoder.fingerprint}.npy")
    written = file.stat().st_mtime_ns
    again = input_pipeline.embed_captions(split, encoder)
    assert file.stat().st_mtime_ns == written
    np.testing.assert_array_equal(first.flat, again.flat)
    expected = encoder.embed(split.captions[1])
    np.testing.assert_allclose(first.flat[10:20], expected, rtol=1e-4, atol=1e-5)


def test_an_unknown_crop_is_refused(data_dir):
    data = configuration.data_set("synthetic_birds")
    data.update(builder_config="tiny", dir=str(data_dir), crop="round")
    with pytest.raises(UserError, match="'round'; choose from none, square, bbox"):
        input_pipeline.load(data, "train", 20)
