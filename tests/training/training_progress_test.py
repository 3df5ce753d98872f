"""What a run reports: its lines or its bar, its means, and the log of a resumed run."""

import contextlib
import errno
import io
import json
import re
from unittest.mock import Mock

import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from stackgan_jax.runtime import configuration
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.training import metrics_log, previews, progress
from stackgan_jax.training.learner import Preview
from stackgan_jax.training.outlook import Outlook

CONFIG = ConfigDict({"name": "stage1_birds", "steps": 500, "batch_size": 8, "loggers": ""})

PAGE = Preview([[np.zeros((8, 8, 3), np.uint8)]], ["a red bird"], ["Stage I"])


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


def last_lines(terminal):
    """The lines that a closed bar leaves on a terminal."""
    lines = [line.split("\r")[-1].rstrip() for line in terminal.getvalue().split("\n")]
    start = max(n for n, line in enumerate(lines) if "steps done" in line)
    return [line for line in lines[start:] if line]


def metrics(**values):
    return {name: jnp.asarray(value, jnp.float32) for name, value in values.items()}


@pytest.fixture
def run_three_steps(tmp_path):
    """Reports steps 10, 11 and 12 of a run, 11 and 12 in one call; returns its `Progress`."""

    def run(page=None, **options):
        shown = progress.Progress(CONFIG, tmp_path, start=10, **options)
        shown.count(10, 1, metrics(d_loss=1.0, g_loss=2.0, real_probability=0.5))
        if page:
            shown.preview(PAGE)
            shown._previews.check(wait=True)
        pair = metrics(d_loss=[2.0, 6.0], g_loss=[2.0, 2.0], real_probability=[0.5, 0.5])
        assert shown.count(11, 2, pair) == 13
        with shown.halt("log"):
            shown.report()
        shown.close()
        return shown

    return run


def test_a_pipe_gets_a_line_with_all_means_speed_and_remaining_time(run_three_steps, capsys):
    shown = run_three_steps()
    captured = capsys.readouterr()
    first, line = captured.out.splitlines()
    assert first.startswith("First step done, ")
    steps, means, speed, left = line.split(" | ")
    assert steps == "stage1_birds 13/500"
    assert means == "d_loss 3  g_loss 2  real_probability 0.5"
    assert speed.split(" ")[1] == "steps/s," and speed.endswith(" images/s")
    assert left.startswith("ETA ")
    assert not captured.err
    assert shown.means == {"d_loss": 3, "g_loss": 2, "real_probability": 0.5}
    assert len(shown.halts["log"]) == 1 and not shown.halts["save"]


def test_a_terminal_gets_a_bar_with_the_losses_that_matter(run_three_steps):
    terminal = Terminal()
    with contextlib.redirect_stdout(terminal), contextlib.redirect_stderr(terminal):
        run_three_steps()
    bar, below = last_lines(terminal)
    assert bar.startswith("stage1_birds: ") and "13 of 500 steps done" in bar
    assert re.fullmatch(r"ETA \d:\d\d:\d\d \| d_loss 3  g_loss 2", below)
    assert "stage1_birds 13/500" not in terminal.getvalue()


