"""Measures the training loop itself, with log lines, previews and saves."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from stackgan_jax.benchmark.subject import Subject
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.training import loop
from stackgan_jax.training.learner import Learner

ASSUMED_STEP = 1000.0  # milliseconds, where the step alone was not measured


def measure(
    subject: Subject,
    devices: jax.sharding.Mesh,
    learner: Learner,
    seconds: float,
    step_milliseconds: float | None,
) -> dict[str, Any]:
    """Trains three stretches of equal length and measures the last, in which nothing compiles.

    Each stretch ends with a preview and a save. It has log lines as often as the config asks, and
    at least one. The returned figures count log lines, previews and saves as often as the config
    asks for them.

    Args:
        subject: what to measure.
        devices: the mesh that shares the batch.
        learner: the subject's learner on this mesh.
        seconds: how long a stretch should take.
        step_milliseconds: the time of the step alone, or None where it was not measured.
    """
    step = (step_milliseconds or ASSUMED_STEP) / 1e3
    stretch = max(1, round(seconds / step / learner.together)) * learner.together
    log_every = min(subject.config.log_every, stretch)
    stretch = stretch // log_every * log_every
    try:
        ends, halts = _train(_shortened(subject.config, stretch, log_every), learner, devices)
    except UserError as error:
        return {"not_measured": str(error)}
    logs = stretch // log_every
    spent = halts["log"][2 * logs - 1 : 3 * logs - 1]
    costs = {"log": sum(spent) / logs, "preview": halts["preview"][1], "save": halts["save"][1]}
    halted = sum(spent) + costs["preview"] + costs["save"]
    each = (ends[3 * stretch] - ends[2 * stretch] - halted) / stretch
    return _figures(subject.config, each, costs, step if step_milliseconds else None)


def _shortened(config: ConfigDict, stretch: int, log_every: int) -> ConfigDict:
    """The config with three stretches of `stretch` steps, a preview and a save after each."""
    config = config.copy_and_resolve_references()
    config.update(steps=3 * stretch, log_every=log_every)
    config.update(preview_every=stretch, save_every=stretch)
    return config


def _train(
    config: ConfigDict, learner: Learner, devices: jax.sharding.Mesh
) -> tuple[dict[int, float], Mapping[str, list[float]]]:
    """Returns the time of each log line by its step, and the seconds of each halt by its kind."""
    with tempfile.TemporaryDirectory() as folder:
        _, halts = loop.run(learner, config, Path(folder), devices)
        text = Path(folder, "metrics.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    return {line["step"]: line["seconds"] for line in lines}, halts


def _figures(
    config: ConfigDict, each: float, costs: dict[str, float], step: float | None
) -> dict[str, Any]:
    """Figures of the whole schedule.

    Args:
        config: with the number of steps, and of the steps between log lines, previews and saves.
        each: seconds of a step in the loop.
        costs: seconds of one log line, preview and save.
        step: seconds of the step alone, or None.
    """
    frequency = {
        "log": config.log_every,
        "preview": config.preview_every,
        "save": config.save_every,
    }
    bookkeeping = sum(costs[kind] / frequency[kind] for kind in costs)
    return {
        "images_per_second": round(config.batch_size / (each + bookkeeping), 2),
        "milliseconds_per_step": round(each * 1e3, 4),
        "of_the_bare_step": round(each / step, 4) if step else None,
        "seconds_of_one": {kind: round(spent, 4) for kind, spent in costs.items()},
        "share_of_logging_previews_saving": round(bookkeeping / (each + bookkeeping), 4),
        "whole_schedule_hours": round(config.steps * (each + bookkeeping) / 3600, 3),
    }
