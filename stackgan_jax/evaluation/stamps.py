"""Scores and their stamps: each score has a stamp, which holds everything that decided it."""

import dataclasses
import importlib.metadata
import math
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from stackgan_jax.evaluation.metrics import METRICS
from stackgan_jax.evaluation.registry import TITLES

__all__ = [
    "COMPARABLE",
    "TITLES",
    "Score",
    "Stamp",
    "here",
    "measured_with",
    "number",
    "results",
    "stamp_lines",
    "table",
    "title",
]
PACKAGES = ("stackgan_jax", "jax", "jaxlib", "flax", "numpy", "pillow")


@dataclasses.dataclass(frozen=True)
class Stamp:
    """What a score was measured with. Every field is required; it is "none" where nothing applies.

    Attributes:
        definition: of the metric, with its settings.
        features: network and layer.
        weights: the network's file.
        sha256: of that file; for a network of the run, a fingerprint of its weights.
        resize: how pictures are resized before the network reads them.
        precision: of the network.
        generated: the number of generated pictures.
        real: the number of real pictures that they were compared with.
        splits: how the pictures were split, where the metric splits them.
        seed: of everything that was drawn at random.
        truncation: of z.
        averaged: whether the generator's moving average drew the pictures.
        batch_norm: the generator's batch statistics.
        step: of the checkpoint.
        checkpoint: a fingerprint of the generator's weights.
        pictures: the run that drew the pictures, or their folder.
        size: of the pictures in pixels.
        data: the data set, or the folder of the real pictures.
        split: of the data set.
        captions: how the captions of the pictures were chosen.
        protocol: the preset, with the changes to it.
        device: of the computation.
        versions: of the libraries.

    Raises:
        ValueError: for an empty field.
    """

    definition: str
    features: str
    weights: str
    sha256: str
    resize: str
    precision: str
    generated: int
    real: int
    splits: str
    seed: str
    truncation: str
    averaged: str
    batch_norm: str
    step: int | str
    checkpoint: str
    pictures: str
    size: str
    data: str
    split: str
    captions: str
    protocol: str
    device: str
    versions: Mapping[str, str]

    def __post_init__(self) -> None:
        """Checks that every field is there."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is None or value == "" or value == {}:
                raise ValueError(f"A stamp needs its {field.name}.")


# Two evaluations of one metric can be compared if these fields of their stamps agree.
# Field → what it is, in words.
COMPARABLE = {
    "definition": "the definition",
    "features": "the features",
    "sha256": "the network that reads the pictures",
    "resize": "the resizing",
    "precision": "the precision",
    "generated": "the number of drawn pictures",
    "real": "the number of real pictures",
    "splits": "the splits",
    "truncation": "the truncation of the noise",
    "size": "the size of the pictures",
    "data": "the data",
    "split": "the split of the data",
    "captions": "the choice of captions",
}


@dataclasses.dataclass(frozen=True)
class Score:
    """The value of a metric, with the stamp that says how it was measured.

    Attributes:
        name: of the metric.
        value: of the generated pictures.
        stamp: what it was measured with.
        spread: standard deviation over subsets or splits, where the metric has them.
        real: the score of the real pictures in place of the generated ones, where it makes sense.
        warning: what a reader of the score must know.
        better: "min" or "max", whichever is better. The registry decides it; a stored score keeps
            its own, so that it can be read where its metric is not registered.

    Raises:
        TypeError: without a stamp.
        ValueError: for an unknown metric or a value that is not finite.
    """

    name: str
    value: float
    stamp: Stamp
    spread: float | None = None
    real: float | None = None
    warning: str = ""
    better: str = ""

    def __post_init__(self) -> None:
        """Checks the fields and sets `better` from the registry."""
        if not isinstance(self.stamp, Stamp):
            raise TypeError(f"{self.name} has no stamp.")
        if self.name in METRICS:
            object.__setattr__(self, "better", METRICS[self.name].mode)
        if self.better not in ("min", "max"):
            raise ValueError(f"Unknown metric {self.name!r}; choose from {', '.join(METRICS)}.")
        if not math.isfinite(self.value):
            raise ValueError(f"{self.name} = {self.value} is not a finite number.")

    def as_json(self) -> dict[str, Any]:
        """Returns the score as metrics.json holds it."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Score":
        """Returns the score that `as_json` stored.

        Raises:
            KeyError, TypeError, ValueError: for anything else, or a stamp that is incomplete.
        """
        fields = {field.name: stored[field.name] for field in dataclasses.fields(cls)}
        return cls(**fields | {"stamp": Stamp(**stored["stamp"])})

    def differences(self, other: "Score") -> list[str]:
        """Returns the fields of COMPARABLE in which two scores were measured differently."""
        return [n for n in COMPARABLE if getattr(self.stamp, n) != getattr(other.stamp, n)]


