"""A set in shards equals the local preparation, resumes, and is checked before it is used."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
from picture_folders import picture, prepared, write_files, write_numbered_pictures, write_shard
from sharded_sets import Hashes, sharded, streamed, write_captioned_pictures

from stackgan_jax.data import input_pipeline, preparation
from stackgan_jax.data.shards import shard_writer
from stackgan_jax.data.shards.embeddings import Embeddings
from stackgan_jax.runtime import mesh
from stackgan_jax.runtime.errors import UserError


def prepare(data, split="train"):
    return input_pipeline.prepare(data, split, 8)


def only(directory, pattern):
    """The first file of the pattern."""
    return sorted(directory.glob(pattern))[0]


@pytest.mark.parametrize("stored", ["pixels", "encoded"])
def test_a_set_in_shards_equals_the_local_preparation(folder, stored):
    write_captioned_pictures(folder, 23, lambda i: picture(i, size=(9, 7)))
    write_files(folder, {"broken.png": b"no picture", "broken.txt": "a broken one"})
    data = sharded(folder, stored=stored)
    for name in ("train", "test"):
        local, split = prepared(folder, name), prepare(data, name)
        np.testing.assert_array_equal(split.images[:], local.images)
        np.testing.assert_array_equal(split.labels, local.labels)
        assert list(split.captions) == local.captions and split.counts == local.counts
        facts, expected = (preparation.facts(each.directory) for each in (split, local))
        for key in ("fingerprint", "images", "records", "damaged", "left_out", "remarks"):
            assert facts[key] == expected[key]
        embedded = split.embed_captions(Hashes())
        whole = local.embed_captions(Hashes())
        np.testing.assert_array_equal(embedded.flat[:], whole.flat)
        np.testing.assert_array_equal(embedded.offsets, whole.offsets)
        assert "broken.png" in (split.directory / "left_out.txt").read_text() or name == "test"


def test_pictures_are_read_by_number_slice_and_numbers(folder):
    split = prepare(sharded(write_numbered_pictures(folder, 20)))
    whole = split.images[:]
    assert split.images.shape == whole.shape and len(split.images) == len(whole)
    np.testing.assert_array_equal(split.images[-1], whole[-1])
    chosen = np.array([7, 3, 3, 16, 0])
    np.testing.assert_array_equal(split.images[chosen], whole[chosen])
    np.testing.assert_array_equal(split.images[2:13:4, 1:3], whole[2:13:4, 1:3])
    np.testing.assert_array_equal(split.images[split.labels < 5], whole[split.labels < 5])
    assert [split.captions[i] for i in chosen] == [list(split.captions)[i] for i in chosen]


def test_web_dataset_shards_stay_where_they_are(folder):
    for number in range(3):
        members = {}
        for i in range(7 * number, 7 * number + 7):
            members |= {f"{i:03d}.png": picture(i), f"{i:03d}.txt": f"number {i}".encode()}
        folder.mkdir(exist_ok=True)
        write_shard(folder / f"{number}.tar", members)
    data, local = sharded(folder, stored="in_place"), prepared(folder)
    split = prepare(data)
    np.testing.assert_array_equal(split.images[:], local.images)
    assert not list(split.directory.glob("*.tfrecord"))
    assert (
        preparation.facts(split.directory)["fingerprint"]
        == (preparation.facts(local.directory)["fingerprint"])
    )
    list(streamed(data).batches(0, 4))
    content = (folder / "1.tar").read_bytes()
    (folder / "1.tar").write_bytes(content.replace(b"IDAT", b"IDAX"))
    with pytest.raises(UserError, match=r"1\.tar record \d+ is not the one that was prepared"):
        list(streamed(data).batches(0, 9))


def test_pictures_outside_shards_can_not_stay_in_place(folder):
    write_numbered_pictures(folder, 4)
    with pytest.raises(UserError, match=r"is for WebDataset shards .* set --config.data.stored="):
        prepare(sharded(folder, stored="in_place"))


def test_a_killed_preparation_goes_on_from_whole_shards(folder, monkeypatch):
    data = sharded(write_numbered_pictures(folder, 30))
    write, written = shard_writer.write, []

    def dies(directory, name, *others):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(name)
        return write(directory, name, *others)

    monkeypatch.setattr(shard_writer, "write", dies)
    with pytest.raises(KeyboardInterrupt):
        prepare(data)
    with pytest.raises(UserError, match=r"no prepared set .*--mode=prepare"):
        input_pipeline.load(data, "train", 8)
    first, written[:] = written[:], []
    (input_pipeline.index.place(data, "train", 8) / ".x.partial").touch()
    monkeypatch.setattr(
        shard_writer, "write", lambda *known: written.append(known[1]) or write(*known)
    )
    split = prepare(data)
    assert len(first) == 2 and len(written) == 4 and not set(first) & set(written)
    np.testing.assert_array_equal(split.images[:], prepared(folder).images)
    assert not list(split.directory.glob(".*.partial"))


@pytest.mark.parametrize("damage", ["missing", "truncated", "changed"])
def test_a_damaged_shard_is_named_left_out_or_written_again(folder, damage):
    data = sharded(write_numbered_pictures(folder, 30))
    split = prepare(data)
    file = only(split.directory, "*.tfrecord")
    content = file.read_bytes()
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(content[:-1] if damage == "truncated" else content[:300] + bytes(300))
    if damage == "changed":
        file.write_bytes(content[:300] + bytes(99) + content[399:])
    why = {
        "missing": "is missing",
        "truncated": f"has {len(content) - 1:,} bytes instead of {len(content):,}",
        "changed": r"record \d is not the one that was prepared",
    }[damage]
    name = file.name.removesuffix(".tfrecord")
    with pytest.raises(UserError, match=rf"{file} {why}; .*--config.data.leave_out={name}"):
        list(streamed(data).batches(0, 6))
    with pytest.raises(UserError, match=r"has no shard 'train-7', which --config.data.leave_out"):
        streamed(sharded(folder, leave_out="train-7"))
    kept = streamed(sharded(folder, leave_out=f"{name}, test-00000-of-00001"))
    assert len(kept.split) == len(split) - 5
    list(kept.batches(0, 6))
    prepare(data)
    assert file.read_bytes() == content
    list(streamed(data).batches(0, 6))


def test_changed_numbers_and_captions_of_a_shard_are_found(folder):
    data = sharded(write_numbered_pictures(folder, 30))
    split = prepare(data)
    file = only(split.directory, "*.npz")
    content = file.read_bytes()
    file.write_bytes(content[:-1] + b"x")
    with pytest.raises(UserError, match=f"{file.name} has changed"):
        list(streamed(data).batches(0, 6))
    file.write_bytes(content)
    texts = only(split.directory, "train-*.json")
    texts.write_text(texts.read_text().replace("number", "letter"))
    with pytest.raises(UserError, match=f"{texts.name} has changed"):
        split.some_captions()


def test_one_directory_holds_one_preparation(folder):
    data = sharded(write_numbered_pictures(folder, 12))
    prepare(data)
    with pytest.raises(UserError, match=r"shard_records \(5 there, 6 here\); give another dir"):
        prepare(sharded(folder, shard_records=6))
    write_files(folder, {"new.png": picture(99), "new.txt": "a new one"})
    with pytest.raises(UserError, match=r"contents .* give another directory"):
        prepare(data)


def test_a_set_that_is_not_there_or_is_damaged_is_one_sentence(folder):
    data = sharded(write_numbered_pictures(folder, 12))
    with pytest.raises(UserError, match=r"There is no prepared set .*pixels-8-square/train"):
        input_pipeline.load(data, "train", 8)
    split = prepare(data)
    (split.directory / "index.json").write_text("{")
    with pytest.raises(UserError, match=r"can't be read .*--config.data.shards"):
        input_pipeline.load(data, "train", 8)
    with pytest.raises(UserError, match="'jpeg'; choose from pixels, encoded, in_place"):
        input_pipeline.load(sharded(folder, stored="jpeg"), "train", 8)
    with pytest.raises(UserError, match="s3://there can't be used"):
        input_pipeline.load(sharded(folder, shards="s3://there"), "train", 8)


def test_a_full_disk_is_one_sentence_and_loses_nothing(folder):
    data = sharded(write_numbered_pictures(folder, 30), shard_records=25)
    program = f"""
