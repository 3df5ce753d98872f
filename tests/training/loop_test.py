"""The loop: resuming is exact, stopping saves, NaN stops, and other runs' folders are respected."""

import dataclasses
import json
import os
import shutil
import signal
from pathlib import Path

import jax
import numpy as np
import pytest
import tensorflow as tf
from ml_collections import ConfigDict

from stackgan_jax import stages, text
from stackgan_jax.data import input_pipeline
from stackgan_jax.runtime import configuration, lease, mesh
from stackgan_jax.runtime.errors import Stopped, UserError
from stackgan_jax.training import gan_learner, gan_previews, loop
from stackgan_jax.training.checkpoint import Checkpoints


def leaves(state):
    state = jax.device_get(state)
    return {jax.tree_util.keystr(p): v for p, v in jax.tree_util.tree_leaves_with_path(state)}


def assert_identical(one, other):
    one, other = leaves(one), leaves(other)
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def run(config, workdir):
    return loop.train(config, workdir, stages.STAGES[config.kind])


@pytest.mark.parametrize(
    "kind",
    ["text_encoder", *(pytest.param(k, marks=pytest.mark.slow) for k in ("stage1", "stage2"))],
)
def test_a_stopped_and_resumed_run_equals_an_uninterrupted_one(kind, runs, small_config, tmp_path):
    sources = {"text_encoder": str(runs / "text_encoder"), "stage1": str(runs / "stage1")}
    changes = {key: value for key, value in sources.items() if key != kind}
    if kind == "text_encoder":
        changes = {}
    config = small_config(kind, **changes)
    whole = Checkpoints(runs / kind / "checkpoints")
    assert whole.steps == [2, 4]
    # The text encoder's learning rate depends on `steps`, so the run is stopped, not shortened.
    workdir = tmp_path / kind
    with pytest.raises(Stopped):
        run_until(config, workdir, step=2)
    resumed = run(config, workdir)
    assert_identical(resumed, whole.restore(resumed).state)


def run_until(config, workdir, step):
    """Trains until SIGTERM, which arrives during `step`."""
    real = stages.STAGES[config.kind]

    def create(*arguments):
        learner = real(*arguments)

        def step_then_signal(state, batch):
            if int(state.step) == step:
                os.kill(os.getpid(), signal.SIGTERM)
            return learner.step(state, batch)

        return dataclasses.replace(learner, step=step_then_signal)

    return loop.train(config, workdir, create)


def test_sigterm_saves_the_very_step(runs, small_config, tmp_path):
    config = small_config("stage1", text_encoder=str(runs / "text_encoder"), save_every=100)
    with pytest.raises(Stopped, match="Stopped at step 2, saved in") as stopped:
        run_until(config, tmp_path, step=1)
    assert stopped.value.exit_status == 128 + signal.SIGTERM
    assert Checkpoints(tmp_path / "checkpoints").steps == [2]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.slow
def test_several_steps_in_one_dispatch_from_data_on_the_device_train_as_single_ones(
    runs, small_config, tmp_path, monkeypatch
):
    config = small_config("stage1", text_encoder=str(runs / "text_encoder"), steps_per_dispatch=2)
    config.data.residency = "device"
    monkeypatch.setattr(tf.data.Dataset, "range", None)  # nothing comes through TensorFlow
    state = run(config, tmp_path)
    assert state.step == 4
    assert Checkpoints(tmp_path / "checkpoints").steps == [2, 4]
    assert (tmp_path / "previews/step_0000004.png").is_file()
    # The same batches and noise; but another program rounds otherwise, which Adam soon magnifies.
    first, same = (
        json.loads(next(folder.joinpath("metrics.jsonl").open()))
        for folder in (tmp_path, runs / "stage1")
    )
    assert {**first, "seconds": 0} == pytest.approx({**same, "seconds": 0}, rel=1e-3)


