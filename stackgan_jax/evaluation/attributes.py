"""The judge of synthetic birds: a network that reads attributes from pictures.

The paper asks people whether a picture shows what its caption says (sec. 4.1). The attributes of
synthetic birds are known, so a network that was trained on drawn birds can answer instead. It comes
with the package (`judge.msgpack`) and is the same for all runs; `attribute_training` made it.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np

from stackgan_jax.data.synthetic_birds.attributes import (
    ATTRIBUTES,
    CAPTION_ATTRIBUTES,
    COLOUR_ATTRIBUTES,
    COLOURS,
)
from stackgan_jax.data.synthetic_birds.captions import attributes_named
from stackgan_jax.models import convolution
from stackgan_jax.models.attribute_classifier import AttributeClassifier, Glimpse
from stackgan_jax.runtime import files
from stackgan_jax.runtime.errors import UserError

# An attribute counts only if at least this share of real pictures is read right.
REQUIRED_ACCURACY = 0.95
CLASSIFIER = AttributeClassifier(
    parts=COLOUR_ATTRIBUTES,
    palette=tuple(tuple(value / 127.5 - 1 for value in colour) for colour in COLOURS.values()),
    glimpses=(
        Glimpse(window=0.18, size=16, reads=("eyes",)),
        Glimpse(window=0.36, size=32, reads=("beak", "beak_shape")),
        Glimpse(window=0.56, size=32, reads=("tail",)),
        Glimpse(window=0.50, size=64, reads=("pattern",)),
    ),
    counts={n: len(ATTRIBUTES[n]) for n in CAPTION_ATTRIBUTES if n not in COLOUR_ATTRIBUTES},
)
FILE = Path(__file__).with_name("judge.msgpack")
_READ_BATCH = 128


@dataclasses.dataclass
class Judge:
    """A trained classifier.

    Attributes:
        variables: parameters and batch statistics of `CLASSIFIER`.
        accuracy: attribute → share read correctly in pictures that were not trained on.
    """

    variables: dict[str, Any]
    accuracy: dict[str, float]

    @property
    def judged(self) -> list[str]:
        """The attributes that are read well enough to judge generated pictures."""
        return [name for name, share in self.accuracy.items() if share >= REQUIRED_ACCURACY]

    def read(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Reads pictures.

        Args:
            images: float `[n, s, s, 3]` in [-1, 1], any size, framed like the networks' pictures.

        Returns:
            Attribute → values `[n]`, an array of str, for every attribute, judged or not.
        """
        found = indices(self.variables, images)
        return {name: np.asarray(ATTRIBUTES[name])[index] for name, index in found.items()}

    def save(self, path: str | Path) -> None:
        """Writes the judge to a file, whole or not at all."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = flax.serialization.msgpack_serialize(
            {"variables": self.variables, "accuracy": self.accuracy}
        )
        with files.replacing(path) as partial:
            partial.write_bytes(content)


def load(path: str | Path = FILE) -> Judge:
    """Reads the judge that `Judge.save` wrote; by default that of the package.

    Raises:
        UserError: for a missing file, or one that holds no judge of this version.
    """
    try:
        stored = flax.serialization.msgpack_restore(Path(path).read_bytes())
        judge = Judge(stored["variables"], stored["accuracy"])
        judge.read(np.zeros((1, 64, 64, 3), np.float32))
    except Exception as error:
        raise UserError(
            f"{path} holds no attribute classifier of this version; install the package again."
        ) from error
    return judge


def wanted_values(captions: Sequence[str], judge: Judge) -> list[dict[str, str]]:
    """Returns for each caption attribute → value: those it names, if the judge reads them well."""
    named = {caption: attributes_named(caption) for caption in set(captions)}
    return [{n: named[c][n] for n in judge.judged if n in named[c]} for c in captions]


def score(
    judge: Judge, images: np.ndarray, wanted: Sequence[Mapping[str, str]]
) -> dict[str, float]:
    """Returns how often pictures show the attributes that their captions name.

    Only attributes that the judge reads reliably count (`Judge.judged`).

    Args:
        judge: reads the pictures.
        images: float `[n, s, s, 3]` in [-1, 1].
        wanted: for each picture, attribute → value that its caption names.

    Returns:
        "overall" → share, "colours" → share of the colour attributes, then a share for each judged
        attribute. An entry is missing where no caption names such an attribute.
    """
    return score_read(judge, judge.read(images), wanted)


def score_read(
    judge: Judge, read: Mapping[str, np.ndarray], wanted: Sequence[Mapping[str, str]]
) -> dict[str, float]:
    """Like `score`, for pictures that were read before: attribute → values `[n]`."""
    right = [
        (name, bool(read[name][index] == value))
        for index, named in enumerate(wanted)
        for name, value in named.items()
    ]
    return _shares(judge, right)


def chance(
    judge: Judge, images: np.ndarray, wanted: Sequence[Mapping[str, str]]
) -> dict[str, float]:
    """Returns the mean of `score` over all pairings of captions and pictures.

    Arguments and result are those of `score`. A colour has about 1 / 8.
    """
    read = judge.read(images)
    expected = [
        (name, float(np.mean(read[name] == value)))
        for named in wanted
        for name, value in named.items()
    ]
    return _shares(judge, expected)


def _shares(judge: Judge, found: Sequence[tuple[str, float]]) -> dict[str, float]:
    """Means of (attribute, share) pairs: over all, over the colours, and of each attribute."""
    found = [(name, share) for name, share in found if name in judge.judged]
    groups = {"overall": judge.judged, "colours": COLOUR_ATTRIBUTES}
    groups |= {name: (name,) for name in judge.judged}
    shares = {
        group: [share for name, share in found if name in names] for group, names in groups.items()
    }
    return {group: float(np.mean(each)) for group, each in shares.items() if each}


def indices(variables: dict[str, Any], images: np.ndarray) -> dict[str, np.ndarray]:
    """Attribute → index of the value read, int `[n]`; arguments as of `Judge`."""
    parts = [
        _program()(variables, jnp.asarray(images[start : start + _READ_BATCH]))
        for start in range(0, len(images), _READ_BATCH)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in CAPTION_ATTRIBUTES}


@functools.cache
def _program() -> Callable[..., dict[str, jax.Array]]:
    return jax.jit(_predict, compiler_options=convolution.compiler_options())


def _predict(variables: dict[str, Any], images: jax.Array) -> dict[str, jax.Array]:
    logits, _ = CLASSIFIER.apply(variables, images, False)
    return {name: jnp.argmax(logits[name], -1) for name in CAPTION_ATTRIBUTES}
