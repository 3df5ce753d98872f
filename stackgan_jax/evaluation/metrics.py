"""The metrics: one decorated function each, in the order of tables.

The formulas are in `feature_scores` and `caption_matching`. `registry` shows how to add a metric.
"""

import warnings

import numpy as np

from stackgan_jax.evaluation import attributes, caption_matching, feature_scores, spread_scores
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
_PIXELS = "luminance of the pixels"
LEAST_SPREAD = 0.6  # of that of real pictures; below it a warning says so
COMBED = 1.5  # times the real pictures' ratio of gradients; beyond it a warning says so


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


@metric("sharpness", title="Sharpness", better="higher", reads="detail", percent=True)
def sharpness(evidence: Evidence) -> Measurement:
    """The share of fine detail in the pictures' energy, and in that of real pictures."""
    made, real = evidence.generated["detail"], evidence.real["detail"]
    cycles = real[0, 2]
    if made[0, 2] != cycles:
        raise UserError(
            "Sharpness compares pictures of one size, but those above 64 pixels have finer detail "
            "than smaller ones; give real pictures of the size of the generated ones."
        )
    return Measurement(
        _share(made),
        f"share of the spectral energy beyond {cycles:g} cycles a picture",
        _PIXELS,
        real=_share(real),
    )


@metric("combs", title="Combs", better="lower", reads="detail")
def combs(evidence: Evidence) -> Measurement:
    """Vertical over horizontal gradient energy: large where there are combs of lines."""
    made, real = (_steepness(each["gradients"]) for each in (evidence.generated, evidence.real))
    warning = ""
    if not 1 / COMBED < made / real < COMBED:
        lines = "horizontal" if made > real else "vertical"
        warning = (
            f"the pictures have combs of {lines} lines: their vertical over horizontal gradient "
            f"energy is {made:.2g}, that of real ones {real:.2g}"
        )
    return Measurement(
        made, "vertical over horizontal gradient energy", _PIXELS, real=real, warning=warning
    )


@metric("spread", title="Spread", better="higher", reads="thumbnails", percent=True)
def spread(evidence: Evidence) -> Measurement:
    """How much pictures of one sentence differ, as a share of how much like real ones do."""
    side = round((evidence.real["thumbnail"].shape[1] / 3) ** 0.5)
    return _spread(evidence, "thumbnail", f"pixels at {side}×{side}")


@metric("feature_spread", title="Feature spread", better="higher", reads="layers", percent=True)
def feature_spread(evidence: Evidence) -> Measurement:
    """`spread` by the distance of features, in the manner of LPIPS (Zhang et al., CVPR 2018)."""
    return _spread(evidence, "layers", "convolutions of the image tower, each place of length 1")


def _spread(evidence: Evidence, features: str, what: str) -> Measurement:
    groups = evidence.groups
    made = spread_scores.within(evidence.generated[features], groups.generated)
    real = spread_scores.within(evidence.real[features], groups.real)
    if not real:
        raise UserError("The real pictures are all the same, so there is no spread to compare.")
    warning = ""
    if made < LEAST_SPREAD * real:
        warning = (
            f"pictures of one sentence are much alike: they differ by {100 * made / real:.0f} % of "
            f"what real ones do ({groups.compared})"
        )
    return Measurement(
        made / real,
        f"root mean square difference within a sentence, as a share of that of {groups.compared}",
        what,
        real=1.0,
        warning=warning,
    )


def _share(detail: np.ndarray) -> float:
    """The energy beyond the cutoff as a share of all; 0 for pictures of one colour."""
    beyond, whole = detail[:, 0].sum(), detail[:, 1].sum()
    return float(beyond / whole) if whole else 0.0


def _steepness(energies: np.ndarray) -> float:
    vertical, horizontal = energies.mean(axis=0)
    if not vertical or not horizontal:
        raise UserError("Some pictures are of a single colour or of stripes, which have no combs.")
    return float(vertical / horizontal)


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
