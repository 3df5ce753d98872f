"""The scores on a report: those of the checkpoint's own evaluation, with what they warn of."""

import types

import pytest
from sample_scores import record, stamp

from stackgan_jax.evaluation import records, run_setup
from stackgan_jax.evaluation.records import Record
from stackgan_jax.evaluation.stamps import Score
from stackgan_jax.report import scores


@pytest.fixture
def sampler(tmp_path):
    """A run at step 9, as far as its stored scores are concerned."""
    return types.SimpleNamespace(directory=tmp_path, step=9, config="config")


def test_the_evaluation_of_the_checkpoint_with_most_pictures_is_shown(sampler, tmp_path):
    records.add(tmp_path, record(5, 1.0, generated=90))
    records.add(tmp_path, record(9, 2.0, generated=10))
    records.add(tmp_path, record(9, 3.0, protocol="stackgan", generated=30))
    assert scores.measure(sampler).scores["fid"].value == 3.0


def test_another_step_s_evaluation_is_not_shown(sampler, tmp_path, monkeypatch):
    records.add(tmp_path, record(5, 1.0))
    prepared = []

    def prepare(config, directory, protocol, train):
        prepared.append((protocol, train))
        return types.SimpleNamespace(of=lambda sampler: "measured")

    monkeypatch.setattr(run_setup, "prepare", prepare)
    assert scores.measure(sampler) == "measured"
    ((protocol, train),) = prepared
    assert not train and not protocol.inception and protocol.images < 1000


def test_facts_are_the_printed_numbers_and_the_warnings_in_words():
    share = Score("r_precision", 0.54, stamp(generated=200), real=0.3, warning="above real ones")
    found = scores.facts(Record.of(9, "quick", 1.0, [share], {}))["scores"]
    (row,) = found["measured"]
    assert (row["value"], row["real"], row["pictures"]) == ("54.0 %", "30.0 %", "200")
    above, few = found["cautions"]
    assert above == "R-precision: above real ones." and "200 pictures only" in few
