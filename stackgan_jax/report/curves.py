"""Curves of a training's scalars as inline SVG, drawn without any plotting library."""

import html
import math
from collections.abc import Mapping, Sequence

WIDTH, HEIGHT = 480, 240
LEFT, RIGHT, TOP, BOTTOM = 48, 24, 10, 42
POINTS = 240  # a curve's points at most: longer logs are averaged in bins

# Title, the scalars drawn together with their labels, and what to look for.
CHARTS = (
    (
        "Adversarial losses",
        {"d_loss": "discriminator", "g_loss": "generator"},
        "A discriminator that can’t tell real from drawn stands at 1.39; one near 0 has won, and "
        "the generator learns little more.",
    ),
    (
        "The discriminator’s three terms",
        {"d_loss_real": "real", "d_loss_wrong": "wrong text", "d_loss_fake": "drawn"},
        "“Wrong text” falls when the discriminator reads the caption; until then it stands at "
        "0.69 or above.",
    ),
    (
        "Conditioning augmentation",
        {"kl": "KL divergence"},
        "How far the conditioning is from plain noise, averaged over its dimensions.",
    ),
    (
        "Gradient norms",
        {"g_gradient_norm": "generator", "d_gradient_norm": "discriminator"},
        "Sudden growth is the first sign of a training that breaks.",
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
        "Share of a batch, every item of another class.",
    ),
)

Curve = Sequence[tuple[float, float]]


def charts(log: Sequence[Mapping[str, float]]) -> list[str]:
    """The figures that the lines of a metrics.jsonl allow: dicts of "step" and scalars."""
    figures = []
    for title, labels, note in CHARTS:
        curves = {
            label: [(line["step"], line[name]) for line in log if name in line]
            for name, label in labels.items()
        }
        curves = {label: curve for label, curve in curves.items() if curve}
        if curves:
            figures.append(chart(title, curves, note))
    return figures


def chart(
    title: str, curves: Mapping[str, Curve], note: str = "", unit: str = "step", dots: bool = False
) -> str:
    """A `<figure>` of up to six curves, label → (x, value) pairs, over one pair of axes.

    A curve without points only takes its colour. `unit` is the x axis'; with `dots` each point is
    marked.
    """
    curves = {label: binned(curve) for label, curve in curves.items()}
    steps = [x for curve in curves.values() for x, _ in curve]
    values = [y for curve in curves.values() for _, y in curve]
    x_ticks = ticks(0, max(steps))
    y_ticks = ticks(min(0.0, *values), max(values))
    first, last = y_ticks[0], max(y_ticks[-1], *values)
    last = last if last > first else first + 1

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + x / max(steps) * (WIDTH - LEFT - RIGHT)
        return across, TOP + (last - y) / (last - first) * (HEIGHT - TOP - BOTTOM)

    axes = "".join(_y_tick(value, place(0, value)[1]) for value in y_ticks)
    axes += "".join(_x_tick(step, place(step, 0)[0]) for step in x_ticks)
    middle = (LEFT + WIDTH - RIGHT) / 2
    axes += f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{html.escape(unit)}</text>'
    paths = "".join(
        f'<path class="c{i} c{i}path" d="M{" L".join(_point(*place(*p)) for p in curve)}"/>'
        for i, curve in enumerate(curves.values())
        if curve
    )
    if dots:
        paths += "".join(
            '<circle class="c{} c{}dot" r="3.5" cx="{:.1f}" cy="{:.1f}"/>'.format(i, i, *place(*p))
            for i, curve in enumerate(curves.values())
            for p in curve
        )
    label = html.escape(f"{title} over {max(steps):,.4g} {unit}s: {_ends(curves)}")
    return (
        f"<figure><b>{html.escape(title)}</b>{_legend(curves)}"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{axes}{paths}</svg>'
        f"<figcaption>{html.escape(note)}</figcaption></figure>"
    )


def binned(curve: Curve, points: int = POINTS) -> Curve:
    """At most `points` points, each the mean of equally many neighbours."""
    size = max(math.ceil(len(curve) / points), 1)
    bins = [curve[i : i + size] for i in range(0, len(curve), size)]
    return [tuple(sum(axis) / len(part) for axis in zip(*part, strict=True)) for part in bins]


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers from at or below `low` up to `high`, about `count` steps of 1, 2 or 5."""
    span = max(high - low, 1e-9)
    power = 10 ** math.floor(math.log10(span / count))
    step = power * min((1, 2, 5, 10), key=lambda times: abs(times * power - span / count))
    start = math.floor(low / step)
    return [i * step for i in range(start, math.floor(high / step + 1e-9) + 1)]


def _y_tick(value: float, y: float) -> str:
    return (
        f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.4g}</text>'
    )


def _x_tick(step: float, x: float) -> str:
    words = f"{step:,.0f}" if step == round(step) else f"{step:g}"
    return f'<text x="{x:.1f}" y="{HEIGHT - 24}" text-anchor="middle">{words}</text>'


def _point(x: float, y: float) -> str:
    return f"{x:.1f} {y:.1f}"


def _legend(curves: Mapping[str, Curve]) -> str:
    items = "".join(
        f'<li class="c{i}"><i></i><span>{html.escape(label)}</span></li>'
        for i, (label, curve) in enumerate(curves.items())
        if curve
    )
    return f'<ul class="legend">{items}</ul>'


def _ends(curves: Mapping[str, Curve]) -> str:
    return "; ".join(
        f"{label} from {curve[0][1]:.3g} to {curve[-1][1]:.3g}"
        for label, curve in curves.items()
        if curve
    )
