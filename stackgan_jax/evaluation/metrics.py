"""Scores of features: FID, KID, Inception Score, precision and recall, R-precision, retrieval.

NumPy in float64, and nothing else: whoever has features of pictures gets the same numbers from
them, here as by torch-fidelity (its golden values are in the tests).
"""

import dataclasses
import itertools
import warnings
from collections.abc import Iterator

import numpy as np

from stackgan_jax.evaluation.inception import inception_features
from stackgan_jax.runtime.errors import UserError

__all__ = [
    "Moments",
    "frechet_distance",
    "inception_features",
    "inception_score",
    "kernel_distance",
    "precision_recall",
    "r_precision",
    "retrieval",
]
BLOCK = 1024  # rows that are computed with at once

# Metric → "min" or "max", whichever is better.
BETTER = {
    "fid": "min",
    "kid": "min",
    "inception_score": "max",
    "precision": "max",
    "recall": "max",
    "joint_frechet_distance": "min",
    "r_precision": "max",
    "caption_to_image": "max",
    "image_to_caption": "max",
    "attribute_accuracy": "max",
    "colour_accuracy": "max",
}


@dataclasses.dataclass
class Moments:
    """Mean and covariance of features that come in parts, in float64 (Chan et al., 1979).

    Attributes:
      count: how many features.
      mean: `[d]`.
      scatter: `[d, d]`, the sum of outer products of deviations from the mean.
    """

    count: int
    mean: np.ndarray
    scatter: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray) -> "Moments":
        """Of `[n, d]`, read in blocks; UserError for features that are no numbers."""
        features = checked(features)
        moments = cls(0, np.zeros(features.shape[1]), np.zeros((features.shape[1],) * 2))
        for block in _blocks(features):
            moments.add(block)
        return moments

    def add(self, features: np.ndarray) -> None:
        """Takes `[n, d]` further features in."""
        features = np.asarray(features, np.float64)
        mean = features.mean(axis=0)
        deviation = features - mean
        total = self.count + len(features)
        shift = mean - self.mean
        self.scatter += deviation.T @ deviation
        self.scatter += np.outer(shift, shift) * (self.count * len(features) / total)
        self.mean += shift * (len(features) / total)
        self.count = total

    @property
    def covariance(self) -> np.ndarray:
        """`[d, d]`, unbiased; UserError for fewer than two features."""
        if self.count < 2:
            raise UserError(f"A covariance needs at least 2 pictures, not {self.count}; give more.")
        return self.scatter / (self.count - 1)


def frechet_distance(first: Moments, second: Moments) -> float:
    """|m₁ − m₂|² + tr(C₁ + C₂ − 2 (C₁C₂)^½), FID on Inception's "2048" (Heusel et al., 2017).

    tr (C₁C₂)^½ is the sum of the singular values of C₁^½ C₂^½, which no rounding makes complex and
    which is as exact for covariances without full rank: fewer pictures than dimensions. Then it
    warns, for the distance of samples is the larger the fewer they are.
    """
    if len(first.mean) != len(second.mean):
        raise UserError(
            f"Features of {len(first.mean)} and of {len(second.mean)} numbers can't be compared."
        )
    one, two = first.covariance, second.covariance
    fewest = min(first.count, second.count)
    if fewest <= len(first.mean):  # n deviations from a mean span n - 1 dimensions
        warnings.warn(
            f"{fewest:,} pictures can't span {len(first.mean):,} dimensions: the distance "
            "is biased upwards, and comparable only with one of as many pictures",
            stacklevel=2,
        )
    root = np.linalg.svd(_square_root(one) @ _square_root(two), compute_uv=False).sum()
    distance = np.square(first.mean - second.mean).sum() + np.trace(one) + np.trace(two) - 2 * root
    return float(max(distance, 0.0))


def kernel_distance(
    first: np.ndarray,
    second: np.ndarray,
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 2020,
) -> tuple[float, float]:
    """KID: unbiased squared MMD with the kernel (x·y / d + 1)³ (Bińkowski et al., ICLR 2018).

    Args:
      first, second: `[n, d]`, `[m, d]`.
      subsets: drawn without replacement from each, as torch-fidelity draws them from `seed`.
      subset_size: pictures in a subset.
    Returns: mean and standard deviation over the subsets.
    Raises UserError when there are fewer pictures than `subset_size`.
    """
    first, second = (checked(f).astype(np.float64) for f in (first, second))
    fewest = min(len(first), len(second))
    if fewest < subset_size:
        raise UserError(
            f"KID takes subsets of {subset_size:,} pictures and one side has {fewest:,}; give more "
            "pictures, or a protocol with smaller subsets."
        )
    rng = np.random.RandomState(seed)
    found = []
    for _ in range(subsets):
        x = first[rng.choice(len(first), subset_size, replace=False)]
        y = second[rng.choice(len(second), subset_size, replace=False)]
        found.append(_squared_mmd(x, y))
    return float(np.mean(found)), float(np.std(found))


