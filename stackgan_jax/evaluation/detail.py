"""Fine detail of pictures, without a network: their sharpness, and combs of horizontal lines."""

import dataclasses
import functools
import typing

import numpy as np

from stackgan_jax.evaluation.readers import Features, Reader

CYCLES = 32  # a picture; finer detail has no place in a picture of 64 pixels
_LUMINANCE = np.array([0.299, 0.587, 0.114])  # of red, green and blue (ITU-R BT.601)


@dataclasses.dataclass(frozen=True)
class DetailReader(Reader):
    """Reads energies of each picture: "detail" `[n, 3]` and "gradients" `[n, 2]`."""

    name: typing.ClassVar[str] = "detail"

    @property
    def stamp(self) -> dict[str, str]:
        """There is no network."""
        none = dict.fromkeys(("weights", "sha256", "resize"), "none: read from pixels")
        return {**none, "precision": "float64"}

    def read(self, images: np.ndarray) -> Features:
        """Reads pictures, uint8 `[n, h, w, 3]`."""
        grey = images @ _LUMINANCE / 255
        return {"detail": detail(grey), "gradients": gradients(grey)}


def cutoff(side: int) -> float:
    """The cycles a picture beyond which detail counts as fine.

    That is `CYCLES`. Pictures of 64 pixels or fewer have no detail beyond it; for them it is half
    of what they can hold, a quarter of their side.
    """
    return CYCLES if side > 2 * CYCLES else side / 4


def detail(grey: np.ndarray) -> np.ndarray:
    """Returns for each picture the spectral energy beyond `cutoff`, all of it, and the cutoff.

    The spectrum is a cosine transform's, because opposite borders of a picture don't continue each
    other. Detail is fine if it is beyond the cutoff along either side. The mean does not count.

    Args:
        grey: `[n, h, w]` float.

    Returns:
        `[n, 3]` float64.
    """
    height, width = grey.shape[1:]
    energy = np.square(_waves(height) @ grey @ _waves(width).T)
    energy[:, 0, 0] = 0
    limit = cutoff(min(height, width))
    # The k-th wave has k / 2 cycles.
    fine = np.logical_or.outer(*(np.arange(side) / 2 >= limit for side in (height, width)))
    beyond = energy[:, fine].sum(axis=1)
    return np.stack([beyond, energy.sum(axis=(1, 2)), np.full(len(grey), limit)], axis=1)


@functools.cache
def _waves(side: int) -> np.ndarray:
    """The orthonormal cosine transform (DCT-II), `[side, side]`: row k is the k-th wave."""
    numbers = np.arange(side)
    waves = np.cos(np.pi / side * np.outer(numbers, numbers + 0.5)) * np.sqrt(2 / side)
    waves[0] /= np.sqrt(2)
    return waves


def gradients(grey: np.ndarray) -> np.ndarray:
    """Returns the mean squared differences of vertical and of horizontal neighbours.

    Args:
        grey: `[n, h, w]` float.

    Returns:
        `[n, 2]` float64.
    """
    steps = (np.diff(grey, axis=axis) for axis in (1, 2))
    return np.stack([np.square(each).mean(axis=(1, 2)) for each in steps], axis=1)
