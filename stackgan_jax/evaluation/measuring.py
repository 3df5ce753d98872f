"""What several metrics share: the formulas, applied to the evidence of a metric."""

import warnings

import numpy as np

from stackgan_jax.data.choices import mismatched
from stackgan_jax.evaluation import (
    attributes,
    caption_matching,
    cautions,
    feature_scores,
    spread_scores,
)
from stackgan_jax.evaluation.evidence import Evidence
from stackgan_jax.evaluation.feature_scores import Moments
from stackgan_jax.evaluation.protocols import METRICS_SEED
from stackgan_jax.evaluation.readers import Features
from stackgan_jax.evaluation.registry import Measurement
from stackgan_jax.runtime.errors import UserError

# "towers" stays: stamps of earlier evaluations are compared with this one.
JOINT_EMBEDDING = "text and image towers of the run's joint embedding"


def spread(evidence: Evidence, features: str, what: str) -> Measurement:
    """How much features of pictures of one sentence differ, as a share of real ones' difference."""
    groups = evidence.groups
    made = spread_scores.within(evidence.generated[features], groups.generated)
    real = spread_scores.within(evidence.real[features], groups.real)
    if not real:
        raise UserError("The real pictures are all the same, so there is no spread to compare.")
    return Measurement(
        made / real,
        f"root mean square difference within a sentence, as a share of that of {groups.compared}",
        what,
        real=1.0,
        warning=cautions.little_spread(made, real, groups.compared),
    )


def fine_share(detail: np.ndarray) -> float:
    """The energy beyond the cutoff as a share of all; 0 for pictures of one colour."""
    beyond, whole = detail[:, 0].sum(), detail[:, 1].sum()
    return float(beyond / whole) if whole else 0.0


def steepness(energies: np.ndarray) -> float:
    """Vertical over horizontal gradient energy of pictures, `[n, 2]`; UserError for none."""
    vertical, horizontal = energies.mean(axis=0)
    if not vertical or not horizontal:
        raise UserError("Some pictures are of a single colour or of stripes, which have no combs.")
    return float(vertical / horizontal)


def frechet_distance(evidence: Evidence, layer: str) -> tuple[float, str]:
    """Returns the distance and the warning about it, "" for none."""
    made, real = Moments.of(evidence.generated[layer]), Moments.of(evidence.real[layer])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        value = feature_scores.frechet_distance(made, real)
    return value, str(caught[0].message) if caught else ""


def kernel_distance(
    evidence: Evidence, first: np.ndarray, second: np.ndarray
) -> tuple[float, float, str]:
    """KID, its deviation and its subsets, which are smaller where there are fewer pictures.

    The mean doesn't depend on the size of the subsets, because the estimate is unbiased.
    """
    protocol = evidence.protocol
    size = min(protocol.kid_subset_size, len(first), len(second))
    if size < 2:
        raise UserError("KID takes at least 4 real pictures and 2 generated ones; give more.")
    distance = feature_scores.kernel_distance(
        first, second, protocol.kid_subsets, size, METRICS_SEED
    )
    return *distance, f"mean over {protocol.kid_subsets} subsets of {size:,}"


def kernel_distance_and_floor(
    evidence: Evidence, layer: str, kernel: str, features: str
) -> Measurement:
    """KID by a layer, with that of one half of the real pictures against the other.

    Args:
        evidence: the features of both kinds of pictures.
        layer: of the features.
        kernel: how the layer makes KID's kernel, for the stamp.
        features: their description for the stamp.
    """
    made, real = evidence.generated[layer], evidence.real[layer]
    value, spread, splits = kernel_distance(evidence, made, real)
    floor, _, _ = kernel_distance(evidence, *halves(real))
    return Measurement(
        value,
        f"unbiased squared MMD, kernel {kernel}; real: one half against the other",
        features,
        splits=splits,
        spread=spread,
        real=floor,
    )