def title(name: str) -> str:
    """Returns the title of a metric; its name where the metric is not registered."""
    return TITLES.get(name, name)


def number(name: str, value: float | None) -> str:
    """Returns the value of a metric as it is printed: a share in per cent, "–" for none."""
    if value is None:
        return "–"
    if name in METRICS and METRICS[name].percent:
        return f"{100 * value:.1f} %"
    return f"{value:.4g}"


def table(scores: Sequence[Score], left_out: Mapping[str, str]) -> str:
    """Returns scores and their stamps as text; fields that all stamps share appear once.

    Args:
        scores: the rows of the table.
        left_out: metric → why it is missing.
    """
    return "\n".join([*_rows(scores), "", *measured_with(scores), *_missing(left_out)])


def results(scores: Sequence[Score], left_out: Mapping[str, str]) -> str:
    """Returns scores and warnings as text, without their stamps.

    Args:
        scores: the rows of the table.
        left_out: metric → why it is missing.
    """
    notes = [*_warnings(scores), *_missing(left_out)]
    return "\n".join([*_rows(scores), *([""] if notes else []), *notes])


def measured_with(scores: Sequence[Score]) -> list[str]:
    """Returns the stamps and warnings of scores as lines; shared fields appear once."""
    return [*stamp_lines(scores), *_warnings(scores)]


def stamp_lines(scores: Sequence[Score]) -> list[str]:
    """Returns the stamps of scores as lines; shared fields appear once."""
    stamps = [dataclasses.asdict(score.stamp) for score in scores]
    shared = [name for name in stamps[0] if all(s[name] == stamps[0][name] for s in stamps)]
    lines = ["measured with", *(f"  {name:<10}  {_words(stamps[0][name])}" for name in shared)]
    for score, stamp in zip(scores, stamps, strict=True):
        own = [f"{name} {_words(value)}" for name, value in stamp.items() if name not in shared]
        lines += [f"  {title(score.name)}: {'; '.join(own)}"] if own else []
    return lines


def _rows(scores: Sequence[Score]) -> list[str]:
    """A line for each score, below a heading."""
    rows = [("metric", "score", "±", "real images", "better")]
    for score in scores:
        better = {"min": "lower", "max": "higher"}[score.better]
        figures = (number(score.name, v) for v in (score.value, score.spread, score.real))
        rows.append((title(score.name), *figures, better))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
    return [line.rstrip() for line in lines]


def _warnings(scores: Sequence[Score]) -> list[str]:
    return [f"mind: {title(s.name)}: {s.warning}" for s in scores if s.warning]


def _missing(left_out: Mapping[str, str]) -> list[str]:
    return [f"left out: {title(name)}: {reason}" for name, reason in left_out.items()]


def here() -> dict[str, Any]:
    """Returns the fields of a stamp that describe this machine: device and versions."""
    devices = sorted({d.device_kind for d in jax.local_devices()})
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {
        "device": f"{jax.device_count()} × {', '.join(devices)}",
        "versions": {"python": platform.python_version(), **versions},
    }


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {version}" for name, version in value.items())
    return f"{value:,}" if isinstance(value, int) else str(value)
