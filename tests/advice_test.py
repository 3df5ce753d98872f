"""Advice works when it is followed: each sentence's own options and commands, carried out."""

import re
import shlex
import shutil
import subprocess

import commands
import jax.numpy as jnp
import numpy as np
import pytest
from picture_folders import data_config, picture, write_files, write_numbered_pictures

from stackgan_jax import sheets, stages
from stackgan_jax.data import batches, input_pipeline, registry
from stackgan_jax.evaluation import during_training
from stackgan_jax.runtime import compilation, config_ranges, configuration, entry_point, mesh, paths
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.training import game, gan_learner, metrics_log, preconditions
from stackgan_jax.training.run_folder import claim

OPTION = re.compile(r"--config\.(?P<name>[\w.]+)(?:=| to )(?P<value>[^\s`,;)]+)")


def change(config, name, value):
    """What --config.NAME=VALUE does."""
    *sections, field = name.split(".")
    for section in sections:
        config = config[section]
    config[field] = {bool: lambda v: v == "True", int: int, float: float}.get(
        type(config[field]), str
    )(value)


def followed(sentence, config):
    """The config with the first option that a sentence advises."""
    found = OPTION.search(sentence)
    change(config, found["name"], found["value"].rstrip("."))
    return config


def complaint(action, *arguments):
    with pytest.raises(UserError) as raised:
        action(*arguments)
    return str(raised.value)


def _of_other_noise(config):
    stage1 = configuration.load("stage1.py")
    stage1.training.z_features = 5
    game.build(config, [stage1])


def _matched_by_features(config):
    gan_learner.require_matcher(game.build(config), "efficientnet_lite0", 160)


def _of_a_large_batch(config):
    count = 24
    offsets = batches.CaptionEmbeddings(jnp.zeros((count, 4)), jnp.arange(count + 1))
    pictures = jnp.zeros((count, 8, 8, 3), jnp.uint8)
    batches.image_text(pictures, jnp.zeros(count, int), offsets, config.batch_size, 1, 0)


