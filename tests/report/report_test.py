"""The report: its numbers are right, its page stands alone, and what is missing is said."""

import dataclasses
import errno
import html.parser
import json
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

from stackgan_jax import sample
from stackgan_jax.data import input_pipeline
from stackgan_jax.data.synthetic_birds.attributes import COLOUR_ATTRIBUTES
from stackgan_jax.data.synthetic_birds.captions import attributes_named
from stackgan_jax.evaluation import attributes
from stackgan_jax.evaluation.attribute_accuracy import Judgement
from stackgan_jax.evaluation.unseen import draw_unseen
from stackgan_jax.report import build, curves, facts, page, pictures, style
from stackgan_jax.runtime import configuration
from stackgan_jax.runtime.errors import UserError


class Fool(attributes.Judge):
    """A classifier that says of every picture what it says of a red bird."""

    def __init__(self, accuracy):
        super().__init__({"nothing": np.zeros(1)}, accuracy)

    def read(self, images):
        assert images.dtype == np.float32 and images.min() >= -1 and images.max() <= 1
        return {name: np.full(len(images), "red") for name in COLOUR_ATTRIBUTES}


@pytest.fixture
def accuracy():
    """The Fool's, of which a test may make another."""
    return {name: 0.99 for name in COLOUR_ATTRIBUTES} | {"eyes": 0.5}


@pytest.fixture
def trainings(monkeypatch, accuracy):
    """Notes the trainings of classifiers, each of which makes a Fool."""
    seen = []

    def load(path):
        if not path.exists():
            raise UserError("There is none.")
        return Fool(accuracy)

    monkeypatch.setattr(attributes, "train", lambda *a, **k: seen.append(a) or Fool(accuracy))
    monkeypatch.setattr(attributes, "load", load)
    return seen


@pytest.fixture
def quickstart(runs, tmp_path):
    """A quickstart's folder of the trained runs."""
    for kind in ("text_encoder", "stage1", "stage2"):
        shutil.copytree(runs / kind, tmp_path / "quick" / kind)
    configuration.write(tmp_path / "quick" / "config.json", ConfigDict({"name": "quickstart"}))
    return tmp_path / "quick"


@pytest.fixture
def stage1(runs, tmp_path):
    """The folder of a Stage-I run."""
    return Path(shutil.copytree(runs / "stage1", tmp_path / "stage1"))


