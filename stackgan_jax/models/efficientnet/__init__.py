"""A pretrained image network: EfficientNet-lite, its features and its trunk for a train step."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from stackgan_jax.models import convolution
from stackgan_jax.models.efficientnet.network import (
    LAYERS,
    LEAST_SIZE,
    NETWORKS,
    TAPS,
    Trunk,
    default_dtype,
    taps,
    top,
)
from stackgan_jax.models.efficientnet.weights import installed, load, require, untrained
from stackgan_jax.runtime.errors import UserError

__all__ = [
    "LAYERS",
    "LEAST_SIZE",
    "NETWORKS",
    "TAPS",
    "Trunk",
    "default_dtype",
    "features",
    "installed",
    "load",
    "require",
    "taps",
    "top",
    "untrained",
]

_PIXELS = 2**18  # computed at once: 64 pictures of 64 x 64


def features(
    images: np.ndarray,
    network: str = "lite0",
    layers: Sequence[str] = LAYERS,
    dtype: Any = None,
) -> dict[str, np.ndarray]:
    """Computes a pretrained network's features of pictures.

    The pictures are computed in parts of a bounded size, so any number fits into memory as far as
    the layers that are returned do.

    Args:
        images: [n, h, w, 3] uint8, of at least LEAST_SIZE pixels a side.
        network: "lite0", "lite1" or "lite2".
        layers: which of LAYERS to return.
        dtype: of the computation; by default float32 on CPU, bfloat16 on accelerators.

    Returns:
        Layer → float32 array. "block2", "block4", "block10" and "block15", named after the blocks
        of lite0, are [n, ceil(h / s), ceil(w / s), c] for s = 4, 8, 16, 32: the ends of the same
        stages in every network. "pooled" is [n, 1280], "logits" [n, 1000].

    Raises:
        UserError: an unknown network or layer, a package that is not installed, a damaged file, or
            pictures that are too small.
        ValueError: the images are of another type or shape.
    """
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise ValueError(
            f"Pictures are [n, h, w, 3] uint8, not {list(images.shape)} {images.dtype}."
        )
    unknown = [layer for layer in layers if layer not in LAYERS]
    if unknown:
        raise UserError(f"Unknown layer {unknown[0]!r}; choose from {', '.join(LAYERS)}.")
    trunk = jax.device_put(load(network))
    size = max(1, min(len(images), _PIXELS // (images.shape[1] * images.shape[2])))
    compute = _program(tuple(layers), dtype or default_dtype())
    parts = [
        jax.tree.map(np.asarray, compute(trunk, _padded(images[i : i + size], size)))
        for i in range(0, max(1, len(images)), size)
    ]
    return {name: np.concatenate([p[name] for p in parts])[: len(images)] for name in layers}


def _padded(images: np.ndarray, size: int) -> np.ndarray:
    """Black pictures after the last ones: every part has one shape, so one program does."""
    return np.pad(images, ((0, size - len(images)), (0, 0), (0, 0), (0, 0)))


@functools.cache
def _program(layers: tuple[str, ...], dtype: Any):
    computed = functools.partial(_features, layers=layers, dtype=dtype)
    return jax.jit(computed, compiler_options=convolution.compiler_options())


def _features(
    trunk: Trunk, images: jax.Array, layers: tuple[str, ...], dtype: Any
) -> dict[str, jax.Array]:
    maps = taps(trunk, images.astype(jnp.float32) / 127.5 - 1, dtype)
    found = dict(zip(TAPS, maps, strict=True))
    found["pooled"], found["logits"] = top(trunk, maps[-1])
    return {layer: found[layer].astype(jnp.float32) for layer in layers}
