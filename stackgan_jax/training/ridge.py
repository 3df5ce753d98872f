"""Ridge regression, in closed form, and the standardisation that its strength is for."""

import numpy as np


def standardising(features: np.ndarray) -> dict[str, np.ndarray]:
    """The shift and the scale by which features `[…, d]` have mean 0 and deviation 1.

    A number that is the same for all pictures has no deviation to divide by, and stays as it is.
    """
    flat = np.asarray(features, np.float32).reshape(-1, features.shape[-1])
    deviation = flat.std(axis=0)
    return {"shift": flat.mean(axis=0), "scale": 1 / np.where(deviation > 1e-3, deviation, 1)}


def regression(features: np.ndarray, targets: np.ndarray, strength: float) -> np.ndarray:
    """The kernel `[d, t]`, float64, of a ridge regression.

    Args:
        features: `[n, d]`, each with mean 0 and deviation 1.
        targets: `[n, t]`, each with mean 0.
        strength: λ, for each row.
    """
    penalty = strength * len(features) * np.eye(features.shape[1])
    return np.linalg.solve(features.T @ features + penalty, features.T @ targets)
