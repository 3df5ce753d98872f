"""Paints the scene behind and under a synthetic bird: sky, branch, grass, water or snow.

In each function, `size` is the side of the picture in pixels, `feet` `[2]` the place (x, y) where
the bird stands, and `sun` the direction towards the light (x, y), y pointing down.
"""

import colorsys

import numpy as np
from PIL import Image

from stackgan_jax.data.synthetic_birds import canvas, textures

_COARSE = 38  # backgrounds are made of [38, 38] colours, then enlarged


def _colour(
    rng: np.random.Generator, hue: float, saturation: float, value: float, spread: float = 0.03
) -> np.ndarray:
    """Returns an RGB colour in 0..255 near the hue (degrees), saturation and value (0 to 1)."""
    hue = (hue / 360 + rng.normal(0, spread / 2)) % 1.0
    saturation = np.clip(saturation + rng.normal(0, spread), 0, 1)
    value = np.clip(value + rng.normal(0, spread), 0, 1)
    return np.array(colorsys.hsv_to_rgb(hue, saturation, value)) * 255


def _clouds(rng: np.random.Generator, cells: tuple[int, int]) -> np.ndarray:
    """Returns smooth noise `[_COARSE, _COARSE, 1]`, roughly in [-1, 1].

    `cells` are the rows and columns of independent values.
    """
    grid = Image.fromarray(rng.normal(0, 0.6, cells).astype(np.float32))
    return np.asarray(grid.resize((_COARSE, _COARSE), Image.Resampling.BICUBIC))[..., None]


def _soft(field: np.ndarray, size: int) -> Image.Image:
    """Enlarges coarse colours `[h, w, 3]` to a smooth image of the full size."""
    image = Image.fromarray(np.clip(field, 0, 255).astype(np.uint8))
    return image.resize((size, size), Image.Resampling.BICUBIC)


