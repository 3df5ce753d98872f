"""Cautions: little spread, combs, too few pictures, and scores above those of real pictures."""

import pytest
from sample_scores import stamp

from stackgan_jax.evaluation import cautions
from stackgan_jax.evaluation.stamps import Score


@pytest.mark.parametrize(("made", "said"), [(0.59, True), (0.61, False), (1.4, False)])
def test_pictures_of_a_sentence_that_are_much_alike_are_named(made, said):
    caution = cautions.little_spread(made, 1.0, "real pictures of its class")
    assert bool(caution) == said
    assert not said or "59 % of what real ones do (real pictures of its class)" in caution


@pytest.mark.parametrize(("wrong", "weak"), [(0.05, True), (0.01, False), (0.0, False)])
def test_towers_that_give_wrong_pictures_nearly_the_same_score_are_named(wrong, weak):
    caution = cautions.weak_scorer(0.12, wrong)
    assert bool(caution) == weak
    assert not weak or "real pictures reach 12 %, real pictures of other captions 5 %" in caution


@pytest.mark.parametrize(
    ("made", "lines"), [(1.0, ""), (1.4, ""), (1.6, "horizontal"), (0.6, "vertical")]
)
def test_combs_are_named_by_their_direction(made, lines):
    assert (f"combs of {lines} lines" in cautions.combs(made, 1.0)) == bool(lines)


def test_all_cautions_of_scores_are_sentences():
    scores = [
        Score("spread", 0.4, stamp(generated=256), warning="pictures are much alike"),
        Score("sharpness", 0.1, stamp(generated=200)),
    ]
    alike, few = cautions.in_words(scores)
    assert alike == "Spread: pictures are much alike."
    assert few.startswith("The scores are of 256 pictures only")
    many = Score("sharpness", 0.1, stamp(generated=1000))
    assert cautions.in_words([many, scores[1]]) == cautions.in_words([]) == []
