"""A score and its stamp: all that decided it. Without a complete stamp there is no score."""

import dataclasses
import importlib.metadata
import math
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from stackgan_jax.evaluation.metrics import BETTER

PACKAGES = ("stackgan_jax", "jax", "jaxlib", "flax", "numpy", "pillow")
TITLES = {
    "fid": "FID",
    "kid": "KID",
    "inception_score": "Inception Score",
    "precision": "Precision",
    "recall": "Recall",
    "joint_frechet_distance": "Joint Fréchet distance",
    "r_precision": "R-precision",
    "caption_to_image": "Caption → image",
    "image_to_caption": "Image → caption",
    "attribute_accuracy": "Attribute accuracy",
    "colour_accuracy": "Colour accuracy",
}
# Shares of 1, told in per cent.
SHARES = frozenset(name for name, better in BETTER.items() if better == "max") - {"inception_score"}


@dataclasses.dataclass(frozen=True)
class Stamp:
    """What a score was measured with. Every field must be told; "none" where there is nothing.

    Attributes:
      definition: of the metric, with its settings.
      features: network and layer.
      weights: the network's file.
      sha256: of that file or, for networks of the run, a fingerprint of their weights.
      resize: of the pictures, before the network reads them.
      precision: of the network.
      generated: how many pictures.
      real: how many real ones they were compared with.
      splits: of the pictures, where the metric has them.
      seed: of whatever was drawn.
      truncation: of z.
      averaged: whether the generator's moving average drew.
      batch_norm: the generator's statistics.
      step: of the checkpoint.
      checkpoint: a fingerprint of the weights that drew.
      pictures: their maker, or their folder.
      size: of the pictures in pixels.
      data: the data set, or the folder of the real ones.
      split: of the data set.
      captions: for which the pictures were drawn.
      protocol: the preset, with what was changed in it.
      device: of the computation.
      versions: of the libraries.
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

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is None or value == "" or value == {}:
                raise ValueError(f"A stamp needs its {field.name}.")


# In which two evaluations of one metric must agree to be compared.
COMPARABLE = (
    "definition",
    "features",
    "sha256",
    "resize",
    "precision",
    "generated",
    "real",
    "splits",
    "truncation",
    "size",
    "data",
    "split",
    "captions",
)


@dataclasses.dataclass(frozen=True)
class Score:
    """A number that says how it came about.

    Attributes:
      name: one of TITLES.
      value: of the generated pictures.
      stamp: complete.
      spread: standard deviation over subsets or splits, where the metric has them.
      real: what the real images score in their place, where that means something.
      warning: what to mind.
    """

    name: str
    value: float
    stamp: Stamp
    spread: float | None = None
    real: float | None = None
    warning: str = ""

    def __post_init__(self):
        if not isinstance(self.stamp, Stamp):
            raise TypeError(f"{self.name} has no stamp.")
        if self.name not in TITLES or not math.isfinite(self.value):
            raise ValueError(f"{self.name} = {self.value} is no score.")

    def with_warning(self, warning: str) -> "Score":
        """Minding this as well, if it is anything."""
        both = "; ".join(filter(None, (self.warning, warning)))
        return dataclasses.replace(self, warning=both)

    def as_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"better": BETTER[self.name]}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Score":
        """What `as_json` made; ValueError or TypeError where it is not that, or lacks something."""
        fields = {field.name: stored[field.name] for field in dataclasses.fields(cls)}
        return cls(**fields | {"stamp": Stamp(**stored["stamp"])})

    def comparable(self, other: "Score") -> bool:
        """Whether both were measured in the same way."""
        return all(getattr(self.stamp, n) == getattr(other.stamp, n) for n in COMPARABLE)


def number(name: str, value: float | None) -> str:
    """A score's value as it is printed."""
    if value is None:
        return "–"
    if name in SHARES:
        return f"{100 * value:.1f} %"
    return f"{value:.4g}"


def table(scores: Sequence[Score], left_out: Mapping[str, str]) -> str:
    """Scores and all their stamps for reading: what they share is told once."""
    rows = [("metric", "score", "±", "real images", "better")]
    for score in scores:
        better = {"min": "lower", "max": "higher"}[BETTER[score.name]]
        figures = (number(score.name, v) for v in (score.value, score.spread, score.real))
        rows.append((TITLES[score.name], *figures, better))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
    told = [line.rstrip() for line in lines] + ["", *measured_with(scores)]
    told += [f"left out: {TITLES[name]}: {reason}" for name, reason in left_out.items()]
    return "\n".join(told)


def measured_with(scores: Sequence[Score]) -> list[str]:
    """The scores' stamps and warnings as lines: what all stamps share is told once."""
    stamps = [dataclasses.asdict(score.stamp) for score in scores]
    shared = [name for name in stamps[0] if all(s[name] == stamps[0][name] for s in stamps)]
    told = ["measured with", *(f"  {name:<10}  {_words(stamps[0][name])}" for name in shared)]
    for score, stamp in zip(scores, stamps, strict=True):
        own = [f"{name} {_words(value)}" for name, value in stamp.items() if name not in shared]
        told += [f"  {TITLES[score.name]}: {'; '.join(own)}"] if own else []
    return told + [f"mind: {TITLES[s.name]}: {s.warning}" for s in scores if s.warning]


def here() -> dict[str, Any]:
    """A stamp's device and versions."""
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
