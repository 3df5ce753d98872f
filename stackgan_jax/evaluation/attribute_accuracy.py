"""Attribute accuracy: how often a picture shows the attributes that its caption names."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stackgan_jax.data.images import to_float
from stackgan_jax.data.synthetic_birds.attributes import COLOUR_ATTRIBUTES
from stackgan_jax.evaluation import attributes
from stackgan_jax.evaluation.unseen import Unseen


@dataclasses.dataclass(frozen=True)
class Judgement:
    """What captions ask for and what the judge reads in their pictures.

    Attributes:
        held_out: attribute → share of other real images that the judge reads correctly.
        judged: the attributes that the judge reads reliably.
        wanted: for each caption, judged attribute → value that the caption names.
        shares: "stage1", "stage2", "real", "chance" → the result of `attributes.score`.
        read: "stage1", "stage2" → attribute → `[n]` values that the judge reads.
    """

    held_out: Mapping[str, float]
    judged: Sequence[str]
    wanted: Sequence[Mapping[str, str]]
    shares: Mapping[str, Mapping[str, float]]
    read: Mapping[str, Mapping[str, np.ndarray]]

    def found(self, kind: str, index: int) -> dict[str, tuple[str, str]]:
        """Returns attribute → (value wanted, value read) for one picture.

        Args:
            kind: "stage1" or "stage2".
            index: of the caption.
        """
        read = self.read[kind]
        return {name: (value, str(read[name][index])) for name, value in self.wanted[index].items()}

    def facts(self) -> dict[str, Any]:
        """Returns the entries of report.json."""
        counts = {name: sum(name in each for each in self.wanted) for name in self.judged}
        colours = [name for name in COLOUR_ATTRIBUTES if name in self.judged]
        return {
            "attribute_accuracy": {kind: _rounded(shares) for kind, shares in self.shares.items()},
            "attributes_named": {
                "overall": sum(counts.values()),
                "colours": sum(counts[name] for name in colours),
                **counts,
            },
            "classifier": {
                "held_out_accuracy": _rounded(self.held_out),
                "required": attributes.REQUIRED_ACCURACY,
                "judged": list(self.judged),
                "colours": colours,
            },
        }


def judge(unseen: Unseen) -> Judgement | None:
    """Judges the pictures of unseen captions.

    "chance" is the score of the real images of other captions.

    Args:
        unseen: captions and pictures.

    Returns:
        The judgement; None for data without attributes.
    """
    if not unseen.test.attributes:
        return None
    classifier = attributes.load()
    wanted = attributes.wanted_values(unseen.captions, classifier)
    drawn = {kind: to_float(pictures) for kind, pictures in unseen.drawn.items()}
    real = to_float(unseen.real)
    read = {kind: classifier.read(each) for kind, each in drawn.items()}
    shares = {
        kind: attributes.score(classifier, each, wanted)
        for kind, each in {**drawn, "real": real}.items()
    }
    shares["chance"] = attributes.chance(classifier, real, wanted)
    return Judgement(classifier.accuracy, classifier.judged, wanted, shares, read)


def _rounded(shares: Mapping[str, float]) -> dict[str, float]:
    return {name: round(share, 4) for name, share in shares.items()}