import json, resource, signal, sys
from ml_collections import ConfigDict
from stackgan_jax.data import input_pipeline
from stackgan_jax.runtime.errors import UserError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, resource.RLIM_INFINITY))
try:
    input_pipeline.prepare(ConfigDict(json.loads({data.to_json()!r})), "train", 8)
except UserError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "Cannot write the data set to" in done.stdout, done.stdout + done.stderr
    assert "goes on from the shards that are whole" in done.stdout
    np.testing.assert_array_equal(prepare(data).images[:], prepared(folder).images)


def test_captions_are_embedded_once_shard_by_shard(folder):
    data = sharded(write_captioned_pictures(folder, 23, picture))
    split, encoder = prepare(data), Hashes()
    split.embed_captions(encoder)
    assert len(encoder.embedded) == split.counts["captions"]
    split.embed_captions(encoder)
    assert len(encoder.embedded) == split.counts["captions"]
    file = only(split.directory, "embeddings-abc/*")
    file.write_bytes(file.read_bytes()[:-4])
    split.embed_captions(encoder)
    assert len(encoder.embedded) == split.counts["captions"] + split.index.shards[0].captions


def test_each_process_embeds_its_own_shards(folder, monkeypatch):
    data = sharded(write_captioned_pictures(folder, 23, picture))
    split, encoders = prepare(data), [Hashes(), Hashes()]
    monkeypatch.setattr(mesh, "wait_for_all_processes", lambda _: None)
    monkeypatch.setattr("jax.process_count", lambda: 2)
    for process, encoder in enumerate(encoders):
        monkeypatch.setattr("jax.process_index", lambda process=process: process)
        Embeddings(split, encoder).compute()
    counts = [len(encoder.embedded) for encoder in encoders]
    assert min(counts) > 0 and sum(counts) == split.counts["captions"]
    shutil.rmtree(split.directory)
