"""What was read in generated and in real pictures → scores with their stamps."""

import dataclasses
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from stackgan_jax.evaluation import attributes, metrics
from stackgan_jax.evaluation.metrics import Moments
from stackgan_jax.evaluation.protocols import METRICS_SEED, Protocol
from stackgan_jax.evaluation.readers import (
    AttributeReader,
    Features,
    InceptionReader,
    Reader,
    TowerReader,
)
from stackgan_jax.evaluation.stamps import Score, Stamp
from stackgan_jax.runtime.errors import UserError


@dataclasses.dataclass(frozen=True)
class Captions:
    """What generated pictures were drawn for.

    Attributes:
      sentences: n.
      images: `[n]`, which real picture each describes.
      labels: `[n]`, that one's class.
      embeddings: `[n, t]` by the text tower that was trained with the image tower; None without.
    """

    sentences: Sequence[str]
    images: np.ndarray
    labels: np.ndarray
    embeddings: np.ndarray | None = None

    def first(self, count: int) -> "Captions":
        """Those of the first so many pictures."""
        joint = None if self.embeddings is None else self.embeddings[:count]
        return Captions(self.sentences[:count], self.images[:count], self.labels[:count], joint)


@dataclasses.dataclass(frozen=True)
class Evidence:
    """All that scores are made of.

    Attributes:
      protocol: how to score.
      generated, real: what the readers read.
      origin: the fields of a stamp that tell of pictures, data and machine.
      captions: of the generated pictures; None where they have none.
    """

    protocol: Protocol
    generated: Features
    real: Features
    origin: Mapping[str, Any]
    captions: Captions | None = None

    def stamp(
        self,
        reader: Reader,
        definition: str,
        features: str,
        splits: str = "none",
        counts: tuple[int, int] | None = None,
    ) -> Stamp:
        generated, real = counts or (_count(self.generated), _count(self.real))
        return Stamp(
            definition=definition,
            features=features,
            splits=splits,
            generated=generated,
            real=real,
            protocol=self.protocol.name,
            **reader.stamp,
            **self.origin,
        )


def score(
    evidence: Evidence, readers: Iterable[Reader]
) -> tuple[list[Score], dict[str, UserError]]:
    """All scores that can be given, and for each of the others the reason why not."""
    scores, left_out = [], {}
    for reader in readers:
        for measure in _measures(reader, evidence.captions is not None):
            try:
                found = measure.of(evidence, reader)
            except UserError as error:
                left_out |= dict.fromkeys(measure.metrics, error)
                continue
            scores += [each.with_warning(reader.warning) for each in found]
    return scores, left_out


def measured_by(reader: Reader) -> list[str]:
    """The metrics that a reader allows, of pictures with captions."""
    return [name for measure in _measures(reader, True) for name in measure.metrics]


def _measures(reader: Reader, captions: bool) -> list["_Measure"]:
    return [
        measure
        for measure in _MEASURES
        if isinstance(reader, measure.reader) and (captions or not measure.captions)
    ]


def _count(features: Features) -> int:
    return len(next(iter(features.values())))


def _fid(evidence: Evidence, reader: Reader) -> list[Score]:
    stamp = evidence.stamp(reader, "Fréchet distance", "Inception-v3 of FID, layer 2048")
    return [_frechet_distance("fid", stamp, evidence, "2048")]


def _kid(evidence: Evidence, reader: Reader) -> list[Score]:
    subsets, size = evidence.protocol.kid_subsets, evidence.protocol.kid_subset_size
    value, spread = metrics.kernel_distance(
        evidence.generated["2048"], evidence.real["2048"], subsets, size, METRICS_SEED
    )
    stamp = evidence.stamp(
        reader,
        "unbiased squared MMD, kernel (x·y/d + 1)³",
        "Inception-v3 of FID, layer 2048",
        f"mean over {subsets} subsets of {size:,}",
    )
    return [Score("kid", value, stamp, spread)]


def _inception_score(evidence: Evidence, reader: Reader) -> list[Score]:
    splits = evidence.protocol.splits
    layer = "logits_unbiased"
    value, spread = metrics.inception_score(evidence.generated[layer], splits, METRICS_SEED)
    real = None
    if len(evidence.real[layer]) >= 2 * splits:
        real, _ = metrics.inception_score(evidence.real[layer], splits, METRICS_SEED)
    stamp = evidence.stamp(
        reader,
        "exp E KL(p(y|x) ‖ p(y))",
        "Inception-v3 of FID, logits_unbiased (ImageNet's classes, not fine-tuned)",
        f"mean over {splits}, shuffled",
    )
    return [Score("inception_score", value, stamp, spread, real)]


