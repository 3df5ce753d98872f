"""A ridge regression from frozen image features to words: it teaches the text tower its places.

With few captions a linear regression from a pretrained network's features to the words of the
captions finds unseen classes better than two trained towers (docs/retrieval.md). So the image layer
is this regression, fixed, and the text tower learns where it puts each caption's words.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from stackgan_jax.training import ridge

STRENGTH = 4.0  # λ, for each picture; of features with mean 0 and deviation 1.
LEAST = 3  # Captions that a word must occur in.
MOST = 2000  # Words, the most frequent ones.
_WORD = re.compile(r"\w+")


class Teacher(NamedTuple):
    """What the regression teaches.

    Attributes:
        kernel: `[d, t]` of the image layer, for features with mean 0 and deviation 1.
        places: `[c, t]` of every caption, without what all captions have in common.
    """

    kernel: np.ndarray
    places: np.ndarray


def teacher(features: np.ndarray, captions: Sequence[Sequence[str]], width: int) -> Teacher:
    """Regresses the words of captions on the features of their pictures.

    Args:
        features: `[n, views, d]`, each feature with mean 0 and deviation 1.
        captions: of each picture.
        width: t, of the joint embedding: the directions in which the predicted words differ most.
    """
    flat = [caption for several in captions for caption in several]
    words = _unit(_occurrences(flat))
    owners = np.repeat(np.arange(len(captions)), [len(several) for several in captions])
    of_picture = np.stack([words[owners == i].mean(axis=0) for i in range(len(captions))])
    mean = of_picture.mean(axis=0)
    views = features.shape[1]
    x = np.asarray(features, np.float64).reshape(-1, features.shape[-1])
    targets = np.repeat(of_picture - mean, views, axis=0)
    weights = ridge.regression(x, targets, STRENGTH)
    predicted = x @ weights
    _, directions = np.linalg.eigh(predicted.T @ predicted)
    directions = directions[:, ::-1][:, :width]
    directions = np.pad(directions, ((0, 0), (0, max(0, width - directions.shape[1]))))
    places = (words - mean) @ directions
    # Of deviation about 1, as the embeddings of other trainings.
    scale = 1 / max(places.std(), 1e-6)
    return Teacher(np.float32(weights @ directions), np.float32(scale * places))


def _occurrences(captions: Sequence[str]) -> np.ndarray:
    """`[c, v]`: which of the frequent words are in each caption."""
    found = [set(_WORD.findall(caption.lower())) for caption in captions]
    counts = Counter(word for words in found for word in words)
    frequent = [word for word, n in counts.most_common(MOST) if n >= min(LEAST, len(captions))]
    columns = {word: i for i, word in enumerate(frequent)}
    occurrences = np.zeros((len(captions), max(1, len(frequent))))
    for row, words in zip(occurrences, found, strict=True):
        row[[columns[word] for word in words if word in columns]] = 1
    return occurrences


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
