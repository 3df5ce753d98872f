"""Two small splits of captions, and encoders of them, that several tests share."""

from pathlib import Path

import jax
import numpy as np

from stackgan_jax.data.input_pipeline import Split
from stackgan_jax.text.encoders import ENCODERS

DATA = {"name": "folder", "path": ""}
CHOICE = {"text": {"width": 8}, "model": "", "embeddings": "", "data": DATA}
CAPTIONS = [["a red bird", "it is red."], ["a blue bird", "it is BLUE"]]


def split(captions, directory=Path("data/train")):
    return Split(directory, np.zeros((len(captions), 4, 4, 3), np.uint8), None, captions, {})


TRAIN, TEST = split(CAPTIONS), split([["a green bird", "a red bird"]])
FLAT = [caption for captions in [*TRAIN.captions, *TEST.captions] for caption in captions]


def rows(captions, width=6):
    """Returns an embedding for each caption that depends on nothing but the caption."""
    return np.stack([np.random.default_rng(list(c.encode())).normal(size=width) for c in captions])


def bag(train=TRAIN):
    encoder = ENCODERS["bag_of_words"].fresh(CHOICE, train, TEST)
    params = jax.jit(encoder.tower.init)(jax.random.key(0), encoder.tokens(["a"]))["params"]
    return encoder.trained(params)
