"""The metrics: one decorated function each, in the order of tables.

The formulas are in `feature_scores` and `caption_matching`. `registry` shows how to add a metric.
"""

import warnings

import numpy as np

from stackgan_jax.evaluation import attributes, caption_matching, feature_scores
from stackgan_jax.evaluation.evidence import Evidence
from stackgan_jax.evaluation.feature_scores import Moments
from stackgan_jax.evaluation.inception import inception_features
from stackgan_jax.evaluation.protocols import METRICS_SEED
from stackgan_jax.evaluation.readers import Features
from stackgan_jax.evaluation.registry import BETTER, METRICS, Measurement, metric
from stackgan_jax.runtime.errors import UserError

__all__ = ["BETTER", "METRICS", "Measurement", "inception_features", "metric"]

_INCEPTION = "Inception-v3 of FID, layer 2048"
# "towers" stays in these two: stamps of earlier evaluations are compared with them.
_IMAGE_ENCODER = "image tower of the run's joint embedding"
_JOINT_EMBEDDING = "text and image towers of the run's joint embedding"


@metric("fid", title="FID", better="lower", reads="inception")
def fid(evidence: Evidence) -> Measurement:
    """Fréchet Inception distance (Heusel et al., NeurIPS 2017)."""
    value, warning = _frechet_distance(evidence, "2048")
    return Measurement(value, "Fréchet distance", _INCEPTION, warning=warning)


@metric("kid", title="KID", better="lower", reads="inception")
def kid(evidence: Evidence) -> Measurement:
    """Kernel Inception distance (Bińkowski et al., ICLR 2018)."""
    subsets, size = evidence.protocol.kid_subsets, evidence.protocol.kid_subset_size
    value, spread = feature_scores.kernel_distance(
        evidence.generated["2048"], evidence.real["2048"], subsets, size, METRICS_SEED
    )
    return Measurement(
        value,
        "unbiased squared MMD, kernel (x·y/d + 1)³",
        _INCEPTION,
        splits=f"mean over {subsets} subsets of {size:,}",
        spread=spread,
    )


@metric("inception_score", title="Inception Score", better="higher", reads="inception")
def inception_score(evidence: Evidence) -> Measurement:
    """Inception Score (Salimans et al., 2016); of the real pictures too, if they are enough."""
    splits = evidence.protocol.splits
    logits, real_logits = (f["logits_unbiased"] for f in (evidence.generated, evidence.real))
    value, spread = feature_scores.inception_score(logits, splits, METRICS_SEED)
    real = None
    if len(real_logits) >= 2 * splits:
        real, _ = feature_scores.inception_score(real_logits, splits, METRICS_SEED)
    return Measurement(
        value,
        "exp E KL(p(y|x) ‖ p(y))",
        "Inception-v3 of FID, logits_unbiased (ImageNet's classes, not fine-tuned)",
        splits=f"mean over {splits}, shuffled",
        spread=spread,
        real=real,
    )


@metric("precision", title="Precision", better="higher", reads="inception", percent=True)
def precision(evidence: Evidence) -> Measurement:
    """The share of generated pictures that look real (Kynkäänniemi et al., NeurIPS 2019)."""
    generated, real = _compared(evidence)
    value = feature_scores.share_within(generated, real, evidence.protocol.neighbours)
    return _neighbourhoods(value, evidence)


@metric("recall", title="Recall", better="higher", reads="inception", percent=True)
def recall(evidence: Evidence) -> Measurement:
    """The share of real pictures that the generator covers (Kynkäänniemi et al., NeurIPS 2019)."""
    generated, real = _compared(evidence)
    value = feature_scores.share_within(real, generated, evidence.protocol.neighbours)
    return _neighbourhoods(value, evidence)


@metric("joint_frechet_distance", title="Joint Fréchet distance", better="lower", reads="joint")
def joint_frechet_distance(evidence: Evidence) -> Measurement:
    """The Fréchet distance of the image encoder's features. It is not FID."""
    value, warning = _frechet_distance(evidence, "joint")
    return Measurement(value, "Fréchet distance, not FID", _IMAGE_ENCODER, warning=warning)