def test_a_run_writes_logs_previews_and_parameters(runs, small_config):
    lines = [json.loads(line) for line in (runs / "stage1/metrics.jsonl").open()]
    assert [line["step"] for line in lines] == [2, 4]
    assert lines[1]["seconds"] > lines[0]["seconds"] > 0
    assert {"d_loss", "g_loss", "kl"} <= lines[0].keys()
    assert (runs / "stage2/previews/step_0000004.png").is_file()
    assert list((runs / "stage2").glob("events.out.tfevents.*"))
    assert "Generator" in (runs / "stage2/parameters.txt").read_text()
    assert (runs / "stage2/text_encoder/encoder.json").is_file()
    assert Checkpoints(runs / "stage1/checkpoints").metrics(4).keys() >= {"d_loss", "g_loss"}


def test_stage_two_holds_stage_one_as_it_was(runs):
    stage1 = Checkpoints(runs / "stage1/checkpoints").restore_part(("ema",)).state["ema"]
    prior = Checkpoints(runs / "stage2/checkpoints").restore_part(("priors",)).state["priors"][0]
    assert_identical(stage1["params"], prior["params"])


def test_an_unfinished_stage_one_is_reported(runs, small_config, tmp_path, capsys):
    unfinished = shutil.copytree(runs / "stage1", tmp_path / "stage1")
    settings = json.loads((unfinished / "config.json").read_text())
    (unfinished / "config.json").write_text(json.dumps(settings | {"steps": 10}))
    config = small_config("stage2", text_encoder=str(runs / "text_encoder"), stage1=str(unfinished))
    workdir = tmp_path / "stage2"
    workdir.mkdir()
    gan_learner.create(config, workdir, mesh.data_mesh(config.batch_size))
    assert "has done 4 of its 10 steps" in capsys.readouterr().out


def test_copies_of_a_failed_start_are_replaced(runs, small_config, tmp_path):
    other = shutil.copytree(runs / "stage1", tmp_path / "other")
    settings = json.loads((other / "config.json").read_text())
    settings["training"]["z_features"] = 5
    (other / "config.json").write_text(json.dumps(settings))
    for seal in other.glob("checkpoints/*/seal.json"):  # They carry the config as it was.
        seal.unlink()
    workdir = tmp_path / "stage2"
    workdir.mkdir()
    make = lambda stage1: gan_learner.create(
        small_config("stage2", text_encoder=str(runs / "text_encoder"), stage1=str(stage1)),
        workdir,
        mesh.data_mesh(8),
    )
    with pytest.raises(UserError, match=r"set --config.training.z_features=5"):
        make(other)
    make(runs / "stage1")
    kept = json.loads((workdir / "stage1.json").read_text())
    assert kept["training"]["z_features"] == 4


def test_a_damaged_config_is_taken_from_the_checkpoint_and_a_changed_one_refused(
    runs, small_config, tmp_path, capsys
):
    damaged = shutil.copytree(runs / "stage1", tmp_path / "damaged")
    path = damaged / "config.json"
    whole = path.read_text()
    path.write_text(whole[:100])
    assert (
        configuration.read(path).to_dict()
        == configuration.read(runs / "stage1/config.json").to_dict()
    )
    assert "the copy in its newest checkpoint is used" in capsys.readouterr().out
    path.write_text(whole.replace('"z_features": 4', '"z_features": 5'))
    with pytest.raises(UserError, match=r"z_features .4 there, 5 here.*Set it back, or delete it"):
        run(small_config("stage1", text_encoder=str(runs / "text_encoder")), damaged)
    path.unlink()
    run(small_config("stage1", text_encoder=str(runs / "text_encoder")), damaged)
    assert json.loads(path.read_text()) == json.loads(whole)


def test_a_damaged_text_encoder_is_copied_again(runs, small_config, tmp_path, capsys):
    damaged = shutil.copytree(runs / "stage1", tmp_path / "damaged")
    own = damaged / "text_encoder"
    arrays = (own / "arrays.npz").read_bytes()
    (own / "arrays.npz").write_bytes(arrays[:-1] + bytes([arrays[-1] ^ 1]))
    with pytest.raises(UserError, match=r"damaged .arrays\.npz isn't as it was written"):
        text.load_encoder(damaged)
    config = small_config("stage1", text_encoder=str(runs / "text_encoder"))
    gan_learner.create(config, damaged, mesh.data_mesh(8))
    assert (own / "arrays.npz").read_bytes() == arrays
    assert "was copied again" in capsys.readouterr().out


