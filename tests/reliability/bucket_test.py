"""Runs on gs://, which a server stands for that answers as Google Cloud Storage does."""

import importlib.util
import os
import signal

import fake_bucket
import numpy as np
import pytest
import several
from commands import command
from PIL import Image
from programs import Started

from stackgan_jax.runtime import buckets
from stackgan_jax.runtime.errors import UserError

RUN = f"gs://{fake_bucket.BUCKET}/run"


@pytest.fixture
def bucket(tmp_path):
    with fake_bucket.serve(tmp_path) as server:
        yield server


@pytest.fixture
def train(small_config, runs, tmp_path):
    """The options of a small training of Stage I in a workdir, of four steps."""
    config = small_config("stage1", text_encoder=str(runs / "text_encoder"))
    file = several.config_file(config, tmp_path)
    return lambda workdir: [f"--config={file}", f"--workdir={workdir}"]


@pytest.fixture
def there(bucket):
    """What a command prints that must do its work, and finds the bucket."""

    def run(*arguments):
        done = command(*arguments, environment=bucket.environment)
        assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
        return done.stdout

    return run


def drawn(there, workdir, file):
    there("--mode=sample", f"--workdir={workdir}", "--text=a red bird", f"--output={file}")
    return np.asarray(Image.open(file))


@pytest.mark.slow
def test_a_run_in_a_bucket_goes_on_after_a_kill_in_the_middle_of_a_save(
    bucket, there, train, tmp_path
):
    there(*train(tmp_path / "run"))
    whole = drawn(there, tmp_path / "run", tmp_path / "disk.png")

    def kill(method, name):
        if method != "GET" and name.startswith("run/checkpoints/4/state/ocdbt.process_0/"):
            os.kill(started.processes[0].pid, signal.SIGKILL)
        return 0

    bucket.refused = kill
    started = Started([train(RUN)], tmp_path, bucket.environment)
    started.ends()
    assert started.status == -signal.SIGKILL, started.said()
    assert any(name.startswith("run/checkpoints/4/") for name in bucket.files)
    bucket.refused = lambda method, name: 0
    printed = there(*train(RUN))
    assert "Resuming from step 2" in printed and "no seal" not in printed, printed
    np.testing.assert_array_equal(drawn(there, RUN, tmp_path / "bucket.png"), whole)

    shown = there("--mode=info", f"--workdir={RUN}")
    assert "4 of 4, 8 pictures each" in shown and "until 20" in shown and " MB" in shown

    largest = max(
        (name for name in bucket.files if name.startswith("run/checkpoints/4/state/")),
        key=lambda name: len(bucket.files[name]),
    )
    content = bucket.files[largest]
    bucket.write(largest, content[:-9] + bytes(9))
    printed = there(*train(RUN))
    assert f"It is now in {RUN}/damaged_checkpoints" in printed, printed
    assert "Resuming from step 2" in printed
    assert bucket.files[largest.replace("/checkpoints/", "/damaged_checkpoints/")] != content
    np.testing.assert_array_equal(drawn(there, RUN, tmp_path / "again.png"), whole)


@pytest.mark.parametrize(
    ("workdir", "status", "said"),
    [
        ("gs://another/run", 0, "gs://another/run"),
        (RUN, 403, RUN),
    ],
)
def test_a_bucket_that_can_not_be_used_is_one_sentence(bucket, train, workdir, status, said):
    bucket.refused = lambda method, name: status
    done = command(*train(workdir), environment=bucket.environment)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1 and last.startswith("stackgan_jax: "), done.stderr
    assert said in last and "Traceback" not in done.stderr, done.stderr


def test_a_missing_library_is_one_sentence(monkeypatch, tmp_path):
    buckets.require_library(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    buckets.require_library(tmp_path)
    with pytest.raises(UserError, match=r"gs://b/run needs .*pip install -e '.\[gcs\]'"):
        buckets.require_library("gs://b/run")