def inception_score(logits: np.ndarray, splits: int = 10, seed: int = 2020) -> tuple[float, float]:
    """exp E KL(p(y|x) ‖ p(y)) (Salimans et al., 2016), of "logits_unbiased" as torch-fidelity's.

    Args:
      logits: `[n, classes]`.
      splits: in which the pictures, shuffled by `seed`, are scored.
    Returns: mean and standard deviation over the splits.
    """
    logits = checked(logits).astype(np.float64)
    if len(logits) < 2 * splits:
        raise UserError(
            f"The Inception Score in {splits} splits needs at least {2 * splits} pictures, not "
            f"{len(logits)}; give more."
        )
    logits = logits[np.random.RandomState(seed).permutation(len(logits))]
    logs = logits - logits.max(axis=1, keepdims=True)
    logs -= np.log(np.exp(logs).sum(axis=1, keepdims=True))
    ends = [i * len(logits) // splits for i in range(splits + 1)]
    scores = []
    for start, stop in itertools.pairwise(ends):
        part = np.exp(logs[start:stop])
        divergence = part * (logs[start:stop] - np.log(part.mean(axis=0)))
        scores.append(np.exp(divergence.sum(axis=1).mean()))
    return float(np.mean(scores)), float(np.std(scores))


def precision_recall(
    real: np.ndarray, generated: np.ndarray, neighbours: int = 3
) -> tuple[float, float]:
    """How much of what is generated is realistic, and how much of the real is generated.

    A picture counts where it is nearer to one of the other set than that one's k-th neighbour in
    its own set is (Kynkäänniemi et al., NeurIPS 2019).

    Args:
      real, generated: `[n, d]`, `[m, d]`.
      neighbours: k.
    Returns: precision and recall in [0, 1].
    """
    real, generated = (checked(f).astype(np.float64) for f in (real, generated))
    fewest = min(len(real), len(generated))
    if fewest <= neighbours:
        raise UserError(
            f"Precision and recall by {neighbours} neighbours need more than {neighbours} pictures "
            f"on both sides, not {fewest}."
        )
    return (
        _share_within(generated, real, neighbours),
        _share_within(real, generated, neighbours),
    )


def r_precision(
    pictures: np.ndarray,
    captions: np.ndarray,
    labels: np.ndarray,
    candidates: int = 100,
    seed: int = 0,
) -> float:
    """How often a picture's own caption is nearest to it among captions of other classes.

    As AttnGAN defined it (Xu et al., CVPR 2018, sec. 4.1): by cosine, the own caption and 99 of
    other classes drawn at random. Captions that tie with the own one share the hit with it.

    Args:
      pictures: `[n, t]`, by the image tower; captions: `[n, t]`, their own, by the text tower.
      labels: `[n]` classes.
      candidates: the own caption and the others.
      seed: of the drawing.
    Returns: the share in [0, 1].
    Raises UserError when there are too few captions of other classes.
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
    """How often a caption finds its picture among the first k by cosine, and a picture its caption.

    Args:
      pictures, captions: `[n, t]`, row by row.
    Returns: caption_to_image and image_to_caption in [0, 1].
    """
    pictures, captions = (_directions(checked(f)) for f in (pictures, captions))
    scores = captions @ pictures.T
    own = np.diag(scores)
    return {
        "caption_to_image": float(np.mean((scores > own[:, None]).sum(axis=1) < k)),
        "image_to_caption": float(np.mean((scores > own).sum(axis=0) < k)),
    }


def checked(features: np.ndarray) -> np.ndarray:
    """`[n, d]` as they are; UserError where there are none, or one isn't a number."""
    features = np.asarray(features)
    if features.ndim != 2 or not features.size:
        raise UserError(f"Features must be [n, d] with n at least 1, not {list(features.shape)}.")
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(bad):
        raise UserError(
            f"The features of {len(bad):,} of {len(features):,} pictures are not finite (the first "
            f"is picture {bad[0]}): look at the pictures, and at the network's weights."
        )
    return features


def _blocks(features: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(features), BLOCK):
        yield features[start : start + BLOCK]


def _square_root(covariance: np.ndarray) -> np.ndarray:
    """Symmetric; eigenvalues that are only rounding are 0."""
    values, vectors = np.linalg.eigh(covariance)
    noise = len(values) * np.finfo(np.float64).eps * values[-1]
    return (vectors * np.sqrt(np.where(values > noise, values, 0))) @ vectors.T


def _squared_mmd(x: np.ndarray, y: np.ndarray) -> float:
    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        base = a @ b.T / a.shape[1] + 1
        return base * base * base  # several times as quick as a power

    count = len(x)
    xx, yy = kernel(x, x), kernel(y, y)
    within = xx.sum() - np.trace(xx) + yy.sum() - np.trace(yy)
    return within / (count * (count - 1)) - 2 * kernel(x, y).mean()


def _share_within(queries: np.ndarray, references: np.ndarray, neighbours: int) -> float:
    """The share of queries inside the ball of at least one reference."""
    radius = np.concatenate(
        # Of a reference's own set the nearest is itself.
        [
            np.partition(_squared_distances(block, references), neighbours, axis=1)[:, neighbours]
            for block in _blocks(references)
        ]
    )
    inside = [
        (_squared_distances(block, references) <= radius).any(axis=1) for block in _blocks(queries)
    ]
    return float(np.concatenate(inside).mean())


def _squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    squares = np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1) - 2 * a @ b.T
    return np.maximum(squares, 0)


def _directions(features: np.ndarray) -> np.ndarray:
    """Each of length 1, in float64."""
    features = features.astype(np.float64)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
