"""The remaining time of a whole quickstart: estimated where speeds are known, or at least."""

import pytest

from stackgan_jax.runtime import configuration
from stackgan_jax.training import outlook


@pytest.fixture
def quickstart():
    config = configuration.load("quickstart.py")
    config.pace.update(text_encoder=0.1, stage1=0.2, stage2=1.0)
    config.text_encoder.steps, config.stage1.steps, config.stage2.steps = 1000, 2000, 300
    return config


def test_a_training_alone_has_its_own_remaining_time():
    assert outlook.Outlook().eta(100, 2.0) == "ETA 0:00:50"
    assert outlook.Outlook().eta(100, 0.0) == ""
    assert outlook.Outlook().place == ""


def test_a_quickstart_counts_its_later_trainings_by_their_pace(quickstart):
    first = outlook.of_quickstart(quickstart, {}, 1)
    assert first.place == "1/3 " and first.options == "--config.text_encoder."
    # Twice as fast a machine: 20 steps a second; 50 s here, then 2000 · 0.1 s and 300 · 0.5 s.
    assert first.eta(1000, 20.0) == "ETA about 0:06:40, of it 0:00:50 here"
    last = outlook.of_quickstart(quickstart, {"text_encoder": 1000, "stage1": 2000}, 3)
    assert last.eta(300, 1.0) == "ETA 0:05:00" and last.place == "3/3 "


def test_what_a_resumed_quickstart_has_done_is_not_counted(quickstart):
    resumed = outlook.of_quickstart(quickstart, {"stage2": 300}, 1)
    assert resumed.eta(1000, 10.0) == "ETA about 0:08:20, of it 0:01:40 here"


def test_unknown_speeds_give_a_lower_bound(quickstart):
    quickstart.stage2.generator.features *= 2
    wider = outlook.of_quickstart(quickstart, {}, 2)
    assert wider.eta(2000, 5.0) == "ETA at least 0:06:40, without stage2"
    first = outlook.of_quickstart(quickstart, {}, 1)
    assert first.eta(1000, 10.0) == "ETA at least 0:08:20, without stage2"


def test_another_device_has_no_known_pace(quickstart, monkeypatch):
    monkeypatch.setattr(outlook.jax, "default_backend", lambda: "gpu")
    first = outlook.of_quickstart(quickstart, {}, 1)
    assert first.eta(1000, 10.0) == "ETA at least 0:01:40, without stage1 and stage2"
