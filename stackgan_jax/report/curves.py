"""Curves of logged scalars: which are drawn together, and where their points lie in the figure."""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

POINTS = 240  # the most points of a curve: longer logs are averaged in bins

# Title, the scalars drawn together with their labels, and a note for the reader.
CHARTS = (
    (
        "Adversarial losses",
        {"d_loss": "discriminator", "g_loss": "generator"},
        "A discriminator that can’t distinguish real from drawn pictures has a loss of 1.39. One "
        "near 0 has won, and the generator learns little more.",
    ),
    (
        "The discriminator’s three terms",
        {"d_loss_real": "real", "d_loss_wrong": "wrong text", "d_loss_fake": "drawn"},
        "“Wrong text” falls when the discriminator reads the caption; until then it is 0.69 or "
        "higher.",
    ),
    (
        "Conditioning augmentation",
        {"kl": "KL divergence"},
        "The distance of the conditioning from plain noise, averaged over its dimensions.",
    ),
    (
        "Gradient norms",
        {"g_gradient_norm": "generator", "d_gradient_norm": "discriminator"},
        "Sudden growth is the first sign of an unstable training.",
    ),
    (
        "Joint embedding loss",
        {"loss": "loss"},
        "It falls as captions come closer to their own pictures than to others.",
    ),
    (
        "Partner found in the batch",
        {
            "text_to_image_accuracy": "picture of a caption",
            "image_to_text_accuracy": "caption of a picture",
        },
        "Share of a batch in which every item is of a different class.",
    ),
)

Curve = Sequence[tuple[float, float]]  # (x, value), x ascending


@dataclasses.dataclass(frozen=True)
class Chart:
    """Up to six curves over one pair of axes, as templates/chart.html draws them.

    Attributes:
        title: of the figure.
        curves: label → curve of at most POINTS points. An empty curve only keeps its colour; at
            least one curve has points.
        note: a sentence below the figure.
        unit: of the x axis, in the singular.
        dots: whether each point is marked.
    """

    WIDTH: ClassVar[int] = 480
    HEIGHT: ClassVar[int] = 240
    LEFT: ClassVar[int] = 48  # the edges of the area that the axes enclose
    RIGHT: ClassVar[int] = 456
    TOP: ClassVar[int] = 10
    BOTTOM: ClassVar[int] = 198

    title: str
    curves: Mapping[str, Curve]
    note: str = ""
    unit: str = "step"
    dots: bool = False

    @property
    def description(self) -> str:
        """The figure in words, for readers who can't see it."""
        ends = "; ".join(
            f"{label} from {curve[0][1]:.3g} to {curve[-1][1]:.3g}"
            for label, curve in self.curves.items()
            if curve
        )
        return f"{self.title} over {self._x_end:,.4g} {self.unit}s: {ends}"

    @functools.cached_property
    def x_ticks(self) -> list[float]:
        """Round numbers from 0 to the last x."""
        return ticks(0, self._x_end)

    @functools.cached_property
    def y_ticks(self) -> list[float]:
        """Round numbers over the range of the values and 0."""
        return ticks(min(0.0, *self._values), max(self._values))

    def x(self, value: float) -> float:
        """Pixels from the figure's left edge."""
        return round(self.LEFT + value / self._x_end * (self.RIGHT - self.LEFT), 1)

    def y(self, value: float) -> float:
        """Pixels from the figure's top."""
        low, high = self.y_ticks[0], max(self.y_ticks[-1], *self._values)
        share = (value - low) / (high - low) if high > low else 0.0
        return round(self.BOTTOM - share * (self.BOTTOM - self.TOP), 1)

    @functools.cached_property
    def _x_end(self) -> float:
        return max(x for curve in self.curves.values() for x, _ in curve)

    @functools.cached_property
    def _values(self) -> list[float]:
        return [value for curve in self.curves.values() for _, value in curve]


def charts(log: Sequence[Mapping[str, float]]) -> list[Chart]:
    """Returns the charts for which a log has scalars.

    Args:
        log: the lines of a metrics.jsonl, each with "step" and scalars.
    """
    figures = []
    for title, labels, note in CHARTS:
        curves = {
            label: binned([(line["step"], line[name]) for line in log if name in line])
            for name, label in labels.items()
        }
        curves = {label: curve for label, curve in curves.items() if curve}
        if curves:
            figures.append(Chart(title, curves, note))
    return figures


def binned(curve: Curve, points: int = POINTS) -> Curve:
    """Returns at most `points` points, each the mean of equally many neighbours."""
    size = max(math.ceil(len(curve) / points), 1)
    bins = [curve[i : i + size] for i in range(0, len(curve), size)]
    return [tuple(sum(axis) / len(part) for axis in zip(*part, strict=True)) for part in bins]


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Returns round numbers from at or below `low` up to `high`, in about `count` steps.

    A step is 1, 2 or 5 times a power of 10.
    """
    span = max(high - low, 1e-9)
    power = 10 ** math.floor(math.log10(span / count))
    step = power * min((1, 2, 5, 10), key=lambda times: abs(times * power - span / count))
    start = math.floor(low / step)
    return [i * step for i in range(start, math.floor(high / step + 1e-9) + 1)]
