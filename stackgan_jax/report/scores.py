"""The scores on a report: those of the checkpoint's evaluation, or those that are cheap."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax

from stackgan_jax.evaluation import cautions, protocols, records, run_setup
from stackgan_jax.evaluation.records import Record
from stackgan_jax.evaluation.stamps import Score, number, title
from stackgan_jax.runtime import configuration
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.sample import Sampler

# What a report measures itself: minutes less than an evaluation, and no network is trained for it.
CHEAP = {"images": 200, "attributes": False}
SENTENCES = 16  # drawn several times, for the spread


def measure(sampler: Sampler) -> Record:
    """Returns the scores of a checkpoint.

    They are those of the newest evaluation of the checkpoint in metrics.json. Without one, fewer
    pictures are drawn and scored by what needs neither a download nor a training; nothing is
    written.

    Args:
        sampler: of the checkpoint.
    """
    stored = records.read(sampler.directory / records.FILE)
    if of_step := [record for record in stored if record.step == sampler.step and record.scores]:
        return max(of_step, key=lambda record: (_pictures(record), record.date))
    settings = configuration.evaluation()
    settings.update(CHEAP)
    protocol = dataclasses.replace(protocols.resolve(settings), sentences=SENTENCES)
    if jax.process_count() > 1:  # one of them writes the report, and an evaluation needs all
        alone = UserError("one process of several wrote this report; --mode=report adds it.")
        return Record.of(sampler.step, protocol.name, 0.0, [], {"spread": alone})
    evaluation = run_setup.prepare(sampler.config, sampler.directory, protocol, train=False)
    return evaluation.of(sampler)


def facts(record: Record) -> dict[str, Any]:
    """Returns the entries of report.json."""
    scores = list(record.scores.values())
    return {
        "scores": {
            "step": record.step,
            "protocol": record.protocol,
            "measured": [_row(score) for score in scores],
            "cautions": cautions.in_words(scores),
            "left_out": {title(name): reason for name, reason in record.left_out.items()},
        }
    }


def _row(score: Score) -> Mapping[str, str]:
    """A line of the table."""
    return {
        "title": title(score.name),
        "value": number(score.name, score.value),
        "real": number(score.name, score.real),
        "better": {"min": "lower", "max": "higher"}[score.better],
        "pictures": f"{score.stamp.generated:,}",
        "features": score.stamp.features,
    }


def _pictures(record: Record) -> int:
    return max(score.stamp.generated for score in record.scores.values())
