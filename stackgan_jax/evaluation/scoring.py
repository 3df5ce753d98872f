"""Scoring: the features of generated and real pictures become scores with complete stamps."""

import dataclasses
import math
from collections.abc import Iterable

from stackgan_jax.evaluation import cautions, registry
from stackgan_jax.evaluation.evidence import Evidence
from stackgan_jax.evaluation.readers import Reader
from stackgan_jax.evaluation.registry import Measurement
from stackgan_jax.evaluation.stamps import Score, Stamp
from stackgan_jax.runtime.errors import UserError


def score(
    evidence: Evidence, readers: Iterable[Reader]
) -> tuple[list[Score], dict[str, UserError]]:
    """Computes every registered metric that the readers and the captions allow.

    Args:
        evidence: the features of all readers.
        readers: the networks that read the features.

    Returns:
        The scores, and for each metric that can't be computed the reason.
    """
    scores, left_out = [], {}
    for reader in readers:
        own = dataclasses.replace(evidence, reader=reader)
        for metric in registry.read_by(reader.name, captions=evidence.captions is not None):
            try:
                scores.append(_stamped(metric.name, metric.measure(own), own))
            except UserError as error:
                left_out[metric.name] = error
    return scores, left_out


def measured_by(reader: Reader) -> list[str]:
    """The names of the metrics that a reader allows for pictures with captions."""
    return [metric.name for metric in registry.read_by(reader.name)]


def _stamped(name: str, found: Measurement, evidence: Evidence) -> Score:
    if not math.isfinite(found.value):
        raise UserError(
            f"{registry.METRICS[name].title} is {found.value}: the pictures differ too little, or "
            "have values that are not finite."
        )
    generated, real = found.counts or evidence.counts
    stamp = Stamp(
        definition=found.definition,
        features=found.features,
        splits=found.splits,
        generated=generated,
        real=real,
        protocol=evidence.protocol.name,
        **evidence.reader.stamp,
        **evidence.origin,
    )
    flattery = cautions.above_real(registry.METRICS[name], found.value, found.real)
    warnings = (found.warning, evidence.reader.warning, flattery)
    warning = "; ".join(filter(None, warnings))
    return Score(name, found.value, stamp, found.spread, found.real, warning)
