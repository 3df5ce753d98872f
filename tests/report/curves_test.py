"""Charts of logged scalars: ticks, bins, and where the points lie."""

import pytest

from stackgan_jax.report import curves
from stackgan_jax.report.rendering import render


@pytest.mark.parametrize(
    "low, high, expected",
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 7.3, [0, 2, 4, 6]),
        (-3, 3, [-3, -2, -1, 0, 1, 2, 3]),
        (0, 0, [0]),
    ],
)
def test_ticks_are_round(low, high, expected):
    assert curves.ticks(low, high) == pytest.approx(expected)


def test_long_curves_are_averaged():
    points = curves.binned([(float(i), 2.0 * i) for i in range(1000)], 100)
    assert len(points) == 100
    assert points[0] == (4.5, 9.0) and points[-1] == (994.5, 1989.0)


def test_charts_contain_what_was_logged():
    log = [{"step": 10 * i, "seconds": i, "d_loss": 1 / i, "kl": 0.0} for i in range(1, 4)]
    charts = curves.charts(log)
    assert [list(chart.curves) for chart in charts] == [["discriminator"], ["KL divergence"]]
    assert "discriminator from 1 to 0.333" in charts[0].description
    assert "generator from" not in charts[0].description


def test_points_lie_within_the_axes():
    chart = curves.Chart("loss", {"a": [(5, -1.0), (10, 3.0)]})
    assert (chart.x(0), chart.x(10)) == (chart.LEFT, chart.RIGHT)
    assert (chart.y(chart.y_ticks[0]), chart.y(3.0)) == (chart.BOTTOM, chart.TOP)
    zeros = curves.Chart("loss", {"a": [(5, 0.0)]})
    assert zeros.y(0.0) == zeros.BOTTOM


def test_curves_keep_their_colours_when_one_is_empty():
    chart = curves.Chart("loss", {"<a>": [], "<b>": [(5, 1.0), (10, 3.0)]}, dots=True)
    svg = drawn(chart)
    assert svg.count("<path") == 1 and svg.count("<circle") == 2
    assert '<path class="c1" d="M252.0 135.3 L456.0 10.0"/>' in svg
    assert "&lt;b&gt;" in svg and "a&gt;" not in svg


def drawn(chart):
    """The chart in a comparison without runs."""
    return render(
        "comparison.html",
        protocol="",
        runs={},
        rows={},
        warnings=[],
        cautions=[],
        pictures=[],
        charts=[[chart]],
    )
