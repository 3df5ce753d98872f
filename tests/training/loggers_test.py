"""Loggers: chosen by name, refused before work, and never the end of a training."""

import errno
import sys
import time
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from stackgan_jax import stages
from stackgan_jax.runtime import configuration
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.training import loggers
from stackgan_jax.training.loggers.guarded import Guarded
from stackgan_jax.training.loggers.run_ids import known_run
from stackgan_jax.training.loggers.tensorboard import TensorBoardLogger


class Kept:
    """A logger that keeps its calls, or fails at the `fails_at`-th."""

    def __init__(self, fails_at=0, error=None):
        self.calls, self.fails_at, self.closed = [], fails_at, False
        self.error = error or ConnectionError("server away")

    def scalars(self, step, values):
        self.calls.append((step, values))
        if len(self.calls) == self.fails_at:
            raise self.error

    def close(self):
        self.closed = True


def test_an_unknown_logger_is_refused_before_anything_is_written(small_config, tmp_path):
    config = small_config("stage1", loggers="tensorboard,wndb")
    with pytest.raises(UserError, match=r"Unknown logger 'wndb'.*choose from tensorboard, wandb"):
        stages.run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_missing_package_is_named_with_its_extra(name, small_config, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    config = small_config("stage1", loggers=f"tensorboard,{name}")
    with pytest.raises(UserError, match=rf"'\.\[{name}\]'`, or set --config.loggers=tensorboard\."):
        stages.run(config, tmp_path / "run")


def test_a_logger_that_fails_is_left_out_with_one_sentence(capsys):
    failing = Kept(fails_at=2)
    guarded = Guarded("mine", failing)
    for step in range(5):
        guarded.do(lambda logger, step=step: logger.scalars(step, {}))
    guarded.close()
    assert [step for step, _ in failing.calls] == [0, 1] and failing.closed
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("The logger mine failed (server away); training goes on without it.")


def test_a_full_disk_stops_the_run_as_elsewhere():
    guarded = Guarded("mine", Kept(1, OSError(errno.ENOSPC, "No space left on device", "/run/x")))
    guarded.do(lambda logger: logger.scalars(0, {}))
    with pytest.raises(OSError, match="No space left"):
        guarded.close()


def test_a_logger_from_outside_gets_the_fields_names(tmp_path, monkeypatch):
    mine = Kept()
    monkeypatch.setitem(loggers.LOGGERS, "mine", loggers.Entry(lambda config, workdir: mine))
    config = configuration.load("stage1.py")
    config.loggers = "mine"
    opened = loggers.Loggers(config, tmp_path)
    opened.scalars(7, {"d_loss": 1, "my_metric": 2.5})
    opened.close()
    assert mine.calls == [(7, {"loss/discriminator": 1.0, "my_metric": 2.5})] and mine.closed


def test_a_logger_that_cant_be_opened_stops_a_new_run_but_not_a_resumed_one(
    tmp_path, monkeypatch, capsys
):
    def refuse(config, workdir):
        raise ConnectionError("server away")

    monkeypatch.setitem(loggers.LOGGERS, "mine", loggers.Entry(refuse))
    config = configuration.load("stage1.py")
    config.loggers = "mine"
    with pytest.raises(UserError, match=r"mine can't be opened \(server away\); leave it out"):
        loggers.Loggers(config, tmp_path)
    (tmp_path / "checkpoints/10").mkdir(parents=True)
    loggers.Loggers(config, tmp_path).close()
    assert "training goes on without it" in capsys.readouterr().out


def test_tensorboard_has_curves_pictures_captions_and_logits(runs):
    events = EventAccumulator(str(runs / "stage1"), size_guidance={"tensors": 0})
    events.Reload()
    tags = set(events.Tags()["tensors"])
    assert {
        "loss/discriminator",
        "loss/KL divergence",
        "diversity/RMS between noises of one caption",
        "preview",
        "captions",
        "logits/real",
        "logits/wrong",
        "logits/fake",
    } <= tags
    steps = [event.step for event in events.Tensors("preview")]
    assert steps == [1, 4]


def log_everything(config, workdir, step):
    opened = loggers.Loggers(config, workdir)
    opened.scalars(step, {"d_loss": step / 10})
    opened.text(step, "captions", "a <red> bird")
    opened.image(step, "preview", np.full((8, 8, 3), step, np.uint8))
    opened.histograms(step, {"logits/real": np.linspace(-1, 1, 21)})
    opened.close()


@pytest.fixture
def small(small_config):
    return lambda name: small_config("stage1", loggers=name)


def test_wandb_logs_offline_and_a_resumed_run_keeps_its_id(small, tmp_path, monkeypatch, capsys):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    log_everything(small("wandb"), tmp_path, step=10)
    (tmp_path / "checkpoints/10").mkdir(parents=True)
    first = known_run(tmp_path, "wandb")
    time.sleep(1)  # wandb names a start's folder by the second.
    log_everything(small("wandb"), tmp_path, step=20)
    assert "failed" not in capsys.readouterr().out
    assert first and known_run(tmp_path, "wandb") == first
    for folder, step in zip(sorted(tmp_path.glob("wandb/offline-run-*")), (10, 20), strict=True):
        written = (folder / f"run-{first}.wandb").read_bytes()
        assert b"loss/discriminator" in written and b"logits/real" in written
        (picture,) = folder.glob("files/media/images/preview_*.png")
        np.testing.assert_array_equal(np.asarray(Image.open(picture)), np.full((8, 8, 3), step))
        (text,) = folder.glob("files/media/html/captions_*.html")
        assert "a &lt;red&gt; bird" in text.read_text()


@pytest.mark.slow
def test_mlflow_logs_to_a_local_store_and_a_resumed_run_goes_on_in_it(
    small, tmp_path, monkeypatch, capsys
):
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    workdir = tmp_path / "run"
    workdir.mkdir()
    log_everything(small("mlflow"), workdir, step=10)
    (workdir / "checkpoints/10").mkdir(parents=True)
    log_everything(small("mlflow"), workdir, step=20)
    assert "failed" not in capsys.readouterr().out
    client = mlflow.MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("stackgan_jax").experiment_id])
    curve = client.get_metric_history(run.info.run_id, "loss/discriminator")
    assert [(point.step, point.value) for point in curve] == [(10, 1.0), (20, 2.0)]
    assert run.data.params["batch_size"] == "8"
    assert run.data.metrics["logits/real/p50"] == 0 and run.info.status == "FINISHED"
    assert {file.path for file in client.list_artifacts(run.info.run_id)} >= {"captions", "images"}


def test_tensorflow_is_given_numbers_of_which_it_keeps_nothing():
    """It keeps 0.8 kB of each of Python's own, which adds up over millions of steps."""
    writer = Mock()
    TensorBoardLogger(writer).scalars(3, {"loss": 1.5})
    step, values = writer.write_scalars.call_args.args
    assert isinstance(step, np.int64) and isinstance(values["loss"], np.float32)
    assert (step, values) == (3, {"loss": 1.5})
