"""Paths of runs: local folders and gs:// folders are accepted, other schemes rejected."""

from pathlib import Path

import pytest

from stackgan_jax.data import input_pipeline
from stackgan_jax.report import build
from stackgan_jax.runtime import paths
from stackgan_jax.runtime.errors import UserError


def test_a_local_folder_is_a_path_and_other_schemes_are_rejected():
    assert paths.folder("runs/birds") == Path("runs/birds")
    with pytest.raises(UserError, match="local folder, or one on gs://"):
        paths.folder("ftp://birds")


def test_a_gs_path_keeps_its_two_slashes():
    folder = paths.folder("gs://bucket/birds")
    assert str(folder / "checkpoints") == "gs://bucket/birds/checkpoints"
    assert str(paths.absolute(folder)) == str(folder)
    assert paths.absolute("runs") == Path("runs").absolute()


def test_gs_paths_are_rejected_where_a_local_disk_is_needed(small_config):
    config = small_config("stage1")
    config.data.dir = "gs://bucket/data"
    with pytest.raises(UserError, match=r"config.data.dir is gs://bucket/data, but has to be"):
        input_pipeline.load(config.data, "train", 19)
    with pytest.raises(UserError, match=r"--workdir is gs://bucket/birds"):
        build.write("gs://bucket/birds")
