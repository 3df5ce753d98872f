"""Preparing on Apache Beam's workers gives the same files, byte by byte."""

import sys

import pytest
from picture_folders import picture, write_files
from sharded_sets import sharded, write_captioned_pictures

from stackgan_jax.data import input_pipeline, registry
from stackgan_jax.data.shards import beam_engine, shard, writing
from stackgan_jax.runtime.errors import UserError

TWO_WORKERS = "--runner=DirectRunner --direct_num_workers=2 --direct_running_mode=multi_processing"


def files(directory):
    """Name → content of what was prepared."""
    found = [path for path in directory.iterdir() if path.suffix != ".lock"]
    return {path.name: path.read_bytes() for path in found}


@pytest.fixture
def pictures(folder):
    """A folder with a damaged picture."""
    write_captioned_pictures(folder, 23, picture)
    return write_files(folder, {"broken.png": b"no picture", "broken.txt": "a broken one"})


def test_workers_write_the_shards_from_plans(pictures):
    data = sharded(pictures, beam="--runner=DirectRunner")
    expected = input_pipeline.prepare(sharded(pictures), "train", 8).directory
    data.shards += "-elsewhere"
    source = registry.source(data)
    parts = writing._parts(source, "train", data)
    job = writing.Job(data.to_json(), "train", 8, parts)
    beam_engine._write_plans(source, job)
    for task in reversed(range(len(parts))):  # in any order, and on two workers at once
        assert beam_engine.write_planned(job, task) == task
    beam_engine._remove_plans(job)
    for name, content in files(job.directory).items():
        assert content == files(expected)[name]
    assert len(files(job.directory)) == 3 * len(parts)
    assert shard.entry(job.directory, job.name(0)).images > 0


def test_beam_that_is_not_installed_is_one_sentence(pictures, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(
        UserError, match=r"is not installed .*install it with .pip install -e .*\[beam\]"
    ):
        input_pipeline.prepare(sharded(pictures, beam="--runner=DirectRunner"), "train", 8)


@pytest.mark.slow
def test_two_workers_of_the_direct_runner_prepare_the_same_set(pictures):
    pytest.importorskip("apache_beam")
    expected = input_pipeline.prepare(sharded(pictures), "train", 8).directory
    data = sharded(pictures, beam=TWO_WORKERS)
    data.shards += "-elsewhere"
    assert files(input_pipeline.prepare(data, "train", 8).directory) == files(expected)
    data.update(shards=f"{data.shards}-again", beam="--direct_num_workers=many")
    with pytest.raises(UserError, match=r"has not prepared .* its options are wrong"):
        input_pipeline.prepare(data, "train", 8)
