"""A set in shards in a directory that is none of this machine's: TensorFlow's file systems.

`ram://` stands for `gs://` here: the same paths and the same library, and no network.
"""

import numpy as np
import pytest
from etils import epath
from picture_folders import picture, prepared
from sharded_sets import sharded, streamed, write_captioned_pictures

from stackgan_jax.data import input_pipeline
from stackgan_jax.runtime import paths
from stackgan_jax.runtime.errors import UserError

RAM = "ram://"


@pytest.fixture
def remote(monkeypatch):
    """A directory in TensorFlow's memory."""
    monkeypatch.setattr(paths, "REMOTE", RAM)
    monkeypatch.setattr(epath.gpath, "_URI_PREFIXES", (RAM,))
    monkeypatch.setattr(epath.gpath, "_URI_SCHEMES", {"ram"})
    monkeypatch.setattr(epath.gpath, "_URI_MAP_ROOT", {RAM: "/ram/"})
    backends = {**epath.gpath._PREFIX_TO_BACKEND, "ram": epath.backend.tf_backend}
    monkeypatch.setattr(epath.gpath, "_PREFIX_TO_BACKEND", backends)
    monkeypatch.setitem(epath.register._URI_PREFIXES_TO_CLS, RAM, epath.gpath.PosixGPath)
    return "ram://bucket/shards"


def test_a_set_is_prepared_and_streamed_in_a_bucket(folder, remote):
    write_captioned_pictures(folder, 41, picture)
    data = sharded(folder, shards=remote)
    split = input_pipeline.prepare(data, "train", 8)
    assert str(split.directory) == "ram://bucket/shards/pixels-8-square/train"
    np.testing.assert_array_equal(split.images[:], prepared(folder).images)
    here = sharded(folder)
    input_pipeline.prepare(here, "train", 8)
    for one, other in zip(streamed(data).batches(0, 6), streamed(here).batches(0, 6), strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])
    file = sorted(split.directory.glob("*.tfrecord"))[2]
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    with pytest.raises(UserError, match=f"{file} has .* bytes instead of .*leave_out=train-00002"):
        input_pipeline.load(data, "train", 8)
    file.unlink()
    with pytest.raises(UserError, match=f"{file} is missing"):
        input_pipeline.load(data, "train", 8)
    input_pipeline.prepare(data, "train", 8)
    assert file.read_bytes() == content
    with pytest.raises(UserError, match="no prepared set ram://bucket/else"):
        input_pipeline.load(sharded(folder, shards="ram://bucket/else"), "train", 8)
