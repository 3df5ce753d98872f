"""Captions name attributes of their bird, and the parser finds exactly these."""

import re

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stackgan_jax.data.synthetic_birds import captions
from stackgan_jax.data.synthetic_birds.attributes import ATTRIBUTES, CAPTION_ATTRIBUTES

BIRDS = st.fixed_dictionaries({name: st.sampled_from(v) for name, v in ATTRIBUTES.items()})
SEEDS = st.integers(0, 2**32 - 1)
ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789-,;.!?:'\"/\\|_@#$%^&*~`+=<>()[]{} \n"


@settings(max_examples=80)
@given(bird=BIRDS, seed=SEEDS)
def test_the_parser_inverts_the_generator(bird, seed):
    made = captions.captions(np.random.default_rng(seed), bird)
    assert len(made) == captions.CAPTIONS_PER_IMAGE
    for text, named in made:
        assert captions.attributes_named(text) == named, text
        assert all(bird[name] == value for name, value in named.items())
        assert len(text) <= captions.MAX_LENGTH
        assert set(text) <= set(ALPHABET)
    assert set().union(*(named for _, named in made)) == set(CAPTION_ATTRIBUTES)


@settings(max_examples=80)
@given(bird=BIRDS, seed=SEEDS, names=st.sets(st.sampled_from(CAPTION_ATTRIBUTES), min_size=1))
def test_any_subset_of_attributes_can_be_named(bird, seed, names):
    named = {name: bird[name] for name in names}
    text = captions.caption(np.random.default_rng(seed), named)
    assert captions.attributes_named(text) == named, text


@settings(max_examples=50)
@given(text=st.text(max_size=200))
def test_the_parser_accepts_any_text(text):
    assert set(captions.attributes_named(text)) <= set(CAPTION_ATTRIBUTES)


def test_the_parser_reads_captions_written_by_people():
    assert captions.attributes_named("A small red bird with black wings") == {
        "size": "small",
        "crown": "red",
        "back": "red",
        "belly": "red",
        "wings": "black",
    }
    assert captions.attributes_named("its head is gray and it has a long, yellow breast") == {
        "crown": "grey",
        "belly": "yellow",
    }
    assert captions.attributes_named("a photograph of a cat") == {}


def test_a_named_part_overrides_the_colour_of_the_whole_bird():
    found = captions.attributes_named("a blue bird with a white belly")
    assert found == {"crown": "blue", "back": "blue", "belly": "white"}


def test_captions_are_varied_english():
    bird = {name: values[0] for name, values in ATTRIBUTES.items()}
    rng = np.random.default_rng(0)
    texts = [text for _ in range(40) for text, _ in captions.captions(rng, bird)]
    assert len(set(texts)) > 380
    openings = {" ".join(text.split()[:2]) for text in texts}
    assert len(openings) > 25
    for text in texts:
        assert not re.search(r"\b[Aa] [aeiou]|\ban [^aeiou]|  | ,|,\.|^[, ]", text), text
