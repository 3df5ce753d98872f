"""A stream's batches are a function of (seed, step), for any number of processes."""

import time

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from picture_folders import picture
from sharded_sets import Hashes, sharded, streamed, write_captioned_pictures

from stackgan_jax.data import batches, input_pipeline
from stackgan_jax.data.shards import shard
from stackgan_jax.data.shards.order import Order
from stackgan_jax.runtime import mesh
from stackgan_jax.runtime.errors import UserError


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A prepared set of 37 pictures of one to three captions in shards of five."""
    folder = tmp_path_factory.mktemp("stream") / "pictures"
    write_captioned_pictures(folder, 41, picture)
    made = sharded(folder)
    for split in ("train", "test"):
        input_pipeline.prepare(made, split, 8)
    return made


def equal(one, other):
    jax.tree.map(np.testing.assert_array_equal, dict(one), dict(other))


def taken(order, epoch):
    """The records (shard, record) of an epoch, step by step."""
    steps = order.length // order.rows
    for step in range(epoch * steps, (epoch + 1) * steps):
        at, window, first = order.place(step)
        assert at == epoch
        for lane in range(order.lanes):
            records = [
                (shard, record)
                for shard, start, stop in order.stretch(epoch, lane, window)
                for record in range(start, stop)
            ]
            chosen = order.permutation(epoch, lane, window)
            yield from (records[i] for i in chosen[first : first + order.rows])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=12),
    st.integers(1, 48),
    st.integers(1, 200),
    st.integers(0, 3),
)
def test_an_epoch_takes_every_record_at_most_once(counts, batch, buffer, epoch):
    batch = min(batch, sum(counts))
    order = Order(tuple(counts), batch, buffer, 0)
    visited = list(taken(order, epoch))
    assert len(set(visited)) == len(visited) == order.length * order.lanes
    assert len(visited) % batch == 0
    # All but a batch and what the lanes' ends leave: fewer than a batch.
    assert len(visited) > sum(counts) - 2 * batch
    assert all(0 <= record < counts[shard] for shard, record in visited)


def test_epochs_have_other_orders_and_a_window_mixes_several_shards():
    order = Order((100,) * 20, 16, 320, 0)
    first, second = list(taken(order, 0)), list(taken(order, 1))
    assert first != second and set(first) == set(second)
    assert len({shard for shard, _ in first[:16]}) > 8
    assert np.abs(np.diff([record for _, record in first[:320:16]])).max() > 1


def test_batches_depend_on_seed_and_step_only(data):
    whole = list(streamed(data).batches(0, 11))  # several epochs
    for one, other in zip(whole[7:], streamed(data).batches(7, 11), strict=True):
        equal(one, other)
    (other_seed,) = streamed(data, seed=4).batches(0, 1)
    assert (other_seed["image"] != whole[0]["image"]).any()


@pytest.mark.parametrize("batch_size", [8, 6])
def test_the_parts_of_all_processes_make_the_batch_of_one(data, batch_size, monkeypatch):
    whole = list(streamed(data, batch_size).batches(2, 7))
    processes = batch_size // 2  # more or fewer than there are lanes or shards does not matter
    monkeypatch.setattr(jax, "process_count", lambda: processes)
    parts = []
    for process in range(processes):
        monkeypatch.setattr(jax, "process_index", lambda process=process: process)
        stream = streamed_without_barrier(data, batch_size, monkeypatch)
        parts.append(list(stream.batches(2, 7)))
        rows = batches.rows_of_this_process(batch_size)
        window = stream._window(rows, *stream.order.place(2)[:2])
        assert len(window.records) == -(-2 // stream.order.rows)  # lanes that are read
    equal(stream.whole(2), whole[0])
    for step, batch in enumerate(whole):
        equal({n: np.concatenate([p[step][n] for p in parts]) for n in batch}, batch)


def streamed_without_barrier(data, batch_size, monkeypatch):
    monkeypatch.setattr(mesh, "wait_for_all_processes", lambda _: None)
    return streamed(data, batch_size)


def test_pictures_captions_and_wrong_pairs_belong_together(data):
    split = input_pipeline.load(data, "train", 8)
    captions = {tuple(i[0, 0]): c for i, c in zip(split.images[:], split.captions, strict=True)}
    labels = {tuple(i[0, 0]): c for i, c in zip(split.images[:], split.labels, strict=True)}
    for batch in streamed(data, captions=2).batches(0, 9):
        keys = [tuple(image[0, 0]) for image in batch["image"]]
        for key, embedding, partner in zip(keys, batch["embedding"], batch["partner"], strict=True):
            own = Hashes().embed(captions[key])
            pairs = [(a + b) / 2 for i, a in enumerate(own) for b in own[i + 1 :]] or [own[0]]
            assert any(np.allclose(embedding, pair) for pair in pairs)
            assert labels[keys[partner]] != labels[key]


def test_a_set_that_the_buffer_holds_is_read_once(data, monkeypatch):
    read, read_records = [], shard.read_records

    def counted(folder, entry, *args):
        read.append(entry.name)
        time.sleep(0.02)  # so that other threads want the same shard meanwhile
        return read_records(folder, entry, *args)

    monkeypatch.setattr(shard, "read_records", counted)
    list(streamed(data, buffer=64).batches(0, 20))  # four epochs of 37 pictures in eight shards
    assert len(read) == len(set(read)) == 8


def test_a_stream_is_never_held_on_a_device(data):
    devices = mesh.data_mesh(8)
    assert not batches.on_device(streamed(data), "auto", devices)
    with pytest.raises(UserError, match="can't hold data that are streamed"):
        batches.on_device(streamed(data), "device", devices)


def test_a_set_smaller_than_a_batch_is_refused(data):
    with pytest.raises(UserError, match=r"batch_size 64 is more than the data set's 37 images"):
        streamed(data, 64)
