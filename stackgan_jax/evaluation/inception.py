"""Features of FID's Inception-v3.

Pictures are resized as in the published programs. Batches are split over this process's devices.
"""

import dataclasses
import functools
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from PIL import Image

from stackgan_jax.evaluation import inception_weights
from stackgan_jax.models.inception import SIZE, InceptionV3
from stackgan_jax.runtime import mesh
from stackgan_jax.runtime.errors import UserError

# Name → description for stamps.
RESIZES = {
    "tensorflow": "bilinear as TensorFlow 1 (torch-fidelity; the original FID)",
    "pytorch": "bilinear by half pixels (pytorch-fid, DF-GAN)",
    "clean": "anti-aliased bicubic as PIL's (clean-fid)",
}
DTYPES = ("float32", "bfloat16")


@dataclasses.dataclass(frozen=True)
class Extractor:
    """The network, ready to read pictures.

    Attributes:
        variables: of `InceptionV3`.
        resize: one of RESIZES.
        dtype: of the computation, one of DTYPES.
        batch_size: pictures read at once by all devices of this process together.

    Raises:
        UserError: for an unknown resize or dtype.
    """

    variables: Any
    resize: str = "tensorflow"
    dtype: str = "float32"
    batch_size: int = 32

    def __post_init__(self) -> None:
        """Checks the names."""
        for name, value, known in (
            ("resize", self.resize, RESIZES),
            ("dtype", self.dtype, DTYPES),
        ):
            if value not in known:
                raise UserError(f"Unknown {name} {value!r}; choose from {', '.join(known)}.")

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Reads pictures; the last batch is padded, so that one compilation serves all batches.

        Args:
            images: uint8 `[n, h, w, 3]`, n at least 1.

        Returns:
            Layer → features `[n, d]` float32.

        Raises:
            UserError: for anything but such pictures.
        """
        images = np.asarray(images)
        if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8 or not len(images):
            raise UserError(
                f"Inception reads uint8 pictures [n, h, w, 3], n at least 1, not {images.dtype} "
                f"{list(images.shape)}."
            )
        (variables, split), size = self._placed, self._batch_size(len(images))
        rows, columns = (resize_matrix(self.resize, s) for s in images.shape[1:3])
        parts = []
        for start in range(0, len(images), size):
            batch = images[start : start + size]
            batch = np.concatenate([batch, np.repeat(batch[-1:], size - len(batch), axis=0)])
            batch = jax.device_put(batch, split)
            parts.append(_features(self.dtype, self.resize, variables, batch, rows, columns))
            if len(parts) > 2:  # at most one batch waits on the devices
                jax.block_until_ready(parts[-2])
        parts = jax.device_get(parts)
        return {
            layer: np.concatenate([part[layer] for part in parts])[: len(images)]
            for layer in parts[0]
        }

    def _batch_size(self, count: int) -> int:
        """The smallest multiple of the device count that holds `batch_size` or all pictures."""
        devices = jax.local_device_count()
        return -(-min(self.batch_size, count) // devices) * devices

    @functools.cached_property
    def _placed(self) -> tuple[Any, NamedSharding]:
        """The variables on every device of this process, and how a batch is split over them."""
        devices = mesh.local_mesh()
        return jax.device_put(self.variables, mesh.replicated(devices)), mesh.over_batch(devices)


def inception_features(
    weights_path: str | Path,
    images_uint8: np.ndarray,
    resize: str = "tensorflow",
    dtype: str = "float32",
    batch_size: int = 32,
) -> dict[str, np.ndarray]:
    """Returns the features of FID's Inception-v3.

    Args:
        weights_path: the state dict of pytorch-fid or of torch-fidelity; their content is the same.
        images_uint8: `[n, h, w, 3]` uint8.
        resize: one of RESIZES.
        dtype: "float32", or "bfloat16", which is faster on accelerators but deviates.
        batch_size: pictures read at once.

    Returns:
        "64", "192", "768", "2048", "logits", "logits_unbiased" → `[n, d]` float32.

    Raises:
        UserError: for the weights of another network, or images of another shape or type.
    """
    weights = inception_weights.load(weights_path)
    return Extractor(weights.variables, resize, dtype, batch_size)(images_uint8)


@functools.cache
def resize_matrix(resize: str, size: int) -> np.ndarray:
    """Returns the matrix `[299, size]` float32 that resizes a line of `size` pixels to 299.

    Args:
        resize: one of RESIZES.
        size: pixels in the line.
    """
    if resize == "clean":  # PIL's resize is linear, so unit vectors give its weights
        unit = Image.fromarray(np.eye(size, dtype=np.float32))
        return np.asarray(unit.resize((size, SIZE), Image.Resampling.BICUBIC))
    place = np.arange(SIZE) * (size / SIZE)
    if resize == "pytorch":
        place = np.clip((np.arange(SIZE) + 0.5) * (size / SIZE) - 0.5, 0, None)
    low = np.minimum(np.floor(place).astype(int), size - 1)
    high = np.minimum(low + 1, size - 1)
    matrix = np.zeros((SIZE, size))
    np.add.at(matrix, (np.arange(SIZE), low), 1 - (place - low))
    np.add.at(matrix, (np.arange(SIZE), high), place - low)
    return matrix.astype(np.float32)


def resized(images: jax.Array, resize: str, rows: jax.Array, columns: jax.Array) -> jax.Array:
    """Resizes pictures.

    Args:
        images: uint8 `[b, h, w, 3]`.
        resize: one of RESIZES.
        rows: `resize_matrix` of the height.
        columns: `resize_matrix` of the width.

    Returns:
        float32 `[b, 299, 299, 3]` in [0, 255].
    """
    precise = jax.lax.Precision.HIGHEST
    x = jnp.einsum("ih,bhwc->biwc", rows, images.astype(jnp.float32), precision=precise)
    x = jnp.einsum("jw,biwc->bijc", columns, x, precision=precise)
    return jnp.clip(x, 0, 255) if resize == "clean" else x


@functools.partial(jax.jit, static_argnums=(0, 1))
def _features(
    dtype: str,
    resize: str,
    variables: Any,
    images: jax.Array,
    rows: jax.Array,
    columns: jax.Array,
) -> dict[str, jax.Array]:
    x = resized(images, resize, rows, columns)
    # pytorch-fid maps 255 to 1; the original FID maps 256 to 1.
    x = x * (2 / 255) - 1 if resize == "pytorch" else (x - 128) / 128
    return InceptionV3(dtype=jnp.dtype(dtype)).apply(variables, x)


def images_per_second(
    batch_size: int = 32, size: int = 256, dtype: str = "float32", seconds: float = 5.0
) -> dict[str, Any]:
    """Measures the speed of resizing and reading random pictures, with untrained weights.

    Args:
        batch_size: pictures read at once.
        size: side of the pictures in pixels.
        dtype: of the computation, one of DTYPES.
        seconds: how long to measure, at least.

    Returns:
        images_per_second, compile_seconds, batch_size, size, dtype, batches, devices.
    """
    extractor = Extractor(inception_weights.random_variables(), "tensorflow", dtype, batch_size)
    shape = (extractor._batch_size(batch_size), size, size, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    began = time.monotonic()
    extractor(images)
    compiled = time.monotonic()
    batches = 0
    while batches == 0 or time.monotonic() - compiled < seconds:
        extractor(images)
        batches += 1
    took = time.monotonic() - compiled
    return {
        "images_per_second": batches * len(images) / took,
        "compile_seconds": compiled - began,
        "batch_size": len(images),
        "size": size,
        "dtype": dtype,
        "batches": batches,
        "devices": [str(device) for device in jax.local_devices()],
    }
