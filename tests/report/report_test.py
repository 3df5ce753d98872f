"""The report of a run: correct numbers, a page that stands alone, and errors for missing runs."""

import dataclasses
import json
import shutil
import time

import pytest

from stackgan_jax import sample
from stackgan_jax.data import input_pipeline
from stackgan_jax.data.synthetic_birds.attributes import COLOUR_ATTRIBUTES
from stackgan_jax.data.synthetic_birds.captions import attributes_named
from stackgan_jax.evaluation.attribute_accuracy import Judgement
from stackgan_jax.evaluation.unseen import draw_unseen
from stackgan_jax.report import build, facts, measurement, pictures
from stackgan_jax.runtime.errors import UserError


def read(workdir):
    return json.loads((workdir / "report" / "report.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_a_quickstart_is_reported_with_all_its_runs(quickstart, judge, parsed):
    path = build.write(quickstart)
    assert path == quickstart / "report" / "index.html"
    found, shown = read(quickstart), parsed(path.read_text(encoding="utf-8"))

    logs = [(quickstart / kind / "metrics.jsonl").read_text() for kind in found["runs"]]
    seconds = sum(json.loads(log.splitlines()[-1])["seconds"] for log in logs)
    assert list(found["runs"]) == ["text_encoder", "stage1", "stage2"]
    assert found["seconds"] == pytest.approx(seconds, abs=0.06)
    assert {run["steps"] for run in found["runs"].values()} == {4}
    assert {"python", "jax", "jaxlib", "flax", "numpy", "stackgan_jax"} <= found["versions"].keys()
    assert len(found["devices"]) == 8 and found["devices"][0].startswith("cpu:0")
    assert found["data"]["shared_classes"] == 0

    unseen = draw_unseen(sample.load(quickstart), measurement.SEED)
    wanted = [attributes_named(caption) for caption in unseen.captions]
    reds = sum(each.get(name) == "red" for each in wanted for name in COLOUR_ATTRIBUTES)
    shares = found["attribute_accuracy"]
    assert reds and shares.keys() == {"stage1", "stage2", "real", "chance"}
    named = found["attributes_named"]
    for share in shares.values():
        assert set(share) == {"overall", "colours"} | (named.keys() & set(COLOUR_ATTRIBUTES))
    # SeesRed reads red everywhere, for every caption.
    assert shares["stage1"] == shares["stage2"] == shares["real"] == shares["chance"]
    assert named["colours"] * shares["real"]["colours"] == pytest.approx(reds, abs=0.01)

    assert all(link.startswith("data:image/") for link in shown.links)
    assert all(image["alt"].strip() for image in shown.images)
    assert "Stage II" in shown.text and "Joint embedding loss" in shown.text
    # 4 classes: each with 2 drawn, the nearest, the real; 4 rows of noise; 2 interpolations.
    assert len(shown.images) == 4 * 4 + 4 * pictures.STRIP + 2 * pictures.STRIP


def test_the_same_workdir_gives_the_same_report(stage1, judge):
    first = build.write(stage1).read_bytes()
    numbers = read(stage1)
    assert build.write(stage1).read_bytes() == first
    assert read(stage1) == numbers


def test_seconds_are_the_longer_of_elapsed_and_training_time(stage1, judge):
    build.write(stage1, began=time.monotonic() - 1000)
    assert 1000 < read(stage1)["seconds"] < 1100
    *lines, last = (stage1 / "metrics.jsonl").read_text().splitlines()
    last = json.dumps(json.loads(last) | {"seconds": 5000.0})  # most of it was trained earlier
    (stage1 / "metrics.jsonl").write_text("\n".join([*lines, last]))
    build.write(stage1, began=time.monotonic())
    assert read(stage1)["seconds"] == 5000


def test_a_stage1_run_is_reported_without_stage2(stage1, judge, parsed):
    shown = parsed(build.write(stage1).read_text(encoding="utf-8"))
    found = read(stage1)
    assert found["attribute_accuracy"].keys() == {"stage1", "real", "chance"}
    assert list(found["runs"]) == ["stage1"]
    assert "Stage II" not in shown.text


def test_a_stage_without_checkpoints_is_left_out(quickstart):
    shutil.rmtree(quickstart / "stage2" / "checkpoints")
    assert [run.kind for run in facts.find_runs(quickstart)] == ["text_encoder", "stage1"]


def test_data_without_attributes_get_no_attribute_table(stage1, judge, monkeypatch, parsed):
    load = input_pipeline.load
    monkeypatch.setattr(
        input_pipeline, "load", lambda *a: dataclasses.replace(load(*a), attributes={})
    )
    shown = parsed(build.write(stage1).read_text(encoding="utf-8"))
    assert "attribute_accuracy" not in read(stage1)
    assert "does not record the attributes" in shown.text


def test_attributes_that_the_classifier_reads_badly_are_listed(stage1, judge, accuracy, parsed):
    accuracy["crown"] = 0.94
    accuracy.update(back=0.1, belly=0.1, wings=0.1)
    shown = parsed(build.write(stage1).read_text(encoding="utf-8"))
    assert read(stage1)["attribute_accuracy"]["stage1"] == {}
    assert "wrong too often: crown (94.0 %)" in shown.text


def test_workdirs_that_can_not_be_reported_are_errors(runs, quickstart, tmp_path):
    with pytest.raises(UserError, match="no run in"):
        build.write(tmp_path / "nothing")
    with pytest.raises(UserError, match="draws no pictures"):
        build.write(runs / "text_encoder")
    (quickstart / "report").write_text("in the way")
    with pytest.raises(UserError, match="can't be written"):
        build.write(quickstart)


def test_only_attributes_that_captions_name_are_counted():
    judgement = Judgement(
        held_out={"crown": 0.99, "wings": 0.97, "background": 0.96, "eyes": 0.61234},
        judged=("crown", "wings", "background"),
        wanted=[{"crown": "red"}, {"crown": "blue", "wings": "red"}, {"background": "sky"}],
        shares={"stage1": {"overall": 2 / 3}},
        read={"stage1": {"crown": ["blue", "red"], "wings": ["red", "red"]}},
    )
    found = judgement.facts()
    named = {"overall": 4, "colours": 3, "crown": 2, "wings": 1, "background": 1}
    assert found["attributes_named"] == named
    assert found["classifier"]["colours"] == ["crown", "wings"]
    assert found["classifier"]["held_out_accuracy"]["eyes"] == 0.6123
    assert found["attribute_accuracy"] == {"stage1": {"overall": 0.6667}}
    assert judgement.found("stage1", 1) == {"crown": ("blue", "red"), "wings": ("red", "red")}


def test_captions_are_escaped(stage1, judge, monkeypatch, parsed):
    draw = draw_unseen

    def with_markup(*arguments):
        unseen = draw(*arguments)
        return dataclasses.replace(unseen, captions=['<b>"red" & blue</b>'] * len(unseen.captions))

    monkeypatch.setattr(measurement, "draw_unseen", with_markup)
    shown = parsed(build.write(stage1).read_text(encoding="utf-8"))
    assert '“<b>"red" & blue</b>”' in shown.text
