"""Scores of the features of two sets of pictures: FID, KID, Inception Score, precision and recall.

Everything is computed by NumPy in float64. Given features get the same numbers here as from
torch-fidelity, whose golden values are in the tests.
"""

import dataclasses
import itertools
import warnings
from collections.abc import Iterator

import numpy as np

from stackgan_jax.runtime.errors import UserError

BLOCK = 1024  # rows that are computed at once


@dataclasses.dataclass
class Moments:
    """Mean and covariance of features that arrive in parts, in float64 (Chan et al., 1979).

    Attributes:
        count: the number of features.
        mean: `[d]`.
        scatter: `[d, d]`, the sum of the outer products of the deviations from the mean.
    """

    count: int
    mean: np.ndarray
    scatter: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray) -> "Moments":
        """Returns the moments of features `[n, d]`, read in blocks.

        Raises:
            UserError: for features that are not finite.
        """
        features = checked(features)
        moments = cls(0, np.zeros(features.shape[1]), np.zeros((features.shape[1],) * 2))
        for block in _blocks(features):
            moments.add(block)
        return moments

    def add(self, features: np.ndarray) -> None:
        """Adds `[n, d]` further features."""
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
        """The unbiased covariance `[d, d]`.

        Raises:
            UserError: for fewer than two features.
        """
        if self.count < 2:
            raise UserError(f"A covariance needs at least 2 pictures, not {self.count}; give more.")
        return self.scatter / (self.count - 1)


def frechet_distance(first: Moments, second: Moments) -> float:
    """|m₁ − m₂|² + tr(C₁ + C₂ − 2 (C₁C₂)^½): FID, for Inception's "2048" (Heusel et al., 2017).

    tr (C₁C₂)^½ is computed as the sum of the singular values of C₁^½ C₂^½. Rounding can't make that
    complex, and it is exact for covariances without full rank too. Covariances lack full rank where
    there are fewer pictures than dimensions. A warning then says that the distance is biased: the
    fewer the samples, the larger it is.

    Raises:
        UserError: for features of different lengths, or fewer than two pictures.
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
        first: `[n, d]`.
        second: `[m, d]`.
        subsets: how many subsets are drawn, each without replacement.
        subset_size: pictures in a subset.
        seed: of the subsets, which are those that torch-fidelity draws.

    Returns:
        Mean and standard deviation over the subsets.

    Raises:
        UserError: for fewer pictures than `subset_size`.
    """
    first, second = (checked(f).astype(np.float64) for f in (first, second))
    fewest = min(len(first), len(second))
    if fewest < subset_size:
        raise UserError(
            f"KID takes subsets of {subset_size:,} pictures and one side has {fewest:,}; give more "
            "pictures, or choose a protocol with smaller subsets."
        )
    rng = np.random.RandomState(seed)
    found = []
    for _ in range(subsets):
        x = first[rng.choice(len(first), subset_size, replace=False)]
        y = second[rng.choice(len(second), subset_size, replace=False)]
        found.append(_squared_mmd(x, y))
    return float(np.mean(found)), float(np.std(found))


def inception_score(logits: np.ndarray, splits: int = 10, seed: int = 2020) -> tuple[float, float]:
    """Inception Score, exp E KL(p(y|x) ‖ p(y)) (Salimans et al., 2016), as in torch-fidelity.

    Args:
        logits: `[n, classes]`, "logits_unbiased".
        splits: how many parts the shuffled pictures are split into; each part is scored.
        seed: of the shuffling.

    Returns:
        Mean and standard deviation over the splits.

    Raises:
        UserError: for fewer than two pictures a split.
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


def share_within(queries: np.ndarray, references: np.ndarray, neighbours: int = 3) -> float:
    """The share of queries that lie in the neighbourhood of at least one reference.

    The neighbourhood of a reference is the ball that reaches to its k-th nearest neighbour among
    the references. With generated queries and real references this is precision, how realistic the
    generated pictures are; the other way round it is recall, how much of the real pictures'
    variety is generated (Kynkäänniemi et al., NeurIPS 2019).

    Args:
        queries: `[n, d]`.
        references: `[m, d]`.
        neighbours: k.

    Returns:
        The share in [0, 1].

    Raises:
        UserError: for `neighbours` pictures or fewer on either side.
    """
    queries, references = (checked(f).astype(np.float64) for f in (queries, references))
    fewest = min(len(queries), len(references))
    if fewest <= neighbours:
        raise UserError(
            f"Precision and recall by {neighbours} neighbours need more than {neighbours} pictures "
            f"on both sides, not {fewest}."
        )
    radius = np.concatenate(
        # The nearest neighbour of a reference is the reference itself.
        [
            np.partition(_squared_distances(block, references), neighbours, axis=1)[:, neighbours]
            for block in _blocks(references)
        ]
    )
    inside = [
        (_squared_distances(block, references) <= radius).any(axis=1) for block in _blocks(queries)
    ]
    return float(np.concatenate(inside).mean())


def checked(features: np.ndarray) -> np.ndarray:
    """Returns features `[n, d]` unchanged.

    Raises:
        UserError: for an empty array, another number of dimensions, or values that are not finite.
    """
    features = np.asarray(features)
    if features.ndim != 2 or not features.size:
        raise UserError(f"Features must be [n, d] with n at least 1, not {list(features.shape)}.")
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(bad):
        raise UserError(
            f"The features of {len(bad):,} of {len(features):,} pictures are not finite (the first "
            f"is picture {bad[0]}); check the pictures and the network's weights."
        )
    return features


def _blocks(features: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(features), BLOCK):
        yield features[start : start + BLOCK]


def _square_root(covariance: np.ndarray) -> np.ndarray:
    """The symmetric square root; eigenvalues that are only rounding errors become 0."""
    values, vectors = np.linalg.eigh(covariance)
    noise = len(values) * np.finfo(np.float64).eps * values[-1]
    return (vectors * np.sqrt(np.where(values > noise, values, 0))) @ vectors.T


def _squared_mmd(x: np.ndarray, y: np.ndarray) -> float:
    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        base = a @ b.T / a.shape[1] + 1
        return base * base * base  # several times faster than a power

    count = len(x)
    xx, yy = kernel(x, x), kernel(y, y)
    within = xx.sum() - np.trace(xx) + yy.sum() - np.trace(yy)
    return within / (count * (count - 1)) - 2 * kernel(x, y).mean()


def _squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    squares = np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1) - 2 * a @ b.T
    return np.maximum(squares, 0)
