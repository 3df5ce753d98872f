"""Config values out of range, of another type or not a number are refused by the field's name."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackgan_jax.data import registry
from stackgan_jax.runtime import config_ranges, configuration
from stackgan_jax.runtime.errors import UserError

FILES = ("text_encoder", "stage1", "stage2", "stage3", "quickstart")


@pytest.mark.parametrize("file", FILES)
def test_every_config_of_the_package_is_within_the_ranges(file):
    for dataset in registry.DATA_SETS:
        if (file, dataset) != ("quickstart", "stackgan_pickles"):
            config_ranges.require(configuration.load(f"{file}.py", dataset))
    config_ranges.require(configuration.load(f"{file}.py", "folder,modern"))


@pytest.mark.parametrize("file", FILES[:-1])
def test_every_number_of_a_config_has_a_range(file):
    numbers = {
        name
        for name, value in configuration.flat(configuration.load(f"{file}.py", "folder")).items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    assert numbers <= config_ranges.RANGES.keys()


WRONG = st.one_of(
    st.sampled_from([float("nan"), float("inf"), -1, -0.5, 10**18, "64", "", True, [], [0], {}]),
    st.text(max_size=4),
)


@given(name=st.sampled_from(sorted(config_ranges.RANGES)), value=WRONG)
def test_a_value_that_is_no_number_of_its_range_is_refused_by_name(name, value):
    section, _, field = name.rpartition(".")
    fields = {section: {field: value}} if section else {field: value}
    with pytest.raises(UserError) as found:
        config_ranges.require(configuration.ConfigDict(fields))
    assert f"config.{name} is " in str(found.value) and "must be a" in str(found.value)


def test_fields_of_ones_own_may_have_any_value():
    config = configuration.load("stage1.py")
    with config.unlocked():
        config.mine = -1
        config.training.mine = float("nan")
    config_ranges.require(config)


def test_a_stage_of_a_quickstart_is_named():
    config = configuration.load("quickstart.py")
    config.stage2.training.kl_weight = float("nan")
    with pytest.raises(
        UserError, match=r"config\.stage2\.training\.kl_weight is nan, .* set --conf"
    ):
        config_ranges.require(config)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda c: c.update(batch_size="64"), "batch_size is '64', but must be a whole number fr"),
        (lambda c: c["training"].update(flip="no"), "training.flip is 'no', but must be true or"),
        (lambda c: c.update(keep=3), "config.keep is 3, but must be the fields of a sec"),
        (lambda c: c.pop("discriminator"), "is not the config of a run .KeyError: 'discriminat"),
    ],
)
def test_a_runs_config_that_was_changed_by_hand_is_refused_by_its_path(change, sentence, tmp_path):
    config = json.loads(configuration.load("stage1.py").to_json_best_effort())
    change(config)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    with pytest.raises(UserError, match=sentence) as found:
        configuration.read(path)
    assert str(path) in str(found.value)


def test_a_runs_config_that_is_cut_off_is_refused_by_its_path(tmp_path):
    (tmp_path / "config.json").write_text('{"kind": "stage1",')
    with pytest.raises(UserError, match=r"config.json can't be read .* restore it from a copy"):
        configuration.read(tmp_path / "config.json")
