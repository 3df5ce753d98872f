"""The report's page: it stands alone, escapes its values and shows any number of stages."""

import dataclasses
import json

import numpy as np
import pytest

from stackgan_jax.report import page
from stackgan_jax.report.pictures import Example, Strip
from stackgan_jax.report.rendering import data_uri, duration, heading, listed

PICTURE = np.zeros((8, 8, 3), np.uint8)
STAGES = ("stage1", "stage2", "stage3")


@pytest.fixture
def facts():
    """The content of report.json of a run with three stages."""
    shares = {name: {"overall": 0.5, "colours": 0.25, "crown": 0.25} for name in STAGES}
    shares |= {name: {"overall": 1.0, "colours": 1.0, "crown": 1.0} for name in ("real", "chance")}
    return {
        "seconds": 61.0,
        "name": "birds",
        "workdir": "runs/birds",
        "trained_until": "2026-01-01 00:00 UTC",
        "runs": {name: {"steps": 4000, "seconds": 20.0} for name in STAGES},
        "data": {
            "name": "synthetic_birds",
            "builder_config": "tiny",
            "path": "",
            **dict.fromkeys(("train_images", "train_classes", "test_images", "test_classes"), 9),
            "shared_classes": 0,
        },
        "scores": {
            "step": 4000,
            "protocol": "quick",
            "measured": [
                dict.fromkeys(("title", "value", "real", "better", "pictures", "features"), "any")
            ],
            "cautions": ["Spread: pictures of one sentence are much alike."],
            "left_out": {"FID": "no weights"},
        },
        "seed": 0,
        "captions_judged": 9,
        "attribute_accuracy": shares,
        "attributes_named": {"overall": 9, "colours": 4, "crown": 4},
        "classifier": {
            "held_out_accuracy": {"crown": 0.99, "beak_shape": 0.3},
            "required": 0.95,
            "judged": ["crown"],
            "colours": ["crown"],
        },
        "nearest_training_image": {
            "compared": "pixels",
            "drawn": {"median": 3.0, "least": 1.0},
            "real": {"median": 3.0, "least": 1.0},
        },
        "versions": {"python": "3.11"},
        "devices": ["cpu:0 cpu"],
        "host": {"processor": "any", "cores": 2, "system": "Linux"},
    }


@pytest.fixture
def content():
    """The pictures of three stages for one caption."""
    example = Example(
        caption="a red bird",
        drawn=dict.fromkeys(STAGES, PICTURE),
        attributes={stage: {"crown": ("red", "blue")} for stage in STAGES},
        nearest=PICTURE,
        distance=3.0,
        real=PICTURE,
    )
    strip = Strip(["a red bird"], [PICTURE] * 2)
    return page.Content([example], [strip], [strip], dict.fromkeys(STAGES, ()))


def test_three_stages_have_their_headings_and_columns_the_last_one_first(facts, content, parsed):
    shown = parsed(page.render_report(facts, content))
    stages = [heading(stage) for stage in reversed(STAGES)]
    scores = ["Metric", "Score", "Real images", "Better", "Pictures", "Read by"]
    assert "much alike" in shown.text and "Left out: FID: no weights" in shown.text
    assert shown.headings == [
        *scores,
        *("Attribute", "Named", *stages, "Real images", "Chance", "Classifier itself"),
    ]
    assert f"{stages[0]} draws 25 % correctly" in " ".join(shown.text.split())
    assert len(shown.images) == len(STAGES) + 2 + 2 * 2
    assert shown.text.count("✗ crown red (read as blue)") == len(STAGES)
    assert shown.text.count("There is no metrics.jsonl in this run.") == len(STAGES)


def test_all_texts_are_escaped(facts, content, parsed):
    evil = "<b>'&\"</b>"
    caption = dataclasses.replace(content.examples[0], caption=evil)
    strip = Strip([evil, evil], [PICTURE])
    content = page.Content([caption], [strip], [strip], {"stage1": ()})
    facts |= {"name": evil, "workdir": evil, "devices": [evil]}
    facts["data"] |= {"name": "folder", "path": evil}
    shown = parsed(page.render_report(facts, content))
    assert evil not in page.render_report(facts, content)
    assert shown.text.count(evil) == 1 + 1 + 1 + 1 + 2 + 2 + 1 + 1 + 1
    assert all(evil in image["alt"] for image in shown.images if "Nearest" not in image["alt"])


def test_a_page_needs_no_other_file(facts, content, parsed):
    shown = parsed(page.render_report(facts, content))
    assert shown.links and all(link.startswith("data:image/") for link in shown.links)
    assert "url(" not in page.render_report(facts, content)


def test_a_missing_fact_is_an_error_and_not_an_empty_place(facts, content):
    del facts["seed"]
    with pytest.raises(Exception, match="seed"):
        page.render_report(facts, content)


def test_attributes_without_a_mention_have_no_row(facts, content, parsed):
    facts["classifier"]["judged"].append("wings")
    text = parsed(page.render_report(facts, content)).text
    assert "wings" not in text.split("Details")[0]
    assert "beak shape (30.0 %)" in text


def test_facts_read_from_report_json_give_the_same_page(facts, content):
    stored = json.loads(json.dumps(facts))
    assert page.render_report(stored, content) == page.render_report(facts, content)


@pytest.mark.parametrize("seconds, words", [(8.4, "8 s"), (61, "1 min 01 s"), (7500, "2 h 05 min")])
def test_durations_have_two_units_at_most(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize("count, words", [(0, ""), (1, "a"), (2, "a and b"), (3, "a, b and c")])
def test_enumerations_end_with_and(count, words):
    assert listed("abc"[:count]) == words


def test_small_pictures_are_lossless():
    picture = np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)
    assert data_uri(picture).startswith("data:image/png;base64,")
    assert data_uri(np.zeros((256, 256, 3), np.uint8)).startswith("data:image/jpeg;base64,")
