"""Evaluation: complete stamps, the same numbers twice, folders, runs, a training followed."""

import dataclasses
import json
import shutil
import threading
import time

import numpy as np
import pytest
from PIL import Image

from stackgan_jax import stages
from stackgan_jax.data import images
from stackgan_jax.evaluation import (
    evaluate,
    inception_weights,
    protocols,
    readers,
    records,
    stamps,
)
from stackgan_jax.evaluation.during_training import in_training
from stackgan_jax.evaluation.folders import Folder
from stackgan_jax.evaluation.records import Record
from stackgan_jax.evaluation.stamps import Score, Stamp
from stackgan_jax.report import comparison
from stackgan_jax.runtime import configuration
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.training import run_folder
from stackgan_jax.training.checkpoint import Checkpoints

QUICK = {"attributes": False, "images": 160}


class Colours:
    """In Inception's place: averages over fields of a picture, as many numbers as pleases."""

    resize, dtype = "clean", "float32"

    def __call__(self, pictures):
        size = pictures.shape[1] // 4
        fields = pictures[:, : 4 * size, : 4 * size].reshape(-1, 4, size, 4, size, 3)
        numbers = fields.mean(axis=(2, 4)).reshape(len(pictures), -1) / 64
        return {"2048": numbers.astype(np.float32), "logits_unbiased": numbers[:, :10]}


@pytest.fixture
def colours(monkeypatch):
    """Notes how many pictures each reading was of."""
    seen = []

    class Reader(readers.InceptionReader):
        def read(self, pictures):
            seen.append(len(pictures))
            return super().read(pictures)

    weights = inception_weights.Weights(None, "colours.pth", "5" * 64)
    monkeypatch.setattr(
        readers.InceptionReader, "of", classmethod(lambda cls, protocol: Reader(weights, Colours()))
    )
    return seen


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setattr(evaluate, "CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path):
    """name, count, size, seed → a folder of noise."""

    def make(name, count=40, size=16, seed=0):
        made = tmp_path / name
        made.mkdir()
        pixels = np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), np.uint8)
        for number, picture in enumerate(pixels):
            images.save_png(made / f"{number:03}.png", picture)
        return made

    return make


@pytest.fixture
def run(runs, tmp_path):
    """A copy of a Stage-I run that a test may write in."""
    return shutil.copytree(runs / "stage1", tmp_path / "run")


def stamp(**changes):
    fields = {field.name: "told" for field in dataclasses.fields(Stamp)}
    fields |= {"generated": 9, "real": 9, "step": 3, "versions": {"python": "3"}}
    return Stamp(**fields | changes)


def record(step, value, protocol="quick", **changes):
    score = Score("fid", value, stamp(step=step, **changes))
    return Record.of(step, protocol, 1.0, [score], {})


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Stamp)])
def test_a_score_without_a_complete_stamp_does_not_exist(field):
    for nothing in (None, "", {}):
        with pytest.raises(ValueError, match=f"needs its {field}"):
            stamp(**{field: nothing})
    stored = Score("fid", 1.0, stamp()).as_json()
    assert Score.from_json(stored) == Score("fid", 1.0, stamp())
    del stored["stamp"][field]
    with pytest.raises(TypeError):
        Score.from_json(stored)


def test_a_table_tells_every_field_of_every_stamp():
    one = Score("fid", 12.3456, stamp(resize="this resize"))
    two = Score("r_precision", 0.123, stamp(resize="that resize", generated=4321), real=0.5)
    told = stamps.table([one, two], {"kid": "too few"})
    assert "FID" in told and "12.35" in told and "12.3 %" in told and "50.0 %" in told
    assert all(field.name in told for field in dataclasses.fields(Stamp))
    assert "this resize" in told and "that resize" in told and "4,321" in told
    assert "KID: too few" in told
    with pytest.raises(TypeError, match="no stamp"):
        Score("fid", 1.0, None)


def test_a_damaged_or_stampless_record_is_refused(tmp_path):
    records.add(tmp_path, record(5, 1.0))
    stored = json.loads((tmp_path / "metrics.json").read_text())
    del stored["evaluations"][0]["scores"]["fid"]["stamp"]["sha256"]
    (tmp_path / "metrics.json").write_text(json.dumps(stored))
    with pytest.raises(UserError, match="no complete stamp"):
        records.read(tmp_path / "metrics.json")