class Page(html.parser.HTMLParser):
    """What a page refers to, shows and says."""

    def __init__(self, path):
        super().__init__()
        self.images, self.links, self.open, self.text = [], [], [], ""
        self.feed(path.read_text(encoding="utf-8"))
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "img":
            self.images.append(attributes)
        self.links += [value for name, value in attributes.items() if name in ("src", "href")]
        if tag not in ("img", "meta", "br", "line"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def read(workdir):
    return json.loads((workdir / "report" / "report.json").read_text(encoding="utf-8"))


def test_of_a_quickstart(quickstart, trainings):
    path = build.write(quickstart)
    assert path == quickstart / "report" / "index.html"
    found, shown = read(quickstart), Page(path)

    logs = [(quickstart / kind / "metrics.jsonl").read_text() for kind in found["runs"]]
    seconds = sum(json.loads(log.splitlines()[-1])["seconds"] for log in logs)
    assert list(found["runs"]) == ["text_encoder", "stage1", "stage2"]
    assert found["seconds"] == pytest.approx(seconds, abs=0.06)
    assert {run["steps"] for run in found["runs"].values()} == {4}
    assert {"python", "jax", "jaxlib", "flax", "numpy", "stackgan_jax"} <= found["versions"].keys()
    assert len(found["devices"]) == 8 and found["devices"][0].startswith("cpu:0")
    assert found["data"]["shared_classes"] == 0

    unseen = draw_unseen(sample.load(quickstart), build.SEED)
    wanted = [attributes_named(caption) for caption in unseen.captions]
    reds = sum(each.get(name) == "red" for each in wanted for name in COLOUR_ATTRIBUTES)
    shares = found["attribute_accuracy"]
    assert reds and shares.keys() == {"stage1", "stage2", "real", "chance"}
    named = found["attributes_named"]
    for share in shares.values():
        assert set(share) == {"overall", "colours"} | (named.keys() & set(COLOUR_ATTRIBUTES))
    # The Fool sees red everywhere, whatever the caption.
    assert shares["stage1"] == shares["stage2"] == shares["real"] == shares["chance"]
    assert named["colours"] * shares["real"]["colours"] == pytest.approx(reds, abs=0.01)

    assert all(link.startswith("data:image/") for link in shown.links)
    assert all(image["alt"].strip() for image in shown.images)
    assert "Stage II" in shown.text and "Joint embedding loss" in shown.text
    # 4 classes: each with 2 drawn, the nearest, the real; 4 rows of noise; 2 ways.
    assert len(shown.images) == 4 * 4 + 4 * pictures.STRIP + 2 * pictures.STRIP


def test_the_same_workdir_gives_the_same_report(stage1, trainings):
    first = build.write(stage1).read_bytes()
    numbers = read(stage1)
    assert build.write(stage1).read_bytes() == first
    assert len(trainings) == 1
    assert read(stage1) == numbers


def test_seconds_of_the_whole_quickstart(stage1, trainings):
    build.write(stage1, began=time.monotonic() - 1000)
    assert 1000 < read(stage1)["seconds"] < 1100
    *lines, last = (stage1 / "metrics.jsonl").read_text().splitlines()
    last = json.dumps(json.loads(last) | {"seconds": 5000.0})  # most of it was trained before
    (stage1 / "metrics.jsonl").write_text("\n".join([*lines, last]))
    build.write(stage1, began=time.monotonic())
    assert read(stage1)["seconds"] == 5000


def test_the_classifier_trained_beside_the_stages_is_the_reports(stage1, trainings):
    data = configuration.read(stage1 / "config.json").data
    with build.classifier_ahead(data, stage1 / "report"):
        pass
    assert len(trainings) == 1
    build.write(stage1)
    assert len(trainings) == 1


def test_stages_that_fail_end_the_classifiers_training(small_config, tmp_path, monkeypatch):
    begun, steps = threading.Event(), []

    def endless(*images, progress, **options):
        begun.set()
        while True:
            time.sleep(0.01)
            steps.append(1)
            progress(len(steps), 10**9)

    monkeypatch.setattr(attributes, "train", endless)
    data = small_config("stage1").data
    with pytest.raises(KeyboardInterrupt), build.classifier_ahead(data, tmp_path / "report"):
        assert begun.wait(60)
        raise KeyboardInterrupt
    assert steps and not list((tmp_path / "report").glob("classifier*"))


def test_what_goes_wrong_beside_the_stages_is_left_to_the_report(
    small_config, tmp_path, monkeypatch
):
    tried, untold = [], []

    def fail(*images, **options):
        tried.append(True)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(attributes, "train", fail)
    monkeypatch.setattr(threading, "excepthook", untold.append)
    with build.classifier_ahead(small_config("stage1").data, tmp_path / "report"):
        pass
    assert tried and not untold


def test_of_a_stage1_run_alone(stage1, trainings):
    shown = Page(build.write(stage1))
    found = read(stage1)
    assert found["attribute_accuracy"].keys() == {"stage1", "real", "chance"}
    assert list(found["runs"]) == ["stage1"]
    assert "Stage II" not in shown.text


def test_a_quickstart_that_has_only_begun_stage2(quickstart):
    shutil.rmtree(quickstart / "stage2" / "checkpoints")
    assert [run.kind for run in facts.find_runs(quickstart)] == ["text_encoder", "stage1"]


def test_data_without_attributes(stage1, trainings, monkeypatch):
    load = input_pipeline.load
    monkeypatch.setattr(
        input_pipeline, "load", lambda *a: dataclasses.replace(load(*a), attributes={})
    )
    shown = Page(build.write(stage1))
    assert "attribute_accuracy" not in read(stage1)
    assert "doesn’t tell the attributes" in shown.text and not trainings


def test_a_classifier_that_can_judge_nothing(stage1, trainings, accuracy):
    accuracy["crown"] = 0.94
    accuracy.update(back=0.1, belly=0.1, wings=0.1)
    shown = Page(build.write(stage1))
    assert read(stage1)["attribute_accuracy"]["stage1"] == {}
    assert "too often wrong: crown (94.0 %)" in shown.text


def test_workdirs_without_a_report(runs, quickstart, tmp_path):
    with pytest.raises(UserError, match="no run in"):
        build.write(tmp_path / "nothing")
    with pytest.raises(UserError, match="draws no pictures"):
        build.write(runs / "text_encoder")
    (quickstart / "report").write_text("in the way")
    with pytest.raises(UserError, match="can't be written"):
        build.write(quickstart)


def test_what_captions_want_is_what_counts():
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


def test_the_nearest_training_image_is_found_in_the_mirror_too():
    rng = np.random.default_rng(0)
    training = rng.integers(0, 256, (700, 10, 10, 3), np.uint8)
    shown = np.stack(
        [training[600, 1:9, 1:9], training[3, 1:9, 1:9][:, ::-1], training[5, 1:9, 1:9]]
    )
    shown[2] += np.where(shown[2] < 128, 10, -10).astype(np.uint8)
    nearest = pictures.nearest(shown, training)
    assert nearest.index.tolist() == [600, 3, 5]
    assert nearest.mirrored.tolist() == [False, True, False]
    np.testing.assert_allclose(nearest.distance, [0, 0, 10], atol=0.1)
    for i in range(2):
        np.testing.assert_array_equal(nearest.image(training, i, 8), shown[i])


def test_captions_are_text_and_not_markup(stage1, trainings, monkeypatch):
    draw = draw_unseen

    def with_markup(*arguments):
        unseen = draw(*arguments)
        return dataclasses.replace(unseen, captions=['<b>"red" & blue</b>'] * len(unseen.captions))

    monkeypatch.setattr(build, "draw_unseen", with_markup)
    shown = Page(build.write(stage1))
    assert '“<b>"red" & blue</b>”' in shown.text


@pytest.mark.parametrize(
    "low, high, expected",
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 7.3, [0, 2, 4, 6]),
        (-3, 3, [-3, -2, -1, 0, 1, 2, 3]),
        (0, 0, [0]),
    ],
)
def test_ticks_are_round(low, high, expected):
    assert curves.ticks(low, high) == pytest.approx(expected)


def test_long_curves_are_averaged():
    points = curves.binned([(float(i), 2.0 * i) for i in range(1000)], 100)
    assert len(points) == 100
    assert points[0] == (4.5, 9.0) and points[-1] == (994.5, 1989.0)


def test_charts_hold_what_was_logged():
    log = [{"step": 10 * i, "seconds": i, "d_loss": 1 / i, "kl": 0.0} for i in range(1, 4)]
    figures = curves.charts(log)
    assert len(figures) == 2
    assert "discriminator from 1 to 0.333" in figures[0] and "generator from" not in figures[0]
    assert figures[0].count("<path") == 1


@pytest.mark.parametrize("seconds, words", [(8.4, "8 s"), (61, "1 min 01 s"), (7500, "2 h 05 min")])
def test_durations(seconds, words):
    assert style.duration(seconds) == words


@pytest.mark.parametrize("count, words", [(0, ""), (1, "a"), (2, "a and b"), (3, "a, b and c")])
def test_lists(count, words):
    assert style.listed("abc"[:count]) == words


def test_small_pictures_are_lossless():
    picture = np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)
    assert "image/png" in page.img(picture, "a picture")
    assert "image/jpeg" in page.img(np.zeros((256, 256, 3), np.uint8), "a picture")
