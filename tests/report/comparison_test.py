"""The comparison of runs: one table, curves, and marks on scores that can't be compared."""

import shutil

import numpy as np
import pytest
from sample_scores import QUICK, record, stamp

from stackgan_jax.evaluation.records import Record
from stackgan_jax.evaluation.stamps import Score
from stackgan_jax.report import comparison, same_captions
from stackgan_jax.runtime.errors import UserError


def test_scores_that_can_not_be_compared_are_marked():
    runs = {"a": [record(5, 3.0), record(9, 2.0)], "<b>": [record(9, 1.0)]}
    log = [{"step": 4, "seconds": 40.0}, {"step": 10, "seconds": 100.0}]
    assert comparison.seconds_at(log, 5) == pytest.approx(50)
    assert comparison.seconds_at(log, 11) is None
    page = comparison.page(runs, {"a": log, "<b>": []})
    assert page.count("<svg") == 2  # against steps, and against minutes where they are known
    assert "&lt;b&gt;" in page and "<b>1</b>" in page and "not comparable" not in page
    runs["<b>"] = [record(9, 1.0, resize="another")]
    assert "* not comparable, because the runs differ in the resizing: FID" in comparison.text(runs)
    assert "not comparable" in comparison.page(runs, {"a": log, "<b>": []})


def test_a_score_above_that_of_real_pictures_is_not_the_best():
    def scored(value):
        score = Score("r_precision", value, stamp(), real=0.3)
        return [Record.of(9, "quick", 1.0, [score], {})]

    page = comparison.page({"a": scored(0.5), "b": scored(0.2)}, {"a": [], "b": []})
    assert "<b>20.0 % (real 30.0 %)</b>" in page and "<b>50.0 %" not in page


def test_runs_are_shown_side_by_side_for_the_same_captions():
    runs = {"a": [record(9, 2.0)], "b": [record(9, 1.0)]}
    picture = np.zeros((8, 8, 3), np.uint8)
    row = same_captions.Row("a <red> bird", {"a": picture, "b": picture})
    page = comparison.page(runs, {"a": [], "b": []}, [row])
    assert page.count("<img") == 2 and "a &lt;red&gt; bird" in page


@pytest.fixture
def run(runs, tmp_path):
    """A copy of a Stage-I run that a test may write in."""
    return shutil.copytree(runs / "stage1", tmp_path / "run")


def test_a_run_without_checkpoints_is_rejected_before_any_is_evaluated(run, tmp_path):
    (bare := tmp_path / "bare").mkdir()
    shutil.copy(run / "config.json", bare)
    with pytest.raises(UserError, match=r"no checkpoint in .*bare to evaluate"):
        comparison.compare([run, bare], QUICK, tmp_path / "page.html")
    assert not (run / "metrics.json").exists()


@pytest.mark.slow
def test_runs_are_compared(run, runs, tmp_path, capsys):
    stage2 = shutil.copytree(runs / "stage2", tmp_path / "stage2")
    comparison.compare([run, stage2], QUICK, tmp_path / "page.html")
    assert "Joint Fréchet distance" in capsys.readouterr().out
    assert (tmp_path / "page.html").read_text().count("<svg") >= 4
    comparison.compare([run, stage2], QUICK, tmp_path / "page.html")
    assert "Written" not in capsys.readouterr().out  # both were evaluated before
    with pytest.raises(UserError, match="given twice"):
        comparison.compare([run, run], QUICK, tmp_path / "page.html")
