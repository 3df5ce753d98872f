"""Batches are a function of (seed, step): the same in any process, on the host or the device."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stackgan_jax.data import batches, choices
from stackgan_jax.runtime import mesh
from stackgan_jax.runtime.errors import UserError

IMAGES, SIZE, WIDTH = 24, 5, 3


def pictures(seed=0):
    """Images, their labels (two images per class), and embeddings of 1 to 7 captions per image."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (IMAGES, SIZE, SIZE, 3), np.uint8)
    labels = np.arange(IMAGES, dtype=np.int32) // 2
    offsets = np.cumsum([0, *rng.integers(1, 8, IMAGES)])
    flat = rng.normal(size=(offsets[-1], WIDTH)).astype(np.float32)
    return images, labels, batches.CaptionEmbeddings(flat, offsets)


def gan_source(batch_size=8, captions=3, seed=3):
    return batches.image_text(*pictures(), batch_size, captions, seed)


def equal(one, other):
    jax.tree.map(np.testing.assert_array_equal, dict(one), dict(other))


@given(st.integers(0, 99), st.integers(2, 50), st.integers(1, 16), st.integers(0, 5))
def test_an_epoch_visits_every_image_at_most_once(seed, images, batch, epoch):
    batch = min(batch, images)
    steps = images // batch
    orders = [
        choices.epoch_order(seed, epoch * steps + step, batch, images) for step in range(steps)
    ]
    visited = np.concatenate(orders)
    assert len(set(visited)) == len(visited) == steps * batch
    assert visited.max() < images


def test_batches_depend_on_seed_and_step_only():
    whole = list(gan_source().batches(0, 6))
    for one, other in zip(whole[4:], gan_source().batches(4, 6), strict=True):
        equal(one, other)
    (other_seed,) = gan_source(seed=4).batches(0, 1)
    assert (other_seed["image"] != whole[0]["image"]).any()
    assert len(list(gan_source().batches(6, 6))) == 0


@settings(max_examples=20)
@given(st.integers(0, 1000), st.integers(1, 8))
def test_an_embedding_is_the_mean_of_different_captions_of_its_image(step, captions):
    images, labels, embeddings = pictures()
    source = batches.image_text(images, labels, embeddings, 8, captions, 0)
    choice = source.choose(step)
    batch = source.gather(source.held, choice)
    np.testing.assert_array_equal(batch["image"], images[choice["image"]])
    assert (labels[choice["image"][batch["partner"]]] != labels[choice["image"]]).all()
    for image, chosen, mean in zip(
        choice["image"], choice["captions"], batch["embedding"], strict=True
    ):
        first, end = embeddings.offsets[image], embeddings.offsets[image + 1]
        chosen = chosen[chosen >= 0]
        assert len(set(chosen)) == len(chosen) == min(captions, end - first)
        assert first <= chosen.min() and chosen.max() < end
        np.testing.assert_allclose(mean, embeddings.flat[chosen].mean(0), rtol=1e-5, atol=1e-6)


def test_every_caption_is_drawn():
    choices = [gan_source(captions=1).choose(step) for step in range(300)]
    drawn = np.concatenate([choice["captions"].ravel() for choice in choices])
    assert set(drawn) == set(range(len(pictures()[2].flat)))


@pytest.mark.parametrize("captions", [1, 3, 4])
def test_a_batch_gathered_on_the_devices_equals_the_hosts_bit_by_bit(captions):
    source = gan_source(captions=captions)
    devices = mesh.data_mesh(8)
    held = mesh.place_everywhere(devices, source.held)
    gather = jax.jit(source.gather)
    for choice, expected in zip(source.choices(0, 5), source.batches(0, 5), strict=True):
        equal(gather(held, mesh.place_batch(devices, choice)), expected)


def joint_source(labels=None, batch_size=8):
    images, own, embeddings = pictures()
    count = embeddings.offsets[-1]
    tokens = batches.CaptionEmbeddings(
        np.repeat(np.arange(count, dtype=np.uint8)[:, None], 201, 1), embeddings.offsets
    )
    return batches.joint_embedding(images, own if labels is None else labels, tokens, batch_size, 0)


