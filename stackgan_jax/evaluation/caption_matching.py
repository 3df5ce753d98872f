"""How well pictures and captions match in a joint embedding: R-precision and retrieval.

Everything is computed by NumPy in float64.
"""

import numpy as np

from stackgan_jax.evaluation.feature_scores import checked
from stackgan_jax.runtime.errors import UserError


def r_precision(
    pictures: np.ndarray,
    captions: np.ndarray,
    labels: np.ndarray,
    candidates: int = 100,
    seed: int = 0,
) -> float:
    """How often a picture's own caption is nearer to it than captions of other classes.

    The definition is AttnGAN's (Xu et al., CVPR 2018, sec. 4.1): by cosine, among the own caption
    and 99 captions of other classes, drawn at random. Captions that tie share the hit.

    Args:
        pictures: `[n, t]`, by the image encoder.
        captions: `[n, t]`, the pictures' own captions, by the text encoder.
        labels: `[n]` classes.
        candidates: the number of captions to choose from, the own one included.
        seed: of the drawing.

    Returns:
        The share in [0, 1].

    Raises:
        UserError: for too few captions of other classes.
    """
    pictures, captions = (_directions(checked(f)) for f in (pictures, captions))
    rng = np.random.default_rng((seed, 100))
    hits = []
    for picture, own, label in zip(pictures, captions, labels, strict=True):
        others = np.flatnonzero(labels != label)
        if len(others) < candidates - 1:
            raise UserError(
                f"R-precision takes {candidates - 1} captions of other classes and class {label} "
                f"has {len(others)}; score more pictures, of more classes."
            )
        chosen = captions[rng.choice(others, candidates - 1, replace=False)]
        scores, mine = chosen @ picture, own @ picture
        ties = np.isclose(scores, mine, rtol=0, atol=1e-7)
        hits.append(0.0 if (scores[~ties] > mine).any() else 1 / (1 + ties.sum()))
    return float(np.mean(hits))


def retrieval(pictures: np.ndarray, captions: np.ndarray, k: int = 1) -> dict[str, float]:
    """How often a caption finds its picture among the k nearest by cosine, and the other way.

    Args:
        pictures: `[n, t]`.
        captions: `[n, t]`, row by row those of the pictures.
        k: how many of the nearest count.

    Returns:
        "caption_to_image" and "image_to_caption", shares in [0, 1].
    """
    pictures, captions = (_directions(checked(f)) for f in (pictures, captions))
    scores = captions @ pictures.T
    own = np.diag(scores)
    return {
        "caption_to_image": float(np.mean((scores > own[:, None]).sum(axis=1) < k)),
        "image_to_caption": float(np.mean((scores > own).sum(axis=0) < k)),
    }


def _directions(features: np.ndarray) -> np.ndarray:
    """Features divided by their lengths, in float64."""
    features = features.astype(np.float64)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
