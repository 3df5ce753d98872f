"""Evaluation of runs: the same scores twice, missing networks, evaluation during training."""

import dataclasses
import shutil

import pytest
from sample_scores import QUICK

from stackgan_jax import sample, stages
from stackgan_jax.evaluation import evaluate, records
from stackgan_jax.evaluation import runs as evaluation_runs
from stackgan_jax.evaluation.during_training import in_training
from stackgan_jax.runtime import configuration
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.training.checkpoint import Checkpoints


@pytest.mark.slow
def test_a_run_gets_the_same_scores_twice(run, colours):
    first = evaluate.of_run(run, QUICK | {"inception": "x"})
    assert set(first.scores) >= {"fid", "inception_score", "precision", "r_precision"}
    assert set(first.scores) >= {"joint_frechet_distance", "caption_to_image"}
    assert first.scores["fid"].stamp.step == 4 and first.scores["fid"].stamp.generated == 160
    assert first.scores["fid"].stamp.real == 12 and first.scores["r_precision"].real is not None
    read = sum(colours)
    second = evaluate.of_run(run, QUICK | {"inception": "x"})
    assert second.scores == first.scores
    assert sum(colours) - read == 160  # the features of the real pictures were kept
    (stored,) = records.read(run / "metrics.json")
    assert stored.scores == first.scores
    assert "R-precision" in (run / "metrics.txt").read_text()
    assert list(run.glob("events.out.tfevents.*"))
    other = evaluate.of_run(run, QUICK | {"inception": "x", "seed": 1})
    assert other.scores["fid"].value != first.scores["fid"].value
    truncated = evaluate.of_run(run, QUICK | {"inception": "x", "truncation": 0.1})
    assert truncated.scores["fid"].value != first.scores["fid"].value
    assert len(records.read(run / "metrics.json")) == 3


@pytest.mark.slow
def test_all_devices_give_the_scores_of_one(run, monkeypatch):
    together = evaluate.of_run(run, QUICK).scores
    monkeypatch.setattr(sample.Sampler, "on_all_devices", lambda sampler: sampler)
    alone = evaluate.of_run(run, QUICK).scores
    values = [{name: score.value for name, score in each.items()} for each in (together, alone)]
    assert values[0] == pytest.approx(values[1], rel=1e-6, abs=1e-6)


def test_without_inception_there_is_no_fid(run):
    done = evaluate.of_run(run, QUICK)
    assert "fid" not in done.scores and "pytorch-fid" in done.left_out["fid"]
    assert "not FID" in done.scores["joint_frechet_distance"].stamp.definition


def test_a_run_without_networks_is_scored_by_its_pixels(run):
    for name in ("image_tower.npz", "scoring_tower.npz", "seal.json"):
        (run / "text_encoder" / name).unlink(missing_ok=True)
    done = evaluate.of_run(run, QUICK)
    assert set(done.scores) == {"sharpness", "combs", "spread"}
    assert "pytorch-fid" in done.left_out["fid"]
    assert "has no image tower" in done.left_out["r_precision"]
    stamp = done.scores["spread"].stamp
    assert f"{stamp.generated // 4} test images, 4 pictures each" in stamp.captions
    assert 2 <= stamp.generated // 4 <= 12 and done.scores["spread"].real == 1


def test_a_run_without_checkpoints_is_rejected(run):
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(UserError, match=r"no checkpoint in .* to evaluate; train it first"):
        evaluate.of_run(run, QUICK)
    with pytest.raises(UserError, match=r"no checkpoint in .*, and it is not in training"):
        evaluate.follow(run, QUICK)
    assert not (run / "checkpoints").exists()


@pytest.mark.parametrize(
    ("keep", "every", "sentence"),
    [
        ({"best": "joint_frechet_distance"}, 0, "needs evaluations in training: set config.eval"),
        ({"best": "r_precision"}, 2, "better the higher it is; set --config.keep.best_mode=max"),
        ({"best": "fid"}, 2, "fid won't be measured: FID needs .*, or choose from joint_frechet"),
        ({"best": "colour_accuracy", "best_mode": "max"}, 2, "accuracy isn't measured here"),
        ({"best": "los"}, 0, "Unknown .*'los'; choose from d_loss, .*eval.every=2, from fid, kid"),
    ],
)
def test_a_best_checkpoint_by_a_metric_that_is_not_measured_is_rejected(keep, every, sentence, run):
    config = configuration.read(run / "config.json")
    config.keep.update(keep)
    config.eval.update(every=every, attributes=False)
    with pytest.raises(UserError, match=sentence):
        in_training(config, run)


@pytest.mark.slow
def test_training_evaluates_its_run_and_keeps_the_best_checkpoint(
    small_config, runs, tmp_path, monkeypatch
):
    config = small_config(
        "stage1", steps=6, save_every=100, text_encoder=str(runs / "text_encoder")
    )
    config.keep.update(newest=1, best="joint_frechet_distance")
    config.eval.update(QUICK | {"every": 2})
    values = iter((3.0, 1.0, 2.0))
    of = evaluation_runs.Evaluation.of

    def ordered(self, sampler, abandoned):
        done = of(self, sampler, abandoned)
        score = done.scores["joint_frechet_distance"]
        scores = {score.name: dataclasses.replace(score, value=next(values))}
        return dataclasses.replace(done, scores=scores)

    monkeypatch.setattr(evaluation_runs.Evaluation, "of", ordered)
    stages.run(config, tmp_path / "run")
    assert Checkpoints(tmp_path / "run" / "checkpoints").steps == [4, 6]
    assert [r.step for r in records.read(tmp_path / "run" / "metrics.json")] == [2, 4, 6]
    monkeypatch.undo()
    best = records.read(tmp_path / "run" / "metrics.json")[1]
    stored = best.scores["joint_frechet_distance"]
    again = evaluate.of_run(tmp_path / "run", {}).scores["joint_frechet_distance"]
    assert again.stamp == stored.stamp  # of the best checkpoint, as in training
