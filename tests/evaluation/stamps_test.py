"""Stamps and records: every score has a complete stamp, in text and on disk."""

import dataclasses
import json

import pytest
from sample_scores import record, stamp

from stackgan_jax.evaluation import records, stamps
from stackgan_jax.evaluation.records import Record
from stackgan_jax.evaluation.stamps import Score, Stamp
from stackgan_jax.runtime.errors import UserError


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Stamp)])
def test_a_score_needs_a_complete_stamp(field):
    for nothing in (None, "", {}):
        with pytest.raises(ValueError, match=f"needs its {field}"):
            stamp(**{field: nothing})
    stored = Score("fid", 1.0, stamp()).as_json()
    assert Score.from_json(stored) == Score("fid", 1.0, stamp())
    del stored["stamp"][field]
    with pytest.raises(TypeError):
        Score.from_json(stored)


def test_a_table_shows_every_field_of_every_stamp():
    one = Score("fid", 12.3456, stamp(resize="this resize"))
    two = Score("r_precision", 0.123, stamp(resize="that resize", generated=4321), real=0.5)
    table = stamps.table([one, two], {"kid": "too few"})
    assert "FID" in table and "12.35" in table and "12.3 %" in table and "50.0 %" in table
    assert all(field.name in table for field in dataclasses.fields(Stamp))
    assert "this resize" in table and "that resize" in table and "4,321" in table
    assert "KID: too few" in table
    with pytest.raises(TypeError, match="no stamp"):
        Score("fid", 1.0, None)


def test_a_record_without_a_complete_stamp_is_rejected(tmp_path):
    records.add(tmp_path, record(5, 1.0))
    stored = json.loads((tmp_path / "metrics.json").read_text())
    del stored["evaluations"][0]["scores"]["fid"]["stamp"]["sha256"]
    (tmp_path / "metrics.json").write_text(json.dumps(stored))
    with pytest.raises(UserError, match="no complete stamp"):
        records.read(tmp_path / "metrics.json")


def test_a_new_record_replaces_one_of_its_step_but_keeps_scores_of_the_same_weights(tmp_path):
    records.add(tmp_path, record(5, 1.0, checkpoint="a"))
    records.add(tmp_path, record(9, 2.0, checkpoint="b"))
    only_kid = Record.of(5, "quick", 1.0, [Score("kid", 0.1, stamp(checkpoint="a"))], {})
    records.add(tmp_path, only_kid)
    first, second = records.read(tmp_path / "metrics.json")
    assert set(first.scores) == {"fid", "kid"} and second.scores["fid"].value == 2.0
    other_weights = Record.of(5, "quick", 1.0, [Score("kid", 0.2, stamp(checkpoint="c"))], {})
    records.add(tmp_path, other_weights)
    assert set(records.read(tmp_path / "metrics.json")[0].scores) == {"kid"}


def test_a_score_of_an_unregistered_metric_is_kept(tmp_path):
    records.add(tmp_path, record(5, 1.0))
    text = (tmp_path / "metrics.json").read_text().replace('"fid"', '"elsewhere"')
    (tmp_path / "metrics.json").write_text(text)
    records.add(tmp_path, record(9, 2.0))
    first, _ = records.read(tmp_path / "metrics.json")
    assert first.scores["elsewhere"].value == 1.0 and first.scores["elsewhere"].better == "min"
    assert "elsewhere" in (tmp_path / "metrics.txt").read_text()
    with pytest.raises(ValueError, match="Unknown metric 'elsewhere'; choose from fid, kid"):
        Score("elsewhere", 1.0, stamp())
