"""What a metric computes from: the features of generated and real pictures, and the captions."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stackgan_jax.evaluation.protocols import Protocol
from stackgan_jax.evaluation.readers import Features, Reader


@dataclasses.dataclass(frozen=True)
class Captions:
    """The captions that the generated pictures were drawn for, one for each picture.

    Attributes:
        sentences: n captions.
        images: `[n]`, the index of the real picture that each caption describes.
        labels: `[n]`, the class of that real picture.
        embeddings: reader → `[n, t]`, by the text encoder that was trained with its network.
    """

    sentences: Sequence[str]
    images: np.ndarray
    labels: np.ndarray
    embeddings: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def first(self, count: int) -> "Captions":
        """Returns the captions of the first `count` pictures."""
        embeddings = {reader: each[:count] for reader, each in self.embeddings.items()}
        return Captions(
            self.sentences[:count], self.images[:count], self.labels[:count], embeddings
        )


@dataclasses.dataclass(frozen=True)
class Groups:
    """Which pictures belong together: several of one sentence, and real ones like them.

    Attributes:
        generated: `[n]`, for each generated picture the number of its sentence.
        real: `[m]`, for each real picture the number of the sentence that it is compared for.
        compared: what the real pictures of a group have in common, in words.
    """

    generated: np.ndarray
    real: np.ndarray
    compared: str


@dataclasses.dataclass(frozen=True)
class Evidence:
    """Everything that a metric may use.

    Attributes:
        protocol: the settings of all metrics.
        generated: the features of the generated pictures, by name, `[n, …]` each.
        real: the features of the real pictures, by name, `[m, …]` each.
        origin: the fields of a stamp that describe pictures, data and machine.
        captions: of the generated pictures; None where they have none.
        reader: the network that read the features of this metric; None before scoring.
        groups: which of the pictures belong together; None where that is not known.
    """

    protocol: Protocol
    generated: Features
    real: Features
    origin: Mapping[str, Any]
    captions: Captions | None = None
    reader: Reader | None = None
    groups: Groups | None = None

    @property
    def counts(self) -> tuple[int, int]:
        """The numbers of generated and of real pictures."""
        return len(next(iter(self.generated.values()))), len(next(iter(self.real.values())))