def _gradient(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """Returns `[_COARSE, _COARSE, 3]` colours that change from top to bottom."""
    fraction = np.linspace(0, 1, _COARSE)[:, None, None]
    return (1 - fraction) * top + fraction * bottom + np.zeros((1, _COARSE, 1))


def _wavy(
    rng: np.random.Generator,
    start: tuple[float, float],
    end: tuple[float, float],
    amplitude: float,
    points: int = 6,
) -> np.ndarray:
    """Returns a curve `[n, 2]` from start to end (x, y) that sways by about `amplitude` pixels."""
    curve = np.linspace(start, end, points)
    curve[1:-1, 1] += rng.normal(0, amplitude, points - 2)
    return canvas.smooth(curve, closed=False)


def _rod(curve: np.ndarray, thick: float, thin: float) -> np.ndarray:
    """Returns the outline of a twig along a curve, from `thick` to `thin` pixels wide."""
    half = np.linspace(thick, thin, len(curve))[:, None] / 2
    normal = np.gradient(curve, axis=0)[:, ::-1] * (-1, 1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    return np.concatenate([curve + normal * half, (curve - normal * half)[::-1]])


def _paint_rod(
    picture: canvas.Canvas, outline: np.ndarray, colour: np.ndarray, sun: np.ndarray
) -> None:
    mask = canvas.polygons([outline], picture.size, margin=2)
    picture.paint(mask, colour, canvas.relief(mask, 6, sun, textures.bark_tile(), height=1.3))


def _leaf(
    rng: np.random.Generator, root: np.ndarray, angle: float, length: float
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the outline and the midrib of one leaf from its root (x, y); `angle` in radians."""
    along = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-along[1], along[0]]) * length * rng.uniform(0.16, 0.24)
    outline = [root, root + along * length * 0.4 + across, root + along * length]
    outline += [root + along * length * 0.45 - across]
    return canvas.smooth(outline), np.stack([root, root + along * length * 0.95])


def sky(rng: np.random.Generator, size: int, feet: np.ndarray, sun: np.ndarray) -> canvas.Canvas:
    """Paints a blue sky with clouds; the bird sits on a thin bare twig."""
    field = _gradient(_colour(rng, 211, 0.52, 0.86), _colour(rng, 205, 0.22, 0.96))
    cloud = np.clip(1.2 * _clouds(rng, (7, 5)) + 0.6 * _clouds(rng, (16, 11)) - 0.1, 0, 1)
    field = field + cloud * (np.array([250, 250, 252]) - field) * 0.85
    picture = canvas.Canvas(_soft(field, size))
    tilt = rng.normal(0, 5)
    curve = _wavy(rng, (-8, feet[1] + 4 + tilt), (size + 8, feet[1] + 4 - tilt), 1.2)
    curve[:, 1] += feet[1] + 3.5 - np.interp(feet[0], curve[:, 0], curve[:, 1])
    _paint_rod(picture, _rod(curve, 8, 5.5), _colour(rng, 28, 0.22, 0.42), sun)
    return picture


def branch(rng: np.random.Generator, size: int, feet: np.ndarray, sun: np.ndarray) -> canvas.Canvas:
    """Paints a thick branch with leaves in front of blurred foliage."""
    field = _gradient(_colour(rng, 92, 0.45, 0.60), _colour(rng, 84, 0.55, 0.34))
    field = field * (1 + 0.30 * _clouds(rng, (9, 9)) + 0.15 * _clouds(rng, (19, 19)))
    picture = canvas.Canvas(_soft(field, size))
    centres = rng.uniform(0, size, (9, 2))
    bokeh = canvas.discs(centres, rng.uniform(7, 18, 9), size).blurred(1.5).faded(0.35)
    picture.paint(bokeh, _colour(rng, 72, 0.35, 0.92))
    slope = rng.normal(0, 14)
    curve = _wavy(rng, (-10, feet[1] + 9 + slope), (size + 10, feet[1] + 9 - slope), 3.0)
    curve[:, 1] += feet[1] + 8.5 - np.interp(feet[0], curve[:, 0], curve[:, 1])
    _paint_leaves(rng, picture, curve, sun)
    _paint_rod(picture, _rod(curve, 21, 14), _colour(rng, 26, 0.40, 0.44), sun)
    return picture


def _paint_leaves(
    rng: np.random.Generator, picture: canvas.Canvas, curve: np.ndarray, sun: np.ndarray
) -> None:
    """Paints leaves that grow from a branch along a curve `[n, 2]`."""
    size = picture.size
    for position in rng.uniform(0.04, 0.96, 6):
        root = curve[int(position * (len(curve) - 1))]
        angle = rng.choice([-1, 1]) * rng.uniform(0.4, 1.3) + rng.choice([0.0, np.pi])
        leaf, rib = _leaf(rng, root, angle, rng.uniform(24, 44))
        mask = canvas.polygons([leaf], size)
        picture.paint(mask, _colour(rng, 98, 0.60, 0.50, 0.06), canvas.relief(mask, 5, sun))
        picture.shade(canvas.lines([rib], 1.0, size).faded(0.5), 180)


def _blades(
    rng: np.random.Generator, size: int, count: int, base: float, height: float
) -> list[np.ndarray]:
    """Returns outlines of blades of grass, rooted near row `base`, about `height` pixels long."""
    roots = np.stack([rng.uniform(-5, size + 5, count), base + rng.normal(0, 5, count)], 1)
    lengths, leans = height * rng.uniform(0.55, 1.1, count), rng.normal(0, 0.3, count)
    half_widths = rng.uniform(1.4, 2.4, count)
    # Left foot, left waist, tip, right waist and right foot of a blade, each as shares of the
    # blade's lean, height and width.
    shape = np.array([(0, 0, -1), (0.35, 0.55, -0.7), (1, 1, 0), (0.35, 0.55, 0.7), (0, 0, 1)])
    x = roots[:, :1] + (lengths * leans)[:, None] * shape[:, 0] + half_widths[:, None] * shape[:, 2]
    y = roots[:, 1:] - lengths[:, None] * shape[:, 1]
    return list(np.stack([x, y], 2))


def grass(rng: np.random.Generator, size: int, feet: np.ndarray, sun: np.ndarray) -> canvas.Canvas:
    """Paints a meadow: pale blurred distance, green ground, blades of grass."""
    far, near = _colour(rng, 66, 0.30, 0.86), _colour(rng, 98, 0.58, 0.62)
    field = _gradient(far, near)
    rows = np.arange(_COARSE)[:, None, None] / _COARSE * size
    ground = 1 / (1 + np.exp(-(rows - feet[1] + 42 + 14 * _clouds(rng, (3, 5))) / 9))
    field = field * (1 - ground) + ground * near * (1 + 0.16 * _clouds(rng, (16, 12)))
    picture = canvas.Canvas(_soft(field, size))
    for base, light in ((feet[1] + 2, 112), (feet[1] + 18, 140), (size + 4, 122)):
        blades = canvas.polygons(_blades(rng, size, 34, base, 34), size)
        picture.paint(blades.faded(0.85), _colour(rng, 96, 0.66, 0.58, 0.05), light)
    return picture


def water(rng: np.random.Generator, size: int, feet: np.ndarray, sun: np.ndarray) -> canvas.Canvas:
    """Paints shallow water with ripples up to the horizon; the bird stands on a wet stone."""
    field = _gradient(_colour(rng, 192, 0.16, 0.90), _colour(rng, 196, 0.62, 0.52))
    field = field * (1 + 0.10 * _clouds(rng, (24, 4)))
    picture = canvas.Canvas(_soft(field, size))
    _paint_ripples(rng, picture)
    _paint_stone(rng, picture, feet, sun)
    return picture


def _paint_ripples(rng: np.random.Generator, picture: canvas.Canvas) -> None:
    size = picture.size
    for light, count in ((196, 13), (78, 11)):
        rows = size * (0.25 + 0.74 * rng.uniform(0, 1, count))
        curves = []
        for row in rows:
            x, length = rng.uniform(-20, size), rng.uniform(30, 110) * (0.4 + row / size)
            waves = np.linspace(0, length, 9)
            wave = 1.5 * np.sin(waves / 7 + rng.uniform(0, 6))
            curves.append(canvas.smooth(np.stack([x + waves, row + wave], 1), closed=False))
        picture.shade(canvas.lines(curves, 2.0, size, 3).blurred(0.8).faded(0.8), light)


def _paint_stone(
    rng: np.random.Generator, picture: canvas.Canvas, feet: np.ndarray, sun: np.ndarray
) -> None:
    half = rng.uniform(62, 84)
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    bumps = 1 + rng.normal(0, 0.05, 12)
    stone = np.stack([np.cos(angles) * half * bumps, np.sin(angles) * 21 * bumps], 1)
    stone = canvas.smooth(stone + np.array([feet[0] + rng.normal(0, 10), feet[1] + 17]))
    mask = canvas.polygons([stone], picture.size, margin=6)
    picture.shade(mask.blurred(4), 70)
    picture.paint(mask, _colour(rng, 30, 0.10, 0.50), canvas.relief(mask, 12, sun))


def snow(rng: np.random.Generator, size: int, feet: np.ndarray, sun: np.ndarray) -> canvas.Canvas:
    """Paints snowy ground under a pale grey winter sky with falling flakes."""
    field = _gradient(_colour(rng, 218, 0.16, 0.70, 0.02), _colour(rng, 214, 0.08, 0.82, 0.02))
    field = field * (1 + 0.06 * _clouds(rng, (7, 6)))
    rows = np.arange(_COARSE)[:, None, None] / _COARSE * size
    drift = 12 * _clouds(rng, (1, 4))
    ground = 1 / (1 + np.exp(-(rows - feet[1] + 26 + drift) / 4))
    white = np.array([240, 244, 250]) * (1 + 0.035 * _clouds(rng, (12, 7)))
    picture = canvas.Canvas(_soft(field * (1 - ground) + ground * white, size))
    flakes = canvas.discs(rng.uniform(0, size, (46, 2)), rng.uniform(1.0, 3.0, 46), size)
    picture.paint(flakes.blurred(0.7).faded(0.9), (252, 253, 255))
    return picture


SCENES = {"sky": sky, "branch": branch, "grass": grass, "water": water, "snow": snow}


def paint(
    background: str, rng: np.random.Generator, size: int, feet: np.ndarray, sun: np.ndarray
) -> canvas.Canvas:
    """Returns a canvas with the scene painted; `background` is one of SCENES."""
    return SCENES[background](rng, size, feet, sun)


def contact_shadow(background: str, picture: canvas.Canvas, feet: np.ndarray) -> None:
    """Darkens the ground around the feet, if the scene has ground."""
    if background in ("grass", "snow"):
        angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
        oval = feet + np.stack([44 * np.cos(angles) + 8, 6 * np.sin(angles) + 3], 1)
        picture.shade(canvas.polygons([oval], picture.size, 10).blurred(5).faded(0.55), 40)


def foreground(
    background: str, picture: canvas.Canvas, rng: np.random.Generator, feet: np.ndarray
) -> None:
    """Paints a few blades of grass in front of the feet, if the scene is grass."""
    if background == "grass":
        blades = canvas.polygons(_blades(rng, picture.size, 12, feet[1] + 8, 20), picture.size)
        picture.paint(blades, _colour(rng, 92, 0.66, 0.62, 0.05))