def test_all_items_for_the_joint_embedding_are_of_different_classes():
    offsets = pictures()[2].offsets
    for batch in joint_source().batches(0, 5):
        assert len(set(batch["label"])) == 8
        image = np.searchsorted(offsets, batch["tokens"][:, 0], "right") - 1
        np.testing.assert_array_equal(image // 2, batch["label"])


def test_few_classes_have_equal_numbers_of_items():
    for batch in joint_source((np.arange(IMAGES) % 2).astype(np.int32), 7).batches(0, 5):
        assert sorted(np.unique(batch["label"], return_counts=True)[1]) == [3, 4]


def test_images_of_a_single_class_count_as_classes_of_their_own():
    for batch in joint_source(np.zeros(IMAGES, np.int32)).batches(0, 5):
        assert len(set(batch["label"])) == 8


@pytest.mark.parametrize("make", [gan_source, joint_source])
def test_the_parts_of_all_processes_make_the_batch_of_one_process(make, monkeypatch):
    (whole,) = make().batches(2, 3)
    monkeypatch.setattr(jax, "process_count", lambda: 4)
    parts = []
    for process in range(4):
        monkeypatch.setattr(jax, "process_index", lambda process=process: process)
        parts += make().batches(2, 3)
    equal({name: np.concatenate([part[name] for part in parts]) for name in whole}, whole)


def test_residency_host_device_and_auto_on_a_cpu():
    source, devices = gan_source(), mesh.data_mesh(8)
    assert batches.on_device(source, "device", devices)
    assert not batches.on_device(source, "host", devices)
    assert not batches.on_device(source, "auto", devices)  # a CPU would gain nothing
    with pytest.raises(UserError, match="'gpu'; choose from auto, host, device"):
        batches.on_device(source, "gpu", devices)


class _Device:
    platform = "gpu"

    def __init__(self, memory):
        self.memory = memory

    def memory_stats(self):
        return {"bytes_limit": self.memory}


class _Mesh:
    def __init__(self, memory):
        self.local_devices = [_Device(memory)]


def test_an_accelerator_holds_a_split_that_fits():
    source = gan_source()
    assert batches.on_device(source, "auto", _Mesh(4 * source.held_bytes))
    assert not batches.on_device(source, "auto", _Mesh(2 * source.held_bytes))
    with pytest.raises(UserError, match="residency=host"):
        batches.on_device(source, "device", _Mesh(source.held_bytes // 2))


@pytest.mark.parametrize(
    "labels",
    [
        [0, 0, 1, 1, 2, 2, 3, 3],
        [7, 7, 7, 7, -1, -1, -1, -1],
        [5, 9, 5, 9, 9, 9, 2, 3],
        [0, 1, 2, 3, 4, 5, 6, 7],
        [3, 3, 3, 1, 1, 0, 0, 9],
    ],
)
def test_mismatched_is_a_permutation_into_other_classes(labels):
    labels = np.array(labels)
    for partner in partners(labels):
        np.testing.assert_array_equal(np.sort(partner), np.arange(8))
        assert (labels[partner] != labels).all()


def test_mismatched_reaches_every_partner():
    labels = np.array([0, 0, 1, 1, 2, 2, 3, 3])
    assert {int(partner[0]) for partner in partners(labels, 60)} == {2, 3, 4, 5, 6, 7}


@given(st.lists(st.integers(0, 3), min_size=2, max_size=12), st.integers(0, 99))
def test_mismatched_crosses_classes_of_any_sizes(labels, seed):
    labels = np.array(labels)
    partner = choices.mismatched(np.random.default_rng(seed), labels)
    if len(set(labels)) > 1:
        assert (labels[partner] != labels).all()
    else:
        assert (partner != np.arange(len(labels))).all()
    if 2 * np.bincount(labels).max() <= len(labels):
        np.testing.assert_array_equal(np.sort(partner), np.arange(len(labels)))


def test_mismatched_of_a_single_class_takes_other_items():
    for partner in partners(np.full(6, 3)):
        np.testing.assert_array_equal(np.sort(partner), np.arange(6))
        assert (partner != np.arange(6)).all()


def test_mismatched_needs_two_items():
    with pytest.raises(UserError, match="at least 2"):
        choices.mismatched(np.random.default_rng(0), np.zeros(1))


def partners(labels, count=30):
    return [choices.mismatched(np.random.default_rng(seed), labels) for seed in range(count)]