SITUATIONS = {
    "another noise than Stage I's": ("stage2", {}, _of_other_noise),
    "groups that the half of a batch can't share": (
        "stage1",
        {"batch_size": 16, "training.batch_norm_groups": 16, "training.diversity_weight": 1.0},
        game.build,
    ),
    "a batch that eight devices can't share": (
        "stage1",
        {"batch_size": 13},
        lambda config: mesh.data_mesh(config.batch_size),
    ),
    "a batch of more than there are": ("stage1", {"batch_size": 32}, _of_a_large_batch),
    "the best of what is not measured": (
        "stage1",
        {"keep.best": "joint_frechet_distance"},
        during_training.require_possible,
    ),
    "the best in the wrong direction": (
        "stage1",
        {"keep.best": "r_precision", "eval.every": 2},
        during_training.require_possible,
    ),
    "features that can't match": (
        "stage1",
        {"training.matching_weight": 1.0},
        _matched_by_features,
    ),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_option_of_a_sentence_removes_its_cause(situation):
    kind, changes, action = SITUATIONS[situation]
    config = configuration.load(f"{kind}.py")
    for name, value in changes.items():
        change(config, name, value)
    action(followed(complaint(action, config), config))


@pytest.mark.parametrize("kind", ["stage1", "stage2", "text_encoder"])
def test_every_remedy_for_little_memory_is_a_value_of_that_config(kind):
    config = configuration.load(f"{kind}.py")

    def fill():
        with compilation.readable_out_of_memory(config):
            raise MemoryError

    remedies = list(OPTION.finditer(complaint(fill)))
    assert len(remedies) >= 3
    for remedy in remedies:
        change(config, remedy["name"], remedy["value"].rstrip("."))
    config_ranges.require(config)


def test_damaged_pictures_are_allowed_as_the_sentence_says(tmp_path):
    folder = write_numbered_pictures(tmp_path / "mine", 40)
    write_files(folder, {"000.png": picture(0)[:40], "001.png": picture(1)[:40]})
    config = configuration.load("stage1.py", "folder")
    config.data = data_config(folder, max_damaged=0.01)
    load = lambda config: input_pipeline.load(config.data, "train", 8)
    load(followed(complaint(load, config), config))


def test_a_missing_stage_is_trained_by_the_command_of_the_sentence(tmp_path, monkeypatch):
    begun = []
    monkeypatch.setattr(
        stages, "train", lambda config, workdir, *_: begun.append((config, workdir))
    )
    monkeypatch.setattr(preconditions, "require_pretrained", lambda _: None)  # may be missing here
    mine = write_numbered_pictures(tmp_path / "my pictures", 8)
    config = configuration.load("stage2.py", "folder,modern")
    config.data.path, config.stage1 = str(mine), str(tmp_path / "first run")
    sentence = complaint(stages.run, config, tmp_path / "second")
    command = shlex.split(re.search("`(.+)`", sentence)[1])
    assert command[:3] == ["python", "-m", "stackgan_jax.main"]
    options = dict(each[2:].split("=", 1) for each in command[3:])
    file, argument = options.pop("config").split(":")
    stage1 = configuration.load(file, argument)
    assert options.pop("workdir") == config.stage1
    for name, value in options.items():
        change(stage1, name.removeprefix("config."), value)
    assert stage1.recipe == "modern" and stage1.kind == "stage1"
    assert registry.source(stage1.data).count("train")


@pytest.mark.parametrize("kind", ["stage1", "text_encoder"])
def test_a_run_whose_loss_became_nan_goes_on_more_slowly(kind, small_config, tmp_path):
    config = small_config(kind)
    claim(tmp_path, config)
    (tmp_path / "checkpoints/2").mkdir(parents=True)
    pending = metrics_log.PendingMetrics(config, tmp_path)
    pending.add(3, 4, {"loss": jnp.asarray(jnp.nan)})
    slower = followed(complaint(pending.take_means), config.copy_and_resolve_references())
    claim(tmp_path, slower)  # which is not another config
    section = "training" if kind == "stage1" else "joint"
    assert slower[section].learning_rate_scale == 0.5
    assert "another config" in complaint(claim, tmp_path, _with_seed(config))


def _with_seed(config):
    other = config.copy_and_resolve_references()
    other.seed += 1
    return other


def test_half_the_scale_is_half_the_learning_rate(small_config):
    rates = []
    for scale in (1.0, 0.5):
        config = small_config("stage1")
        config.training.learning_rate_scale = scale
        moves = game.build(config).optimisation
        rates += [float(moves.schedule(moves.generator_learning_rate)(0))]
    assert rates[1] == rates[0] / 2


def test_a_folder_that_is_missing_can_be_made_as_the_sentence_says(tmp_path):
    page = tmp_path / "new folder" / "page.png"
    sentence = complaint(paths.output_file, page, "--output", "samples.png")
    command = re.search("`(.+)`", sentence)[1]
    assert command.startswith("mkdir -p ")
    subprocess.run(shlex.split(command), check=True)
    assert paths.output_file(page, "--output", "samples.png") == page
    assert paths.output_file(page.parent, "--output", "samples.png").name == "samples.png"


@pytest.mark.parametrize("name", ["page.jpg", "page.PNG", "page.webp"])
def test_a_page_is_written_in_the_format_of_its_name(name, tmp_path):
    page = np.zeros((8, 9, 3), np.uint8)
    sheets.save(sheets.output_file(tmp_path / name), page, {})
    kinds = {"jpg": b"\xff\xd8", "PNG": b"\x89P", "webp": b"RI"}
    assert (tmp_path / name).read_bytes().startswith(kinds[name.partition(".")[2]])


def test_an_unknown_format_is_refused_with_those_there_are(tmp_path):
    sentence = complaint(sheets.output_file, tmp_path / "page.doc")
    for suffix in re.search("ends in (.+), or a folder", sentence)[1].split(", "):
        sheets.output_file(tmp_path / f"page{suffix}")


def test_after_ctrl_c_the_sentence_is_true_of_every_mode(capsys, monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(entry_point.flags, "FLAGS", {"verbosity": type("F", (), {"present": True})})
    with pytest.raises(SystemExit):
        entry_point.run(interrupted)
    assert "training resumes from its newest checkpoint" in capsys.readouterr().err


@pytest.mark.parametrize("mode", ["evaluate", "report"])
@pytest.mark.slow
def test_a_run_whose_data_moved_is_read_where_the_option_says(mode, runs, data_dir, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(runs / "stage1", run)
    config = configuration.read(run / "config.json")
    config.data.dir = "/proc/none"
    configuration.write(run / "config.json", config)
    command = (f"--mode={mode}", f"--workdir={run}")
    command += ("--config.eval.images=16",) if mode == "evaluate" else ()
    failed = commands.command(*command)
    assert failed.returncode == 1 and failed.stderr.count("\n") == 1
    (option,) = re.findall(r"--config\.data\.dir", failed.stderr)
    done = commands.command(*command, f"{option}={data_dir}")
    assert done.returncode == 0, done.stderr


def test_an_evaluation_takes_the_folder_that_its_sentence_asks_for(small_config, tmp_path):
    mine = write_numbered_pictures(tmp_path / "mine", 8)
    run, moved = tmp_path / "run", tmp_path / "moved"
    config = small_config("stage1")
    with config.unlocked():
        config.data = data_config(mine)
    write_files(run, {"checkpoints/4/state": b""})
    configuration.write(run / "config.json", config)
    mine.rename(moved)
    failed = commands.command("--mode=evaluate", f"--workdir={run}")
    assert "does not exist" in failed.stderr
    (option,) = re.findall(r"--config\.data\.path", failed.stderr)
    found = commands.command("--mode=evaluate", f"--workdir={run}", f"{option}={moved}")
    assert "There is no text encoder in" in found.stderr  # the data were found