def test_records_are_replaced_by_step_and_keep_what_the_same_weights_scored(tmp_path):
    records.add(tmp_path, record(5, 1.0, checkpoint="a"))
    records.add(tmp_path, record(9, 2.0, checkpoint="b"))
    only_kid = Record.of(5, "quick", 1.0, [Score("kid", 0.1, stamp(checkpoint="a"))], {})
    records.add(tmp_path, only_kid)
    first, second = records.read(tmp_path / "metrics.json")
    assert set(first.scores) == {"fid", "kid"} and second.scores["fid"].value == 2.0
    other_weights = Record.of(5, "quick", 1.0, [Score("kid", 0.2, stamp(checkpoint="c"))], {})
    records.add(tmp_path, other_weights)
    assert set(records.read(tmp_path / "metrics.json")[0].scores) == {"kid"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"protocol": "fast"}, "'fast'; choose from stackgan, dfgan, quick"),
        ({"resize": "nearest"}, "resize 'nearest'; choose from tensorflow, pytorch, clean"),
        ({"dtype": "float16"}, "dtype 'float16'"),
        ({"images": -1}, "images is -1; it must be 0 or more"),
        ({"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_bad_settings_get_one_sentence(changes, sentence):
    settings = configuration.evaluation()
    settings.update(changes)
    with pytest.raises(UserError, match=sentence):
        protocols.resolve(settings)


def test_a_changed_protocol_says_so():
    settings = configuration.evaluation()
    settings.update(protocol="dfgan", images=500, seed=3)
    protocol = protocols.resolve(settings)
    assert protocol.name == "dfgan, changed: images 500, seed 3"
    assert (protocol.images, protocol.resize, protocol.truncation) == (500, "pytorch", 0.88)


def test_folders_are_scored_and_real_ones_read_once(folder, colours, cache, tmp_path):
    real, other = folder("real", seed=1), folder("other", seed=2, size=24)
    output = tmp_path / "metrics.json"

    def score(pictures):
        return evaluate.of_folders(pictures, real, {"inception": "x"}, None, output)

    same = score(real)
    assert same.scores["fid"].value < 1e-9
    assert same.scores["precision"].value == same.scores["recall"].value == 1
    assert "subsets of 250 pictures and one side has 40" in same.left_out["kid"]
    assert "can't span 48 dimensions" in same.scores["fid"].warning
    assert "not the published weights" in str(same)  # 5555… and not 6726825d…
    assert sum(colours) == 80
    first, second = score(other), score(other)
    assert sum(colours) == 160  # the real ones were not read again
    assert first.scores == second.scores and first.scores["fid"].value > 0.001
    assert first.scores["fid"].stamp.size == "24×24, real 16×16"
    assert list(json.loads(output.read_text())["evaluations"][0]["scores"]) == list(first.scores)
    (changed := Image.open(real / "000.png").convert("L").convert("RGB")).save(real / "000.png")
    assert changed.size == (16, 16)
    score(other)
    assert sum(colours) == 240  # the real ones are others now
    (kept,) = {path for path in cache.iterdir() if path.stat().st_mtime == newest(cache)}
    kept.write_bytes(b"PK")
    assert score(other).scores["fid"].value > 0.001  # a damaged cache is read anew


def newest(folder):
    return max(path.stat().st_mtime for path in folder.iterdir())


def test_bad_folders_get_one_sentence(folder, colours, cache, tmp_path):
    real, output = folder("real"), tmp_path / "metrics.json"
    mixed, broken, empty = folder("mixed", 3), folder("broken", 5), folder("empty", 0)
    images.save_png(mixed / "z.png", np.zeros((8, 12, 3), np.uint8))
    (broken / "001.png").write_bytes(b"no picture")
    (broken / "003.png").write_bytes((broken / "004.png").read_bytes()[:150])  # cut off

    def refused(pictures, sentence, given=None):
        with pytest.raises(UserError, match=sentence):
            evaluate.of_folders(pictures, real, {"inception": "x"} | (given or {}), None, output)

    refused(mixed, r"sizes \(3 of 16×16 like 000\.png, 1 of 12×8 like z\.png\); resize")
    refused(broken, r"2 of 5 pictures can't be read: .*001\.png, .*003\.png; mend or remove")
    (broken / "001.png").unlink()
    refused(broken, r"1 of 4 pictures can't be read: .*003\.png; mend or remove")
    refused(empty, "There are no pictures in .*png, jpg")
    refused(tmp_path / "none", "There is no folder .*none")
    refused(folder("one", 1), "at least 2 pictures, not 1")
    refused(
        real, r"FID needs pt_inception-2015.*SHA-256 6726825d.*or give --workdir", {"inception": ""}
    )
    assert not output.exists()


def test_pictures_of_all_kinds_and_depths_are_read(folder):
    made = folder("kinds", 1)
    grey = Image.fromarray(np.full((16, 16), 7, np.uint8))
    grey.save(made / "grey.png")
    grey.convert("RGBA").save(made / "alpha.png")
    (made / "below").mkdir()
    grey.convert("P").save(made / "below" / "palette.PNG")
    (made / "notes.txt").write_text("not a picture")
    assert Folder(made).shape == (4, 16, 16, 3)
    names = [path.name for path in Folder(made).files]
    assert names == ["000.png", "alpha.png", "palette.PNG", "grey.png"]
    assert np.unique(Folder(made)[1:4]).tolist() == [7]


def test_a_comparison_marks_what_can_not_be_compared():
    runs = {"a": [record(5, 3.0), record(9, 2.0)], "<b>": [record(9, 1.0)]}
    log = [{"step": 4, "seconds": 40.0}, {"step": 10, "seconds": 100.0}]
    assert comparison.seconds_at(log, 5) == pytest.approx(50)
    assert comparison.seconds_at(log, 11) is None
    page = comparison.page(runs, {"a": log, "<b>": []})
    assert page.count("<svg") == 2  # against steps, and against minutes where they are known
    assert "&lt;b&gt;" in page and "<b>1</b>" in page and "not comparable" not in page
    runs["<b>"] = [record(9, 1.0, resize="another")]
    assert "* not comparable" in comparison.text(runs)
    assert "not comparable" in comparison.page(runs, {"a": log, "<b>": []})


def test_a_run_gets_the_same_scores_twice_with_every_stamp(run, colours):
    first = evaluate.of_run(run, QUICK | {"inception": "x"})
    assert set(first.scores) >= {"fid", "inception_score", "precision", "r_precision"}
    assert set(first.scores) >= {"joint_frechet_distance", "caption_to_image"}
    assert first.scores["fid"].stamp.step == 4 and first.scores["fid"].stamp.generated == 160
    assert first.scores["fid"].stamp.real == 12 and first.scores["r_precision"].real is not None
    read = sum(colours)
    second = evaluate.of_run(run, QUICK | {"inception": "x"})
    assert second.scores == first.scores
    assert sum(colours) - read == 160  # the real ones are remembered
    (stored,) = records.read(run / "metrics.json")
    assert stored.scores == first.scores
    assert "R-precision" in (run / "metrics.txt").read_text()
    assert list(run.glob("events.out.tfevents.*"))
    other = evaluate.of_run(run, QUICK | {"inception": "x", "seed": 1})
    assert other.scores["fid"].value != first.scores["fid"].value
    truncated = evaluate.of_run(run, QUICK | {"inception": "x", "truncation": 0.1})
    assert truncated.scores["fid"].value != first.scores["fid"].value
    assert len(records.read(run / "metrics.json")) == 3


def test_without_inception_nothing_is_called_fid(run):
    done = evaluate.of_run(run, QUICK)
    assert "fid" not in done.scores and "pytorch-fid" in done.left_out["fid"]
    assert "not FID" in done.scores["joint_frechet_distance"].stamp.definition
    (run / "text_encoder" / "image_tower.npz").unlink()
    with pytest.raises(UserError, match=r"pytorch-fid.* has no image tower"):
        evaluate.of_run(run, QUICK)


def test_a_run_without_checkpoints(run, tmp_path):
    (bare := tmp_path / "bare").mkdir()
    shutil.copy(run / "config.json", bare)
    with pytest.raises(UserError, match=r"no checkpoint in .*bare to evaluate"):
        comparison.compare([run, bare], QUICK, tmp_path / "page.html")
    assert not (run / "metrics.json").exists()  # told before the first is evaluated
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(UserError, match=r"no checkpoint in .* to evaluate; train it first"):
        evaluate.of_run(run, QUICK)
    with pytest.raises(UserError, match=r"no checkpoint in .*, and nobody trains it"):
        evaluate.follow(run, QUICK)
    assert not (run / "checkpoints").exists()


def test_a_training_is_followed_until_it_has_ended(run, monkeypatch, capsys):
    monkeypatch.setattr(evaluate, "POLL", 0.05)
    shutil.move(run / "checkpoints" / "4", run / "later")  # not yet saved
    following = threading.Thread(target=evaluate.follow, args=(run, QUICK))
    with run_folder.training(run):
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


EVALUATED = "quick, changed: images 160, attributes False"  # QUICK's protocol


def test_a_quickstart_is_waited_for_until_its_last_stage(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(evaluate, "POLL", 0.05)
    for step in (2, 4):
        records.add(run, record(step, 1.0, EVALUATED))
    quickstart = tmp_path / "quickstart"
    quickstart.mkdir()
    (quickstart / "config.json").write_text('{"stage2": {"kind": "stage2"}}')
    told = []
    following = threading.Thread(target=lambda: told.append(evaluate.follow(quickstart, QUICK)))
    with run_folder.training(quickstart):
        following.start()
        time.sleep(0.3)
        assert following.is_alive()
        shutil.move(run, quickstart / "stage2")
        time.sleep(0.3)
        assert following.is_alive()
    following.join(timeout=30)
    assert told == [None]
    told = capsys.readouterr().out
    assert "Waiting for the last stage" in told and "ended at step 4 of 4" in told


def test_following_refuses_weights_before_there_is_a_checkpoint(run):
    shutil.rmtree(run / "checkpoints")
    with run_folder.training(run), pytest.raises(UserError, match=r"There is no file none\.pth"):
        evaluate.follow(run, QUICK | {"inception": "none.pth"})


def test_checkpoints_without_fid_are_scored_again_once_there_is_inception(run, monkeypatch):
    for step in (2, 4):
        without = Record.of(step, EVALUATED, 1.0, [Score("kid", 0.1, stamp(step=step))], {})
        records.add(run, without)
    scored = []
    monkeypatch.setattr(evaluate, "prepared", lambda *_: "evaluation")
    monkeypatch.setattr(evaluate, "_follow_one", lambda _, step: scored.append(step))
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


def test_runs_are_compared(run, runs, tmp_path, capsys):
    stage2 = shutil.copytree(runs / "stage2", tmp_path / "stage2")
    comparison.compare([run, stage2], QUICK, tmp_path / "page.html")
    assert "Joint Fréchet distance" in capsys.readouterr().out
    assert (tmp_path / "page.html").read_text().count("<svg") >= 4
    comparison.compare([run, stage2], QUICK, tmp_path / "page.html")
    assert "Written" not in capsys.readouterr().out  # evaluated before
    with pytest.raises(UserError, match="given twice"):
        comparison.compare([run, run], QUICK, tmp_path / "page.html")


@pytest.mark.parametrize(
    ("keep", "every", "sentence"),
    [
        ({"best": "fid"}, 0, "needs evaluations in training: set config.eval.every"),
        ({"best": "r_precision"}, 2, "better the higher it is; set --config.keep.best_mode=max"),
        ({"best": "fid"}, 2, "fid isn't measured here; choose from joint_frechet_distance"),
    ],
)
def test_a_best_checkpoint_that_can_not_be_told_is_refused(keep, every, sentence, run):
    config = configuration.read(run / "config.json")
    config.keep.update(keep)
    config.eval.update(every=every, attributes=False)
    with pytest.raises(UserError, match=sentence):
        in_training(config, run)


@pytest.mark.slow
def test_training_evaluates_itself_and_keeps_the_best(small_config, runs, tmp_path, monkeypatch):
    config = small_config(
        "stage1", steps=6, save_every=100, text_encoder=str(runs / "text_encoder")
    )
    config.keep.update(newest=1, best="joint_frechet_distance")
    config.eval.update(QUICK | {"every": 2})
    values = iter((3.0, 1.0, 2.0))
    of = runs.Evaluation.of

    def ordered(self, sampler, abandoned):
        done = of(self, sampler, abandoned)
        score = done.scores["joint_frechet_distance"]
        scores = {score.name: dataclasses.replace(score, value=next(values))}
        return dataclasses.replace(done, scores=scores)

    monkeypatch.setattr(runs.Evaluation, "of", ordered)
    stages.run(config, tmp_path / "run", configs=None)
    assert Checkpoints(tmp_path / "run" / "checkpoints").steps == [4, 6]
    assert [r.step for r in records.read(tmp_path / "run" / "metrics.json")] == [2, 4, 6]
    monkeypatch.undo()
    stored = records.read(tmp_path / "run" / "metrics.json")[-1].scores["joint_frechet_distance"]
    again = evaluate.of_run(tmp_path / "run", {}).scores["joint_frechet_distance"]
    assert again.stamp == stored.stamp  # from the checkpoint as from the training itself
