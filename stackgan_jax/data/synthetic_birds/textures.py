"""Textures of light for drawn shapes: feathers and bark."""

import functools

import numpy as np
from PIL import Image


@functools.lru_cache(maxsize=32)
def feather_tile(angle: int, pitch: int, side: int = 420) -> np.ndarray:
    """Returns a texture for `canvas.relief` of overlapping feathers that look like scales.

    Args:
      angle: direction of the feathers in degrees.
      pitch: distance between feathers in pixels.
      side: of the texture in pixels.

    Returns:
      `[side, side]` float32 in grey levels.
    """
    rng = np.random.default_rng((angle % 360) * 100 + pitch)
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)
    radians = np.deg2rad(angle)
    along = x * np.cos(radians) - y * np.sin(radians)
    across = x * np.sin(radians) + y * np.cos(radians)
    wobble = np.asarray(
        Image.fromarray(rng.normal(0, 1, (side // 20, side // 20)).astype(np.float32)).resize(
            (side, side), Image.Resampling.BICUBIC
        )
    )
    along, across = along + 2 * wobble, across + 1.5 * np.roll(wobble, 97, 0)
    row = np.floor(along / pitch)
    u = along / pitch - row
    v = np.mod(across / pitch + 0.5 * np.mod(row, 2), 1.0) - 0.5
    edge = u + 3.2 * v * v
    scales = 9 * np.exp(-(((edge - 0.55) / 0.16) ** 2)) - 7 * (edge > 0.62) * np.exp(
        -(edge - 0.62) * 6
    )
    barbs = np.asarray(
        Image.fromarray(rng.normal(0, 1, (side, side // 6)).astype(np.float32))
        .resize((side, side), Image.Resampling.BICUBIC)
        .rotate(angle, Image.Resampling.BILINEAR)
    )
    return (-scales + 3.0 * barbs).astype(np.float32)


@functools.lru_cache(maxsize=1)
def bark_tile(side: int = 420) -> np.ndarray:
    """Returns a texture for `canvas.relief` of horizontal streaks: `[side, side]` float32."""
    rng = np.random.default_rng(11)
    noise = rng.normal(0, 1, (side // 3, side // 22)).astype(np.float32)
    streaks = Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC)
    return 14 * np.asarray(streaks)