def test_no_line_is_wider_than_the_terminal(run_three_steps, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    terminal = Terminal()
    with contextlib.redirect_stdout(terminal), contextlib.redirect_stderr(terminal):
        run_three_steps(page=True)
    *_, times, newest = last_lines(terminal)
    assert len(times) == len(newest) == 19 and newest.startswith("Newest preview: ")


def test_both_name_the_place_in_a_quickstart_the_whole_time_and_the_newest_preview(
    run_three_steps, capsys
):
    place = Outlook(2, 3, {"stage2": 9_000.0})
    run_three_steps(outlook=place, page=True)
    steps, *_, left, newest = capsys.readouterr().out.splitlines()[-1].split(" | ")
    assert steps == "2/3 stage1_birds 13/500" and newest == "previews/step_0000011.png"
    assert re.fullmatch(r"ETA about \d+:\d\d:\d\d, of it 0:\d\d:\d\d here", left)
    terminal = Terminal()
    with contextlib.redirect_stdout(terminal), contextlib.redirect_stderr(terminal):
        run_three_steps(outlook=place, page=True)
    bar, _, below = last_lines(terminal)
    assert bar.startswith("2/3 stage1_birds: ")
    assert below == "Newest preview: previews/step_0000011.png"


def test_early_previews_come_before_the_first_regular_one():
    assert previews.early(100) == (1, 4, 16, 64)
    assert previews.early(64) == (1, 4, 16)
    assert previews.early(1) == ()


def test_a_file_gets_lines_though_the_bar_could_be_drawn(run_three_steps, capsys):
    with contextlib.redirect_stderr(Terminal()) as terminal:
        run_three_steps()
    assert "stage1_birds 13/500 | " in capsys.readouterr().out
    assert not terminal.getvalue()


def test_another_process_than_the_first_reports_nothing(
    run_three_steps, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(progress.jax, "process_index", lambda: 1)
    assert run_three_steps().means["d_loss"] == 3
    assert not capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_a_metric_that_is_not_finite_is_named_with_its_step(tmp_path):
    config = configuration.load("stage1.py")
    pending = metrics_log.PendingMetrics(config, tmp_path)
    pending.add(10, 11, metrics(d_loss=1.0, g_loss=1.0))
    pending.add(11, 14, metrics(d_loss=[1.0, 1.0, 1.0], g_loss=[1.0, np.inf, np.nan]))
    with pytest.raises(UserError, match=r"g_loss became inf at step 12; .*no checkpoint yet"):
        pending.take_means()
    (tmp_path / "checkpoints/10").mkdir(parents=True)
    pending.add(11, 14, metrics(g_loss=[1.0, np.inf, np.nan]))
    with pytest.raises(UserError, match=r"from the newest with --config.training.learning_rate_sc"):
        pending.take_means()


def test_means_are_taken_over_steps_and_start_again(tmp_path):
    pending = metrics_log.PendingMetrics(configuration.load("stage1.py"), tmp_path)
    assert pending.take_means() == {}
    pending.add(0, 1, metrics(loss=1.0))
    pending.add(1, 3, metrics(loss=[4.0, 7.0]))
    pending.wait()
    assert pending.finished() == 3
    assert pending.take_means() == {"loss": 4.0}
    pending.add(3, 4, metrics(loss=5.0))
    assert pending.take_means() == {"loss": 5.0}
    assert pending.finished() == 4


def test_a_resumed_run_removes_later_lines_and_adds_up_the_seconds(tmp_path):
    first = metrics_log.MetricsLog(tmp_path, start=0)
    for step in (2, 4, 6):
        first.append(step, seconds=10.0 * step, means={"loss": 0.5})
    resumed = metrics_log.MetricsLog(tmp_path, start=4)
    resumed.append(6, seconds=1.5, means={"loss": 0.25})
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["seconds"]) for line in lines] == [(2, 20), (4, 40), (6, 41.5)]
    assert [line["loss"] for line in lines] == [0.5, 0.5, 0.25]
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_a_preview_that_cannot_be_written_names_its_folder(tmp_path, monkeypatch):
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(previews.images, "save_png", Mock(side_effect=full))
    writer = previews.PreviewWriter(tmp_path, None)
    writer.write(PAGE, 1)
    with pytest.raises(UserError, match=rf"{tmp_path}/previews \(No space left on device\); free"):
        writer.close()


def test_the_bar_ends_with_the_last_preview(tmp_path):
    terminal = Terminal()
    with contextlib.redirect_stdout(terminal), contextlib.redirect_stderr(terminal):
        shown = progress.Progress(CONFIG, tmp_path, start=10)
        shown.count(10, 1, metrics(d_loss=1.0))
        shown.preview(PAGE)  # It is written while training continues.
        shown.close()
    assert last_lines(terminal)[-1] == "Newest preview: previews/step_0000011.png"
