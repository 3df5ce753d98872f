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


@pytest.mark.parametrize(
    ("made", "lines"), [(1.0, ""), (1.4, ""), (1.6, "horizontal"), (0.6, "vertical")]
)
def test_combs_are_named_by_their_direction(made, lines):
    assert (f"combs of {lines} lines" in cautions.combs(made, 1.0)) == bool(lines)


def test_all_cautions_of_scores_are_sentences():
    scores = [
        Score("spread", 0.4, stamp(generated=256), warning="pictures are much alike"),
        Score("sharpness", 0.1, stamp(generated=1000)),
    ]
    alike, few = cautions.in_words(scores)
    assert alike == "Spread: pictures are much alike."
    assert few.startswith("Some scores are of 256 pictures only")
    assert cautions.in_words(scores[1:]) == cautions.in_words([]) == []
