"""Trainings that stream a set in shards: of every kind, and resumed bit by bit."""

import shutil

import jax
import numpy as np
import pytest

from stackgan_jax import stages
from stackgan_jax.data import overview
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.training import loop


def leaves(state):
    state = jax.device_get(state)
    return {jax.tree_util.keystr(p): v for p, v in jax.tree_util.tree_leaves_with_path(state)}


@pytest.fixture
def streamed(small_config, runs, tmp_path):
    """kind, **data → the small config of a training that streams the tiny birds from shards."""

    def make(kind, **data):
        needs = {} if kind == "text_encoder" else {"text_encoder": str(runs / "text_encoder")}
        config = small_config(kind, **needs)
        config.data.update(shards=str(tmp_path / "shards"), shard_records=10, **data)
        return config

    return make


@pytest.mark.parametrize("kind", ["stage1", pytest.param("text_encoder", marks=pytest.mark.slow)])
def test_a_streamed_training_resumes_bit_by_bit(kind, streamed, tmp_path, capsys):
    config = streamed(kind)
    with pytest.raises(UserError, match="prepare it with the same options and --mode=prepare"):
        stages.run(config, tmp_path / "unprepared")
    overview.prepare(config)
    assert "images" in capsys.readouterr().out
    train = lambda: loop.train(config, tmp_path / "run", stages.STAGES[kind])
    whole = leaves(train())
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "4")
    resumed = leaves(train())
    assert "Resuming from step 2" in capsys.readouterr().out
    for name, value in whole.items():
        np.testing.assert_array_equal(resumed[name], value, err_msg=name)


def test_features_of_every_picture_are_not_streamed(streamed, tmp_path):
    config = streamed("text_encoder")
    overview.prepare(config)
    config.image.network = "efficientnet_lite0"
    with pytest.raises(UserError, match=r"can't be streamed .* --config.image.network=trained"):
        loop.train(config, tmp_path / "run", stages.STAGES["text_encoder"])
