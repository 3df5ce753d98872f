"""Runs of several devices and processes: the same results as one, and they end together."""

import json
import os
import signal
import time

import numpy as np
import pytest
import several
from PIL import Image

from stackgan_jax.runtime import processes
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.training.checkpoint import Checkpoints


@pytest.fixture(scope="module", autouse=True)
def compiled_once(tmp_path_factory):
    """Makes the processes of all tests share their compiled programs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path_factory.mktemp("compiled")))
        patch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        yield


@pytest.fixture(scope="module")
def encoder(small_config, tmp_path_factory):
    """A workdir with a text encoder, trained by one process on one device."""
    folder = tmp_path_factory.mktemp("encoder")
    config = several.config_file(small_config("text_encoder", log_every=1), folder)
    run_to_the_end(1, 1, config, folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def stage1(small_config, encoder, tmp_path_factory):
    """A config of Stage I, and the workdir where one process on one device has trained it."""
    folder = tmp_path_factory.mktemp("stage1")
    config = small_config("stage1", text_encoder=str(encoder), log_every=1)
    config = several.config_file(config, folder)
    run_to_the_end(1, 1, config, folder / "run")
    return config, folder / "run"


def run_to_the_end(count, devices, config, workdir, *flags):
    statuses, outputs = several.Run(count, devices, config, workdir, *flags).ended()
    assert statuses == [0] * count, "\n".join(outputs)
    return outputs


def assert_same_run(workdir, expected, tolerance=1e-5):
    ours, theirs = several.log(workdir), several.log(expected)
    assert [line["step"] for line in ours] == [line["step"] for line in theirs]
    for mine, other in zip(ours, theirs, strict=True):
        for name in other:
            assert mine[name] == pytest.approx(other[name], rel=tolerance, abs=tolerance), name
    pages = sorted((expected / "previews").iterdir())
    assert pages
    for page in pages:
        drawn = np.asarray(Image.open(workdir / "previews" / page.name), int)
        assert np.abs(drawn - np.asarray(Image.open(page), int)).max() <= 1


@pytest.mark.slow
@pytest.mark.parametrize(("count", "devices"), [(1, 4), (1, 8), (2, 2), (4, 1)])
def test_more_devices_and_processes_do_not_change_the_run(count, devices, stage1, tmp_path):
    config, expected = stage1
    outputs = run_to_the_end(count, devices, config, tmp_path / "run")
    assert_same_run(tmp_path / "run", expected)
    assert not any("steps/s" in output for output in outputs[1:])  # Only process 0 reports.


@pytest.mark.slow
def test_a_split_state_of_two_processes_resumes_whole_on_four(stage1, tmp_path):
    config, expected = stage1
    split = "--config.shard_state=true"
    run_to_the_end(2, 2, config, tmp_path, split, "--config.steps=2")
    run_to_the_end(4, 1, config, tmp_path)
    assert_same_run_but_for_previews_midway(tmp_path, expected)


def assert_same_run_but_for_previews_midway(workdir, expected):
    (workdir / "previews/step_0000002.png").unlink()
    assert_same_run(workdir, expected)


@pytest.mark.slow
def test_sigterm_to_one_process_stops_all_at_the_same_step(small_config, tmp_path):
    config = small_config("text_encoder", steps=10**6, log_every=1, save_every=10**6)
    run = several.Run(2, 1, several.config_file(config, tmp_path), tmp_path / "run")
    run.wait_for_line("text_encoder 2/")
    run.processes[1].send_signal(signal.SIGTERM)
    statuses, outputs = run.ended(timeout=120)
    (step,) = Checkpoints(tmp_path / "run/checkpoints").steps
    assert statuses == [128 + signal.SIGTERM] * 2, "\n".join(outputs)
    assert all(f"Stopped at step {step:,}, saved in" in output for output in outputs)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_others_with_a_sentence(victim, small_config, tmp_path):
    config = several.config_file(small_config("text_encoder", steps=10**6, log_every=1), tmp_path)
    run = several.Run(2, 1, config, tmp_path / "run", "--peer_timeout=15")
    run.wait_for_line("text_encoder 5/")
    run.kill_child(victim)
    began = time.monotonic()
    statuses, outputs = run.ended(timeout=120)
    assert time.monotonic() - began < 60  # --peer_timeout=15, on a busy machine
    assert statuses == [1, 1]
    last = [output.splitlines()[-1] for output in outputs]
    assert "was ended by SIGKILL, perhaps because memory ran out" in last[victim]
    assert "so this one ended too. Start all processes again" in last[1 - victim]
    checkpoints = Checkpoints(tmp_path / "run/checkpoints")
    assert checkpoints.latest >= 2
    assert np.isfinite(checkpoints.metrics()["loss"])
    again = several.Run(1, 2, config, tmp_path / "run")
    again.wait_for_line(f"Resuming from step {checkpoints.latest}")
    again.wait_for_line("steps/s")
    again.processes[0].kill()


@pytest.mark.slow
@pytest.mark.parametrize("cluster", [None, several.slurm])
def test_processes_with_different_settings_end_and_name_them(cluster, small_config, tmp_path):
    config = several.config_file(small_config("text_encoder"), tmp_path)
    own = [[], ["--config.batch_size=4"]]
    run = several.Run(2, 1, config, tmp_path / "run", own=own, cluster=cluster)
    statuses, outputs = run.ended(timeout=120)
    assert statuses == [1, 1]
    for output in outputs:
        assert "batch_size is 8 in process 0, 4 in process 1" in output
        assert "Traceback" not in output
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_workdir_that_the_processes_do_not_share_is_rejected(small_config, tmp_path):
    config = several.config_file(small_config("text_encoder"), tmp_path)
    homes = [tmp_path / "one", tmp_path / "other"]
    for home in homes:
        home.mkdir()
    statuses, outputs = several.Run(2, 1, config, "run", cwd=homes).ended(timeout=120)
    assert statuses == [1, 1]
    for output in outputs:
        assert "Process 1: the workdir run is not the folder that process 0 has" in output


@pytest.mark.slow
def test_a_coordinator_that_does_not_answer_is_reported(small_config, tmp_path):
    config = several.config_file(small_config("text_encoder"), tmp_path)
    own = [["--peer_timeout=1", "--process_id=1"]]
    flags = ["--coordinator=localhost:1", "--num_processes=2"]
    statuses, outputs = several.Run(1, 1, config, tmp_path, *flags, own=own).ended(timeout=120)
    assert statuses == [1]
    assert "No process 0 answered at --coordinator=localhost:1 for 5 s" in outputs[0]


def disagreement(*facts):
    """Returns the error of `agree` when the processes have these facts, or ""."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "gather", lambda text: [json.dumps(each) for each in facts])
        try:
            processes.agree(facts[0])
        except UserError as error:
            return str(error)
    return ""


def test_a_disagreement_names_values_and_processes():
    assert not disagreement({"seed": 0}, {"seed": 0})
    sentence = disagreement(
        {"seed": 0, "new": 1}, {"seed": 1}, {"seed": 0, "new": 1}, {"seed": 1, "new": 1}
    )
    assert "seed is 0 in processes 0, 2, 1 in processes 1, 3" in sentence
    assert "new is 1 in processes 0, 2, 3, 'absent' in process 1" in sentence


def test_one_process_agrees_with_itself_and_raises_its_own_problem():
    processes.agree({"seed": 0})
    processes.raise_in_all("")
    with pytest.raises(UserError, match="no disk"):
        processes.raise_in_all("no disk")


def test_one_process_stops_for_either_signal():
    for number in (signal.SIGINT, signal.SIGTERM):
        with processes.StopRequests() as stop:
            assert not stop.agreed()
            os.kill(os.getpid(), number)
            assert stop.agreed() == number
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
