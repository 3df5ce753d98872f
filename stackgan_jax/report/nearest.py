"""The training images nearest to pictures, which show that drawn pictures are no copies.

Source: StackGAN, sec. 4.2.
"""

import dataclasses

import numpy as np

from stackgan_jax.evaluation.unseen import centre

BLOCK = 512  # training images compared at once


@dataclasses.dataclass(frozen=True)
class Nearest:
    """The training images nearest to n pictures.

    Attributes:
        index: `[n]` position in the training split.
        mirrored: `[n]` whether the image's mirror image is nearer than the image itself.
        distance: `[n]` root mean square difference over pixels and channels, in [0, 255].
    """

    index: np.ndarray
    mirrored: np.ndarray
    distance: np.ndarray

    def image(self, training: np.ndarray, picture: int, size: int) -> np.ndarray:
        """Returns the image nearest to a picture, mirrored if it was nearer so.

        Args:
            training: uint8 `[m, l, l, 3]`, the split at any load size of at least `size`.
            picture: number of the picture, below n.
            size: of the result in pixels.

        Returns:
            uint8 `[size, size, 3]`.
        """
        found = centre(training[[self.index[picture]]], size)[0]
        return found[:, ::-1] if self.mirrored[picture] else found

    def summary(self) -> dict[str, float]:
        """Returns the median and the least distance."""
        return {
            "median": round(float(np.median(self.distance)), 2),
            "least": round(float(self.distance.min()), 2),
        }


def find_nearest(pictures: np.ndarray, training: np.ndarray) -> Nearest:
    """Finds for each picture the training image that differs least, as it is or mirrored.

    Args:
        pictures: uint8 `[n, s, s, 3]`.
        training: uint8 `[m, l, l, 3]`, l at least s; their middles are compared.
    """
    count, size = len(pictures), pictures.shape[1]
    targets = np.concatenate([_vectors(pictures), _vectors(pictures[:, :, ::-1])])
    best = np.full(2 * count, np.inf, np.float32)
    index = np.zeros(2 * count, int)
    for start in range(0, len(training), BLOCK):
        block = _vectors(centre(training[start : start + BLOCK], size))
        # |a - b|² less |a|², which is the same for all b.
        squares = np.square(block).sum(axis=1) - 2 * targets @ block.T
        least = squares.min(axis=1)
        index = np.where(least < best, start + squares.argmin(axis=1), index)
        best = np.minimum(least, best)
    squares = np.maximum(best + np.square(targets).sum(axis=1), 0)
    plain, mirrored = np.split(np.sqrt(squares / targets.shape[1]), 2)
    return Nearest(
        index=np.where(mirrored < plain, index[count:], index[:count]),
        mirrored=mirrored < plain,
        distance=np.minimum(plain, mirrored),
    )


def _vectors(pictures: np.ndarray) -> np.ndarray:
    return pictures.reshape(len(pictures), -1).astype(np.float32) - 127.5
