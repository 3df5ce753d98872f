"""Configs: every file builds its networks; runs of different configs are distinguished."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ml_collections import ConfigDict

from stackgan_jax.data import registry
from stackgan_jax.runtime import configuration
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.training.game import build
from stackgan_jax.training.run_folder import claim, note

STAGES = ("text_encoder", "stage1", "stage2")


@pytest.mark.parametrize("dataset", list(registry.DATA_SETS))
def test_both_stages_of_every_data_set_build(dataset):
    stage1 = configuration.load("stage1.py", dataset)
    stage2 = configuration.load("stage2.py", dataset)
    game = build(stage2, [stage1])
    assert game.discriminator.size == 4 * game.priors[0].size == 256
    assert stage2.stage1 == f"runs/{stage1.name}"
    encoder = configuration.load("text_encoder.py", dataset)
    assert stage1.text_encoder == f"runs/{encoder.name}"
    assert configuration.text_encoder(stage2) == stage2.stage1  # which keeps its own


@pytest.mark.parametrize("dataset", sorted(registry.DATA_SETS.keys() - {"stackgan_pickles"}))
def test_a_quickstart_of_every_data_set_has_one_path_for_all_stages(dataset):
    config = configuration.load("quickstart.py", dataset)
    config.data.path = "mine"
    assert {config[kind].data.path for kind in STAGES} == {"mine"}
    assert {config[kind].dataset for kind in STAGES} == {dataset}
    assert build(config.stage2, [config.stage1]).discriminator.size == 256


def test_pickles_bring_their_sizes_and_embeddings():
    stages = [configuration.load(f"{kind}.py", "stackgan_pickles") for kind in STAGES]
    encoder, stage1, stage2 = stages
    assert encoder.encoder == "precomputed"
    assert [stage.data.builder_config for stage in stages] == ["76", "76", "304"]
    assert stage1.steps == stage2.steps == 600 * (8_855 // 64)
    assert stage1.generator == configuration.load("stage1.py", "birds").generator


def test_an_unknown_field_is_named():
    config = configuration.load("stage1.py")
    with config.unlocked():
        config.generator.colour = "red"
    with pytest.raises(UserError, match="colour"):
        build(config)


def test_noise_of_another_width_than_stage_ones_is_refused():
    stage1 = configuration.load("stage1.py")
    stage1.training.z_features = 32
    with pytest.raises(UserError, match=r"set --config.training.z_features=32"):
        build(configuration.load("stage2.py"), [stage1])


def test_a_missing_file_an_unknown_data_set_and_no_config_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"no config file stage9.py; choose from .*stage1.py"):
        configuration.load("stage9.py")
    with pytest.raises(UserError, match="'cubs'; choose from synthetic_birds, birds"):
        configuration.load("stage1.py", "cubs")
    with pytest.raises(UserError, match=r"use --config=configs/stage1.py:stackgan_pickles"):
        configuration.load("quickstart.py", "stackgan_pickles")
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(UserError, match="get_config"):
        configuration.load(tmp_path / "empty.py")


def test_survives_being_written_and_read(tmp_path):
    config = configuration.load("text_encoder.py")
    configuration.write(tmp_path / "config.json", config)
    configuration.refuse_another(configuration.read(tmp_path / "config.json"), config, tmp_path)


values = st.one_of(st.integers(), st.booleans(), st.text(max_size=5))
keys = st.text("abc", min_size=1, max_size=3)


@given(st.dictionaries(keys, values, min_size=1), st.data())
def test_any_changed_value_makes_another_run(fields, data):
    key = data.draw(st.sampled_from(sorted(fields)))
    old = ConfigDict({"model": fields, "steps": 1})
    new = ConfigDict({"model": {**fields, key: [fields[key]]}, "steps": 2})
    configuration.refuse_another(old, ConfigDict({"model": fields, "steps": 2}), Path("run"))
    with pytest.raises(UserError, match=rf"model\.{key} \("):
        configuration.refuse_another(old, new, Path("run"))


@pytest.mark.parametrize("kind", STAGES)
def test_a_stage_of_a_quickstart_may_become_longer_and_nothing_else(kind, tmp_path):
    configuration.write(tmp_path / "config.json", configuration.load("quickstart.py"))
    old = configuration.read(tmp_path / "config.json")
    longer = configuration.load("quickstart.py")
    longer[kind].update(steps=20_000, log_every=7)
    longer.data.dir = "elsewhere"
    del old["data"]  # as before there was one for all stages
    configuration.refuse_another(old, longer, Path("run"))
    longer[kind].batch_size = 4
    with pytest.raises(UserError, match=rf"it differs in {kind}.batch_size \("):
        configuration.refuse_another(old, longer, Path("run"))


def test_a_run_that_saved_nothing_may_begin_otherwise(tmp_path):
    config = configuration.load("stage1.py")
    claim(tmp_path, config)
    config.batch_size = 8
    claim(tmp_path, config)
    (tmp_path / "checkpoints" / "100").mkdir(parents=True)
    claim(tmp_path, config)
    config.batch_size = 16
    with pytest.raises(UserError, match=r"belongs to another config: .* batch_size \(8 there"):
        claim(tmp_path, config)


def test_a_start_that_may_yet_be_refused_changes_nothing(tmp_path):
    config = configuration.load("stage1.py")
    claim(tmp_path, config)
    (tmp_path / "checkpoints" / "100").mkdir(parents=True)
    config.data.path = "elsewhere"
    claim(tmp_path, config)
    assert configuration.read(tmp_path / "config.json").data.path != "elsewhere"
    note(tmp_path, config)
    assert configuration.read(tmp_path / "config.json").data.path == "elsewhere"
