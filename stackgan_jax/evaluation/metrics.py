"""The metrics: one decorated function each, in the order of tables.

The formulas are in `feature_scores` and `caption_matching`; `measuring` applies them. How to add a
metric: `registry`.
"""

import numpy as np

from stackgan_jax.evaluation import cautions, feature_scores, measuring
from stackgan_jax.evaluation.evidence import Evidence
from stackgan_jax.evaluation.inception import inception_features
from stackgan_jax.evaluation.protocols import METRICS_SEED
from stackgan_jax.evaluation.registry import BETTER, METRICS, Measurement, metric
from stackgan_jax.runtime.errors import UserError

__all__ = ["BETTER", "METRICS", "Measurement", "inception_features", "metric"]

_INCEPTION = "Inception-v3 of FID, layer 2048"
# "tower" stays: stamps of earlier evaluations are compared with this one.
_IMAGE_ENCODER = "image tower of the run's joint embedding"
_PIXELS = "luminance of the pixels"
_INDEPENDENT = "image tower of the independent scorer"


@metric("fid", title="FID", better="lower", reads="inception")
def fid(evidence: Evidence) -> Measurement:
    """Fréchet Inception distance (Heusel et al., NeurIPS 2017)."""
    value, warning = measuring.frechet_distance(evidence, "2048")
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
    return measuring.neighbourhoods(evidence, "2048", _INCEPTION)


@metric("recall", title="Recall", better="higher", reads="inception", percent=True)
def recall(evidence: Evidence) -> Measurement:
    """The share of real pictures that the generator covers (Kynkäänniemi et al., NeurIPS 2019)."""
    return measuring.neighbourhoods(evidence, "2048", _INCEPTION, of_real=True)


@metric("joint_frechet_distance", title="Joint Fréchet distance", better="lower", reads="joint")
def joint_frechet_distance(evidence: Evidence) -> Measurement:
    """The Fréchet distance of the image encoder's features. It is not FID."""
    value, warning = measuring.frechet_distance(evidence, "joint")
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
    return measuring.own_caption_first(evidence, "joint", measuring.JOINT_EMBEDDING)


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
    return measuring.retrieval(evidence, "caption_to_image")


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
    return measuring.retrieval(evidence, "image_to_caption")


@metric("independent_kid", title="Independent KID", better="lower", reads="independent")
def independent_kid(evidence: Evidence) -> Measurement:
    """KID of features that no generator was trained against and that never saw ImageNet."""
    return measuring.kernel_distance_and_floor(
        evidence, "independent", "(cosine + 1)³", _INDEPENDENT
    )


@metric(
    "independent_r_precision",
    title="Independent R-precision",
    better="higher",
    reads="independent",
    captions=True,
    percent=True,
)
def independent_r_precision(evidence: Evidence) -> Measurement:
    """R-precision by towers that no generator was trained against."""
    return measuring.own_caption_first(
        evidence, "independent", "text and image towers of the scorer"
    )


@metric(
    "independent_precision",
    title="Independent precision",
    better="higher",
    reads="independent",
    percent=True,
)
def independent_precision(evidence: Evidence) -> Measurement:
    """`precision` by the independent scorer's features."""
    return measuring.neighbourhoods(evidence, "independent", _INDEPENDENT, floor=True)


@metric(
    "independent_recall",
    title="Independent recall",
    better="higher",
    reads="independent",
    percent=True,
)
def independent_recall(evidence: Evidence) -> Measurement:
    """`recall` by the independent scorer's features."""
    return measuring.neighbourhoods(evidence, "independent", _INDEPENDENT, of_real=True, floor=True)


@metric("pretrained_kid", title="Pretrained KID", better="lower", reads="pretrained")
def pretrained_kid(evidence: Evidence) -> Measurement:
    """KID of a pretrained network's features, which know shapes."""
    return measuring.kernel_distance_and_floor(
        evidence, "pooled", "(x·y/d + 1)³", "pretrained network, pooled"
    )


@metric("recognised", title="Recognised", better="higher", reads="pretrained", percent=True)
def recognised(evidence: Evidence) -> Measurement:
    """The share of pictures that a pretrained network takes for what it takes real ones for."""
    half, other = measuring.halves(evidence.real["class"])
    if not len(other):
        raise UserError("Recognised takes at least 2 real pictures; give more.")
    share = lambda classes: float(np.isin(classes, half).mean())
    return Measurement(
        share(evidence.generated["class"]),
        "share whose most likely class one half of the real pictures has; real: of the other half",
        "pretrained network, most likely class of ImageNet",
        real=share(other),
    )


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
    return measuring.attribute_share(evidence, "overall", "attribute")


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
    return measuring.attribute_share(evidence, "colours", "colour")


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
        measuring.fine_share(made),
        f"share of the spectral energy beyond {cycles:g} cycles a picture",
        _PIXELS,
        real=measuring.fine_share(real),
    )


@metric("combs", title="Combs", better="lower", reads="detail")
def combs(evidence: Evidence) -> Measurement:
    """Vertical over horizontal gradient energy: large where there are combs of lines."""
    made, real = (
        measuring.steepness(each["gradients"]) for each in (evidence.generated, evidence.real)
    )
    return Measurement(
        made,
        "vertical over horizontal gradient energy",
        _PIXELS,
        real=real,
        warning=cautions.combs(made, real),
    )


@metric("spread", title="Spread", better="higher", reads="thumbnails", percent=True)
def spread(evidence: Evidence) -> Measurement:
    """How much pictures of one sentence differ, as a share of how much like real ones do."""
    side = round((evidence.real["thumbnail"].shape[1] / 3) ** 0.5)
    return measuring.spread(evidence, "thumbnail", f"pixels at {side}×{side}")


@metric("feature_spread", title="Feature spread", better="higher", reads="layers", percent=True)
def feature_spread(evidence: Evidence) -> Measurement:
    """`spread` by the distance of features, in the manner of LPIPS (Zhang et al., CVPR 2018)."""
    return measuring.spread(
        evidence, "layers", "convolutions of the image tower, each place of length 1"
    )