def test_previews_show_other_captions_than_each_pictures_first():
    captions = [[f"a photo of {i}", f"bird {i} is red"] for i in range(5)]
    test = input_pipeline.Split(Path(), np.zeros((5, 1)), np.array([1, 0, 1, 0, 2]), captions, {})
    shown = gan_previews.preview_captions(test)
    assert shown == [
        "a photo of 1",
        "bird 0 is red",
        "a photo of 4",
        "bird 2 is red",
        "a photo of 3",
    ]


def test_nan_stops_the_run_and_overwrites_nothing(runs, small_config, tmp_path):
    config = small_config("stage1", text_encoder=str(runs / "text_encoder"))
    real = gan_learner.create

    def create(*arguments):
        learner = real(*arguments)

        def poisoned(state, batch):
            broken = int(state.step) == 2
            state, metrics = learner.step(state, batch)
            return state, {**metrics, "g_loss": metrics["g_loss"] * (np.nan if broken else 1)}

        return dataclasses.replace(learner, step=poisoned)

    with pytest.raises(UserError, match=r"g_loss became nan at step 2; .*learning_rate_scale=0.5"):
        loop.train(config, tmp_path, create)
    assert Checkpoints(tmp_path / "checkpoints").steps == [2]


def test_a_workdir_of_another_config_is_refused(runs, small_config):
    before = (runs / "stage1/config.json").read_text()
    config = small_config("stage1", text_encoder=str(runs / "text_encoder"), batch_size=16)
    with pytest.raises(UserError, match=r"batch_size .8 there, 16 here."):
        run(config, runs / "stage1")
    assert (runs / "stage1/config.json").read_text() == before


def test_a_workdir_that_cant_be_written_is_refused(small_config, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="can't be written"):
        run(small_config("text_encoder"), tmp_path / "file" / "run")


def test_a_missing_stage_one_is_not_started_silently(runs, small_config, tmp_path):
    config = small_config(
        "stage2", text_encoder=str(runs / "text_encoder"), stage1=str(tmp_path / "none")
    )
    with pytest.raises(UserError, match=r"--config=configs/stage1.py.*--workdir="):
        stages.run(config, tmp_path / "run")


def test_batches_that_cant_be_made_are_refused(runs, small_config, tmp_path):
    config = small_config("stage1", text_encoder=str(runs / "text_encoder"), batch_size=64)
    with pytest.raises(UserError, match="more than the data set's 36 images"):
        run(config, tmp_path / "images")
    with pytest.raises(UserError, match="batch_size 12 can't be shared equally by 8 devices"):
        run(small_config("text_encoder", batch_size=12), tmp_path / "devices")


def test_errors_of_a_quickstart_name_options_with_their_stage(small_config, tmp_path, monkeypatch):
    def refuse(*_):
        raise UserError("set --config.batch_size to 36 or less")

    kinds = ("text_encoder", "stage1", "stage2")
    config = ConfigDict({kind: small_config(kind) for kind in kinds})
    monkeypatch.setattr(stages, "train", refuse)
    with pytest.raises(UserError, match=r"set --config\.text_encoder\.batch_size to 36"):
        stages.run(config, tmp_path)


def test_a_run_is_in_training_while_its_text_encoder_trains(small_config, tmp_path, monkeypatch):
    seen = []
    workdir, encoder = tmp_path / "run", tmp_path / "encoder"
    monkeypatch.setattr(
        stages,
        "train",
        lambda config, *_: seen.append((config.kind, lease.is_held(workdir))),
    )
    stages.run(small_config("stage1", text_encoder=str(encoder)), workdir)
    assert seen == [("text_encoder", True), ("stage1", True)]
    assert (workdir / "config.json").exists() and not lease.is_held(workdir)


def test_an_unknown_best_metric_is_rejected_at_the_first_step(small_config, tmp_path):
    config = small_config("text_encoder")
    config.keep.best = "los"
    with pytest.raises(UserError, match=r"Unknown config.keep.best 'los'; choose from .*loss"):
        run(config, tmp_path / "run")
    assert not Checkpoints(tmp_path / "run" / "checkpoints", read_only=True).steps
