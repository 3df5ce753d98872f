"""Cautions: what a reader of scores must know, in plain words. Pure functions of the scores."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stackgan_jax.evaluation import registry

if TYPE_CHECKING:
    from stackgan_jax.evaluation.stamps import Score

ABOVE = 1.02  # times the score of the real pictures; less than that is chance
LEAST_SPREAD = 0.6  # of that of real pictures
CLEAR = 4.0  # times the score of wrong pictures: what towers that know captions give the right ones
COMBED = 1.5  # times the real pictures' ratio of gradients
FEW = 500  # pictures; with fewer the share of hits is uncertain by more than about 4 %


def above_real(metric: registry.Metric, value: float, real: float | None) -> str:
    """Warns of a text score above that of real pictures, which nothing honest reaches; or ""."""
    of_text = metric.captions and metric.better == "higher"
    if not of_text or real is None or value <= ABOVE * real:
        return ""
    return "above real pictures: not to be trusted"


def weak_scorer(real: float, wrong: float) -> str:
    """Warns of towers that hardly tell captions apart, even those of real pictures; or "".

    Args:
        real: R-precision of the captions' own pictures.
        wrong: R-precision of real pictures of other classes.
    """
    if real >= CLEAR * wrong:
        return ""
    return (
        f"these towers hardly tell captions apart: real pictures reach {100 * real:.0f} %, real "
        f"pictures of other captions {100 * wrong:.0f} %"
    )


def little_spread(made: float, real: float, compared: str) -> str:
    """Warns of pictures of one sentence that are much alike; or "".

    Args:
        made: their difference.
        real: the difference of real pictures.
        compared: what these have in common, in words.
    """
    if made >= LEAST_SPREAD * real:
        return ""
    return (
        f"pictures of one sentence are much alike: they differ by {100 * made / real:.0f} % of "
        f"what real ones do ({compared})"
    )


def combs(made: float, real: float) -> str:
    """Warns of combs of lines; or "".

    Args:
        made: vertical over horizontal gradient energy of the pictures.
        real: that of real pictures.
    """
    if 1 / COMBED < made / real < COMBED:
        return ""
    lines = "horizontal" if made > real else "vertical"
    return (
        f"the pictures have combs of {lines} lines: their vertical over horizontal gradient "
        f"energy is {made:.2g}, that of real ones {real:.2g}"
    )


def few_pictures(scores: Sequence["Score"]) -> str:
    """Warns of scores of so few pictures that small differences between runs are chance; or ""."""
    most = max((score.stamp.generated for score in scores), default=FEW)
    if most >= FEW:
        return ""
    return f"the scores are of {most:,} pictures only: small differences between runs are chance"


def in_words(scores: Sequence["Score"]) -> list[str]:
    """Returns all cautions of scores, one sentence each."""
    said = [f"{registry.TITLES.get(s.name, s.name)}: {s.warning}." for s in scores if s.warning]
    few = few_pictures(scores)
    return [*said, *([f"{few[0].upper()}{few[1:]}."] if few else [])]