def _precision_recall(evidence: Evidence, reader: Reader) -> list[Score]:
    real, generated = (
        _some(features["2048"], evidence.protocol.compared)
        for features in (evidence.real, evidence.generated)
    )
    neighbours = evidence.protocol.neighbours
    values = metrics.precision_recall(real, generated, neighbours)
    stamp = evidence.stamp(
        reader,
        f"share within the balls of {neighbours} nearest neighbours",
        "Inception-v3 of FID, layer 2048",
        counts=(len(generated), len(real)),
    )
    return [Score(n, v, stamp) for n, v in zip(("precision", "recall"), values, strict=True)]


def _joint_distance(evidence: Evidence, reader: Reader) -> list[Score]:
    stamp = evidence.stamp(
        reader, "Fréchet distance, not FID", "image tower of the run's joint embedding"
    )
    return [_frechet_distance("joint_frechet_distance", stamp, evidence, "joint")]


def _r_precision(evidence: Evidence, reader: Reader) -> list[Score]:
    captions, candidates = evidence.captions, evidence.protocol.candidates

    def found(pictures: np.ndarray) -> float:
        return metrics.r_precision(
            pictures, captions.embeddings, captions.labels, candidates, evidence.protocol.seed
        )

    stamp = evidence.stamp(
        reader,
        f"own caption first by cosine among {candidates}, the others of other classes",
        "text and image towers of the run's joint embedding",
    )
    real = found(evidence.real["joint"][captions.images])
    return [Score("r_precision", found(evidence.generated["joint"]), stamp, real=real)]


def _retrieval(evidence: Evidence, reader: Reader) -> list[Score]:
    captions = evidence.captions
    # The first pictures are of different images, so that none is asked for twice.
    size = min(evidence.protocol.gallery, len(captions.images), _count(evidence.real))
    embeddings = captions.embeddings[:size]
    found = metrics.retrieval(evidence.generated["joint"][:size], embeddings)
    ceiling = metrics.retrieval(evidence.real["joint"][captions.images[:size]], embeddings)
    stamp = evidence.stamp(
        reader,
        f"own partner first by cosine among {size:,}",
        "text and image towers of the run's joint embedding",
        counts=(size, size),
    )
    return [Score(name, found[name], stamp, real=ceiling[name]) for name in found]


def _attributes(evidence: Evidence, reader: AttributeReader) -> list[Score]:
    judge = reader.judge
    named = attributes_wanted(evidence.captions.sentences, judge.judged)

    def shares(features: Features, rows: slice | np.ndarray) -> dict[str, float]:
        read = {
            name.removeprefix("attribute/"): values[rows]
            for name, values in features.items()
            if name.startswith("attribute/")
        }
        return attributes.score_read(judge, read, named)

    found = shares(evidence.generated, slice(None))
    ceiling = shares(evidence.real, evidence.captions.images)
    stamp = evidence.stamp(
        reader,
        "share of what captions name that is read in their pictures",
        "classifier of synthetic birds",
    )
    groups = {"attribute_accuracy": "overall", "colour_accuracy": "colours"}
    if "overall" not in found:
        raise UserError("The captions name no attribute that the classifier reads reliably.")
    return [
        Score(name, found[group], stamp, real=ceiling[group])
        for name, group in groups.items()
        if group in found
    ]


def attributes_wanted(sentences: Sequence[str], judged: Sequence[str]) -> list[dict[str, str]]:
    """For each sentence what it names of the attributes that are judged."""
    # Of the synthetic birds, so only imported for data that have attributes.
    from stackgan_jax.data.synthetic_birds.captions import attributes_named

    named = {sentence: attributes_named(sentence) for sentence in set(sentences)}
    return [{n: named[s][n] for n in judged if n in named[s]} for s in sentences]


def _frechet_distance(name: str, stamp: Stamp, evidence: Evidence, layer: str) -> Score:
    made, real = Moments.of(evidence.generated[layer]), Moments.of(evidence.real[layer])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        value = metrics.frechet_distance(made, real)
    return Score(name, value, stamp, warning=str(caught[0].message) if caught else "")


def _some(features: np.ndarray, most: int) -> np.ndarray:
    """At most so many, evenly taken."""
    if len(features) <= most:
        return features
    return features[np.linspace(0, len(features) - 1, most).round().astype(int)]


@dataclasses.dataclass(frozen=True)
class _Measure:
    """Which metrics a function gives, of what which reader reads, and whether it needs captions."""

    metrics: tuple[str, ...]
    reader: type[Reader]
    captions: bool
    of: Callable[[Evidence, Any], list[Score]]


_MEASURES = (
    _Measure(("fid",), InceptionReader, False, _fid),
    _Measure(("kid",), InceptionReader, False, _kid),
    _Measure(("inception_score",), InceptionReader, False, _inception_score),
    _Measure(("precision", "recall"), InceptionReader, False, _precision_recall),
    _Measure(("joint_frechet_distance",), TowerReader, False, _joint_distance),
    _Measure(("r_precision",), TowerReader, True, _r_precision),
    _Measure(("caption_to_image", "image_to_caption"), TowerReader, True, _retrieval),
    _Measure(("attribute_accuracy", "colour_accuracy"), AttributeReader, True, _attributes),
)