@metric(
    "r_precision",
    title="R-precision",
    better="higher",
    reads="joint",
    captions=True,
    percent=True,
)
def r_precision(evidence: Evidence) -> Measurement:
    """R-precision (Xu et al., CVPR 2018, sec. 4.1) of generated and of real pictures."""
    captions, candidates = evidence.captions, evidence.protocol.candidates

    def found(pictures: np.ndarray) -> float:
        return caption_matching.r_precision(
            pictures, captions.embeddings, captions.labels, candidates, evidence.protocol.seed
        )

    return Measurement(
        found(evidence.generated["joint"]),
        f"own caption first by cosine among {candidates}, the others of other classes",
        _JOINT_EMBEDDING,
        real=found(evidence.real["joint"][captions.images]),
    )


@metric(
    "caption_to_image",
    title="Caption → image",
    better="higher",
    reads="joint",
    captions=True,
    percent=True,
)
def caption_to_image(evidence: Evidence) -> Measurement:
    """How often a caption finds its own picture first."""
    return _retrieval(evidence, "caption_to_image")


@metric(
    "image_to_caption",
    title="Image → caption",
    better="higher",
    reads="joint",
    captions=True,
    percent=True,
)
def image_to_caption(evidence: Evidence) -> Measurement:
    """How often a picture finds its own caption first."""
    return _retrieval(evidence, "image_to_caption")


@metric(
    "attribute_accuracy",
    title="Attribute accuracy",
    better="higher",
    reads="attributes",
    captions=True,
    percent=True,
)
def attribute_accuracy(evidence: Evidence) -> Measurement:
    """The share of the attributes in captions that the judge reads in their pictures."""
    return _attribute_share(evidence, "overall", "attribute")


@metric(
    "colour_accuracy",
    title="Colour accuracy",
    better="higher",
    reads="attributes",
    captions=True,
    percent=True,
)
def colour_accuracy(evidence: Evidence) -> Measurement:
    """`attribute_accuracy` of the colours alone."""
    return _attribute_share(evidence, "colours", "colour")


def _frechet_distance(evidence: Evidence, layer: str) -> tuple[float, str]:
    """Returns the distance and the warning about it, "" for none."""
    made, real = Moments.of(evidence.generated[layer]), Moments.of(evidence.real[layer])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        value = feature_scores.frechet_distance(made, real)
    return value, str(caught[0].message) if caught else ""


def _compared(evidence: Evidence) -> tuple[np.ndarray, np.ndarray]:
    """The generated and the real "2048", each at most `protocol.compared` rows, evenly spaced."""

    def some(features: np.ndarray) -> np.ndarray:
        if len(features) <= evidence.protocol.compared:
            return features
        rows = np.linspace(0, len(features) - 1, evidence.protocol.compared)
        return features[rows.round().astype(int)]

    return some(evidence.generated["2048"]), some(evidence.real["2048"])


def _neighbourhoods(value: float, evidence: Evidence) -> Measurement:
    """What precision and recall report besides their value."""
    most = evidence.protocol.compared
    return Measurement(
        value,
        f"share within the balls of {evidence.protocol.neighbours} nearest neighbours",
        _INCEPTION,
        counts=tuple(min(count, most) for count in evidence.counts),
    )


def _retrieval(evidence: Evidence, name: str) -> Measurement:
    captions = evidence.captions
    # The first pictures belong to different images, so no image is looked for twice.
    size = min(evidence.protocol.gallery, len(captions.images), evidence.counts[1])
    embeddings = captions.embeddings[:size]
    found = caption_matching.retrieval(evidence.generated["joint"][:size], embeddings)
    ceiling = caption_matching.retrieval(evidence.real["joint"][captions.images[:size]], embeddings)
    return Measurement(
        found[name],
        f"own partner first by cosine among {size:,}",
        _JOINT_EMBEDDING,
        counts=(size, size),
        real=ceiling[name],
    )


def _attribute_share(evidence: Evidence, group: str, what: str) -> Measurement:
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