def halves(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two random halves of the real pictures: what is the difference of real pictures?"""
    order = np.random.default_rng(METRICS_SEED).permutation(len(features))
    first, second = np.array_split(order, 2)
    return features[first], features[second]


def own_caption_first(evidence: Evidence, reader: str, towers: str) -> Measurement:
    """R-precision by the towers of a reader, of generated and of real pictures."""
    captions, candidates = evidence.captions, evidence.protocol.candidates

    def found(pictures: np.ndarray) -> float:
        return caption_matching.r_precision(
            pictures,
            captions.embeddings[reader],
            captions.labels,
            candidates,
            evidence.protocol.seed,
        )

    partners = evidence.real[reader][captions.images]
    others = mismatched(np.random.default_rng(METRICS_SEED), captions.labels)
    real, wrong = found(partners), found(partners[others])
    return Measurement(
        found(evidence.generated[reader]),
        f"own caption first by cosine among {candidates}, the others of other classes",
        towers,
        real=real,
        warning=cautions.weak_scorer(real, wrong),
    )


def compared(evidence: Evidence, layer: str) -> tuple[np.ndarray, np.ndarray]:
    """Generated and real features, at most `protocol.compared` rows of each, evenly spaced."""

    def some(features: np.ndarray) -> np.ndarray:
        if len(features) <= evidence.protocol.compared:
            return features
        rows = np.linspace(0, len(features) - 1, evidence.protocol.compared)
        return features[rows.round().astype(int)]

    return some(evidence.generated[layer]), some(evidence.real[layer])


def neighbourhoods(
    evidence: Evidence, layer: str, features: str, of_real: bool = False, floor: bool = False
) -> Measurement:
    """Precision, or recall, in the manner of Kynkäänniemi et al. (NeurIPS 2019).

    Args:
        evidence: the features of both kinds of pictures.
        layer: of the features.
        features: their description for the stamp.
        of_real: the share of the real pictures near generated ones, which is recall, instead of
            the share of the generated pictures near real ones, which is precision.
        floor: report also what one half of the real pictures scores against the other.
    """
    most, neighbours = evidence.protocol.compared, evidence.protocol.neighbours
    made, real = compared(evidence, layer)
    share = lambda a, b: feature_scores.share_within(a, b, neighbours)
    return Measurement(
        share(real, made) if of_real else share(made, real),
        f"share within the balls of {neighbours} nearest neighbours"
        f"{'; real: one half against the other' if floor else ''}",
        features,
        real=share(*halves(real)) if floor else None,
        counts=tuple(min(count, most) for count in evidence.counts),
    )


def retrieval(evidence: Evidence, name: str) -> Measurement:
    """One direction of `caption_matching.retrieval` by the run's towers."""
    captions = evidence.captions
    # The first pictures belong to different images, so no image is looked for twice.
    size = min(evidence.protocol.gallery, len(captions.images), evidence.counts[1])
    embeddings = captions.embeddings["joint"][:size]
    found = caption_matching.retrieval(evidence.generated["joint"][:size], embeddings)
    ceiling = caption_matching.retrieval(evidence.real["joint"][captions.images[:size]], embeddings)
    return Measurement(
        found[name],
        f"own partner first by cosine among {size:,}",
        JOINT_EMBEDDING,
        counts=(size, size),
        real=ceiling[name],
    )


def attribute_share(evidence: Evidence, group: str, what: str) -> Measurement:
    """One group of the shares of `attributes.score`, of generated and of real pictures."""
    judge = evidence.reader.judge
    wanted = attributes.wanted_values(evidence.captions.sentences, judge)

    def share(features: Features, rows: slice | np.ndarray) -> float | None:
        read = {
            name.removeprefix("attribute/"): values[rows]
            for name, values in features.items()
            if name.startswith("attribute/")
        }
        return attributes.score_read(judge, read, wanted).get(group)

    value = share(evidence.generated, slice(None))
    if value is None:
        raise UserError(f"The captions name no {what} that the classifier reads reliably.")
    return Measurement(
        value,
        "share of what captions name that is read in their pictures",
        "classifier of synthetic birds",
        real=share(evidence.real, evidence.captions.images),
    )
