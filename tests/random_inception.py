"""Writes FID's Inception-v3 with random weights, to try evaluation without the published ones:

    python tests/random_inception.py random-inception.pth

The file is a state dict in the published format and always the same. Its scores can't be compared
with any others; their stamps say that the weights aren't the published ones.
"""

import json
import sys
import zlib
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).parent / "data" / "inception_fid.npz"


def state_dict() -> dict[str, np.ndarray]:
    """Returns the weights that the golden values were computed with; each key has its own seed."""
    with np.load(GOLDEN) as archive:
        shapes = json.loads(str(archive["shapes"]))
    return {key: _drawn(key, shape) for key, shape in shapes.items()}


def _drawn(key: str, shape: list[int]) -> np.ndarray:
    numbers = np.random.RandomState((zlib.crc32(key.encode()) + 41) & 0xFFFFFFFF)
    numbers = numbers.standard_normal(shape)
    if key.endswith("running_var"):
        numbers = 1 + 0.2 * np.abs(numbers)
    elif key.endswith(("running_mean", "bias")):
        numbers = 0.1 * numbers
    elif len(shape) == 1:
        numbers = 1 + 0.1 * numbers
    else:
        numbers = numbers * np.sqrt(2 / np.prod(shape[1:]))
    return np.asarray(numbers, np.float32)


def write(path: str | Path) -> None:
    """Writes the weights as PyTorch saves a network, with a counter for each batch statistic."""
    import torch

    tensors = {}
    for key, array in state_dict().items():
        tensors[key] = torch.tensor(5) if key.endswith("tracked") else torch.from_numpy(array)
    torch.save(tensors, path)


if __name__ == "__main__":
    write(sys.argv[1])
