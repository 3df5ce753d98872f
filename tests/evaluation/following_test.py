"""--follow: each checkpoint of a run in training is evaluated, until training ends."""

import shutil
import threading
import time

import pytest
from sample_scores import QUICK, record, stamp

from stackgan_jax.evaluation import evaluate, inception_weights, records
from stackgan_jax.evaluation.records import Record
from stackgan_jax.evaluation.stamps import Score
from stackgan_jax.runtime import lease
from stackgan_jax.runtime.errors import UserError

EVALUATED = "quick, changed: images 160, attributes False, independent False"  # QUICK's protocol


def test_each_checkpoint_is_evaluated_until_training_ends(run, monkeypatch, capsys):
    monkeypatch.setattr(evaluate, "POLL", 0.05)
    shutil.move(run / "checkpoints" / "4", run / "later")  # not yet saved
    following = threading.Thread(target=evaluate.follow, args=(run, QUICK))
    with lease.hold(run):
        following.start()
        wait_until(lambda: [r.step for r in records.read(run / "metrics.json")] == [2])
        time.sleep(0.3)
        assert following.is_alive()
        shutil.move(run / "later", run / "checkpoints" / "4")
        wait_until(lambda: len(records.read(run / "metrics.json")) == 2)
        assert following.is_alive()
    following.join(timeout=30)
    assert not following.is_alive()
    assert "has ended" in capsys.readouterr().out
    evaluate.follow(run, QUICK)  # nothing is left to do
    assert capsys.readouterr().out.count("Written") == 0


def test_a_quickstart_is_followed_from_its_last_stage_on(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(evaluate, "POLL", 0.05)
    for step in (2, 4):
        records.add(run, record(step, 1.0, EVALUATED))
    quickstart = tmp_path / "quickstart"
    quickstart.mkdir()
    (quickstart / "config.json").write_text('{"stage2": {"kind": "stage2"}}')
    returned = []
    following = threading.Thread(target=lambda: returned.append(evaluate.follow(quickstart, QUICK)))
    with lease.hold(quickstart):
        following.start()
        time.sleep(0.3)
        assert following.is_alive()
        shutil.move(run, quickstart / "stage2")
        time.sleep(0.3)
        assert following.is_alive()
    following.join(timeout=30)
    assert returned == [None]
    output = capsys.readouterr().out
    assert "Waiting for the last stage" in output and "ended at step 4 of 4" in output


def test_missing_weights_are_rejected_before_the_first_checkpoint(run):
    shutil.rmtree(run / "checkpoints")
    with lease.hold(run), pytest.raises(UserError, match=r"There is no file none\.pth"):
        evaluate.follow(run, QUICK | {"inception": "none.pth"})


def test_checkpoints_without_fid_are_scored_again_with_inception(run, monkeypatch):
    for step in (2, 4):
        without = Record.of(step, EVALUATED, 1.0, [Score("kid", 0.1, stamp(step=step))], {})
        records.add(run, without)
    scored = []
    monkeypatch.setattr(evaluate, "prepared", lambda *_: "evaluation")
    monkeypatch.setattr(evaluate, "_follow_one", lambda _, step, published: scored.append(step))
    monkeypatch.setattr(inception_weights, "load", lambda path: None)
    evaluate.follow(run, QUICK)
    assert scored == []
    evaluate.follow(run, QUICK | {"inception": "x"})
    assert scored == [4, 2]  # each once, whether or not it could be given a FID


def wait_until(true, seconds=120):
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.05)
