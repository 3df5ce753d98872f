"""The registry of metrics: a metric is one decorated function.

A metric of your own, in any module that is imported before the evaluation:

    from stackgan_jax.evaluation.registry import Evidence, Measurement, metric

    @metric("brightness", title="Brightness", better="lower", reads="inception")
    def brightness(evidence: Evidence) -> Measurement:
        made, real = evidence.generated["2048"], evidence.real["2048"]
        return Measurement(abs(made.mean() - real.mean()), "difference of means", "layer 2048")

It then appears in metrics.json, in the tables and in comparisons, with a complete stamp.
`metrics.py` holds the metrics of this package.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

from stackgan_jax.evaluation.evidence import Evidence

# Reader → the features that it gives a metric.
READS = {
    "inception": 'FID\'s Inception-v3: "2048" and "logits_unbiased"',
    "joint": 'the image encoder of the run\'s joint embedding: "joint"',
    "independent": 'the scorer that no generator is trained against: "independent"',
    "pretrained": 'a pretrained image network: "pooled" features, and "class" by ImageNet',
    "attributes": 'the judge of synthetic birds: "attribute/<name>"',
    "detail": 'no network: "detail" and "gradients", energies of each picture',
    "thumbnails": 'no network: "thumbnail", of the pictures that `Evidence.groups` puts together',
    "layers": 'the convolutions of an image encoder: "layers", of the same pictures',
}
BETTER_IS = {"lower": "min", "higher": "max"}  # as a metric says it → as metrics.json says it


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What a metric returns: its value, and the part of the stamp that only the metric knows.

    Attributes:
        value: of the generated pictures.
        definition: of the metric, with its settings.
        features: network and layer.
        splits: how the pictures were split, where the metric splits them.
        counts: how many generated and real pictures the metric used; None for all.
        spread: standard deviation over subsets or splits, where the metric has them.
        real: the value of the real pictures in place of the generated ones, where it makes sense.
        warning: what a reader of the score must know.
    """

    value: float
    definition: str
    features: str
    splits: str = "none"
    counts: tuple[int, int] | None = None
    spread: float | None = None
    real: float | None = None
    warning: str = ""


@dataclasses.dataclass(frozen=True)
class Metric:
    """One entry of the registry.

    Attributes:
        name: in metrics.json and in `config.keep.best`.
        title: in tables.
        better: "lower" or "higher", whichever is better.
        reads: the reader whose features it uses, one of READS.
        captions: whether it needs the captions of the pictures.
        percent: whether it is a share in [0, 1] that is printed in per cent.
        measure: computes it; raises UserError where that is impossible.
    """

    name: str
    title: str
    better: Literal["lower", "higher"]
    reads: str
    captions: bool
    percent: bool
    measure: Callable[[Evidence], Measurement]

    @property
    def mode(self) -> str:
        """The word of metrics.json and `config.keep.best_mode`: "min" or "max"."""
        return BETTER_IS[self.better]


METRICS: dict[str, Metric] = {}  # in the order of tables


def metric(
    name: str,
    *,
    title: str,
    better: Literal["lower", "higher"],
    reads: str,
    captions: bool = False,
    percent: bool = False,
) -> Callable[[Callable[[Evidence], Measurement]], Callable[[Evidence], Measurement]]:
    """Returns a decorator that adds a function to the registry and leaves it as it is.

    Args:
        name: in metrics.json and in `config.keep.best`.
        title: in tables.
        better: "lower" or "higher", whichever is better.
        reads: the reader whose features the function uses, one of READS.
        captions: whether the function needs the captions of the pictures.
        percent: whether the value is a share in [0, 1] that is printed in per cent.

    Raises:
        ValueError: for a name that is taken, an unknown `better` or an unknown reader.
    """
    if name in METRICS:
        raise ValueError(f"There is already a metric {name!r}; choose another name.")
    for what, value, known in (("better", better, BETTER_IS), ("reads", reads, READS)):
        if value not in known:
            choices = ", ".join(known)
            raise ValueError(f"Unknown {what}={value!r} of {name!r}; choose from {choices}.")

    def register(measure: Callable[[Evidence], Measurement]) -> Callable[[Evidence], Measurement]:
        METRICS[name] = Metric(name, title, better, reads, captions, percent, measure)
        return measure

    return register


def read_by(reader: str, captions: bool = True) -> list[Metric]:
    """Returns the metrics of one reader's features, without captions only those that need none."""
    metrics = METRICS.values()
    return [m for m in metrics if m.reads == reader and (captions or not m.captions)]


class _Column(Mapping[str, str]):
    """One property of every registered metric, by the metric's name; metrics added later appear."""

    def __init__(self, of: Callable[[Metric], str]) -> None:
        self._of = of

    def __getitem__(self, name: str) -> str:
        return self._of(METRICS[name])

    def __iter__(self) -> Iterator[str]:
        return iter(METRICS)

    def __len__(self) -> int:
        return len(METRICS)


TITLES: Mapping[str, str] = _Column(lambda metric: metric.title)
BETTER: Mapping[str, str] = _Column(lambda metric: metric.mode)
