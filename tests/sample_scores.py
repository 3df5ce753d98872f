"""Scores, stamps and records for the tests of evaluation and of comparisons."""

import dataclasses

from stackgan_jax.evaluation.records import Record
from stackgan_jax.evaluation.stamps import Score, Stamp

QUICK = {"attributes": False, "independent": False, "images": 160}  # of config.eval


def stamp(**changes):
    """A complete stamp with some fields changed."""
    fields = {field.name: "given" for field in dataclasses.fields(Stamp)}
    fields |= {"generated": 9, "real": 9, "step": 3, "versions": {"python": "3"}}
    return Stamp(**fields | changes)


def record(step, value, protocol="quick", **changes):
    """A record with one FID, whose stamp has some fields changed."""
    score = Score("fid", value, stamp(step=step, **changes))
    return Record.of(step, protocol, 1.0, [score], {})
