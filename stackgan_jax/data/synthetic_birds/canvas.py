"""Paints anti-aliased pictures: smooth outlines, soft masks, a layer of colour and one of light."""

import functools
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

SUPERSAMPLING = 4  # masks are drawn this many times larger, then reduced
NEUTRAL = 128  # light that leaves the colour unchanged

Colour = Sequence[float] | np.ndarray  # RGB, 0..255


@functools.lru_cache(maxsize=128)
def _spline(count: int, closed: bool, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the control points of each segment of a Catmull-Rom spline, and their weights.

    Args:
      count: number of points.
      closed: whether the last point is joined to the first.
      samples: points per segment of the curve.

    Returns:
      Indices of the points `[segments, 4]`, weights `[samples, 4]`.
    """
    first = np.arange(count if closed else count - 1)
    corners = first[:, None] + np.arange(-1, 3)
    corners = corners % count if closed else np.clip(corners, 0, count - 1)
    t = (np.arange(samples) / samples)[:, None]
    weights = [-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2]
    return corners, 0.5 * np.concatenate(weights, 1)


def smooth(points: np.ndarray, closed: bool = True, samples: int = 7) -> np.ndarray:
    """Returns a Catmull-Rom spline through points.

    Args:
      points: `[n, 2]`.
      closed: whether the last point is joined to the first.
      samples: points per segment of the curve.

    Returns:
      `[n * samples, 2]`, or `[(n - 1) * samples + 1, 2]` for an open curve.
    """
    points = np.asarray(points, np.float64)
    corners, weights = _spline(len(points), closed, samples)
    curve = (weights @ points[corners]).reshape(-1, 2)
    return curve if closed else np.concatenate([curve, points[-1:]])


class Mask:
    """The coverage of a shape.

    Attributes:
      image: 8-bit coverage, 255 inside.
      corner: (x, y) of its upper left corner on the canvas, in pixels.
    """

    def __init__(self, image: Image.Image, corner: tuple[int, int]) -> None:
        """See the attributes."""
        self.image, self.corner = image, corner

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(left, top, right, bottom) on the canvas, in pixels."""
        (x, y), (width, height) = self.corner, self.image.size
        return x, y, x + width, y + height

    def within(self, other: "Mask") -> "Mask":
        """Returns the part of this shape that is inside another."""
        clipped = other.image.crop(
            (
                self.box[0] - other.box[0],
                self.box[1] - other.box[1],
                self.box[2] - other.box[0],
                self.box[3] - other.box[1],
            )
        )
        return Mask(ImageChops.multiply(self.image, clipped), self.corner)

    def blurred(self, radius: float) -> "Mask":
        """Returns the shape with soft edges; `radius` in pixels."""
        return Mask(self.image.filter(ImageFilter.GaussianBlur(radius)), self.corner)

    def faded(self, strength: float) -> "Mask":
        """Returns the shape with its coverage multiplied by `strength` in [0, 1]."""
        return Mask(self.image.point([int(v * strength) for v in range(256)]), self.corner)


def _drawn(
    points: np.ndarray,
    margin: float,
    size: int,
    draw_shapes: Callable[[ImageDraw.ImageDraw, np.ndarray], None],
) -> Mask:
    """Returns a mask over the bounding box of `points`, drawn large and reduced by area."""
    low = np.clip(np.floor(points.min(0) - margin), 0, size - 4).astype(int)
    high = np.clip(np.ceil(points.max(0) + margin) + 1, low + 4, size).astype(int)
    width, height = (high - low).tolist()
    large = Image.new("L", (width * SUPERSAMPLING, height * SUPERSAMPLING))
    draw_shapes(ImageDraw.Draw(large), low)
    return Mask(large.reduce(SUPERSAMPLING), tuple(low.tolist()))


def _flat(points: np.ndarray, low: np.ndarray) -> list[float]:
    """Returns points `[n, 2]` as x, y, x, y, … in the enlarged mask whose corner is `low`."""
    return ((points - low) * SUPERSAMPLING).ravel().tolist()


def polygons(shapes: Sequence[np.ndarray], size: int, margin: float = 0) -> Mask:
    """Returns the mask of the union of shapes.

    Args:
      shapes: outlines, each `[n, 2]` in pixels.
      size: side of the canvas in pixels.
      margin: free pixels around the shapes, for blurring.
    """

    def draw_shapes(draw: ImageDraw.ImageDraw, low: np.ndarray) -> None:
        for shape in shapes:
            draw.polygon(_flat(shape, low), fill=255)

    return _drawn(np.concatenate(shapes), margin, size, draw_shapes)


def lines(curves: Sequence[np.ndarray], width: float, size: int, margin: float = 0) -> Mask:
    """Returns the mask of curves.

    Args:
      curves: each `[n, 2]` in pixels.
      width: of the lines in pixels.
      size: side of the canvas in pixels.
      margin: free pixels around the lines, for blurring.
    """

    def draw_shapes(draw: ImageDraw.ImageDraw, low: np.ndarray) -> None:
        for curve in curves:
            draw.line(_flat(curve, low), fill=255, width=max(1, round(width * SUPERSAMPLING)))

    return _drawn(np.concatenate(curves), margin + width, size, draw_shapes)


def discs(centres: np.ndarray, radii: Sequence[float], size: int) -> Mask:
    """Returns the mask of discs.

    Args:
      centres: `[n, 2]` in pixels.
      radii: n radii in pixels.
      size: side of the canvas in pixels.
    """

    def draw_shapes(draw: ImageDraw.ImageDraw, low: np.ndarray) -> None:
        for centre, radius in zip(centres, radii, strict=True):
            (x0, y0), (x1, y1) = centre - radius - low, centre + radius - low
            s = SUPERSAMPLING
            draw.ellipse((x0 * s, y0 * s, x1 * s, y1 * s), fill=255)

    return _drawn(np.asarray(centres), max(radii), size, draw_shapes)


class Canvas:
    """A picture in two layers, colour and light, so that shading applies to any colour.

    Attributes:
      colour: RGB image.
      light: "L" image; NEUTRAL leaves the colour unchanged.
      size: side in pixels.
    """

    def __init__(self, background: Image.Image) -> None:
        """Starts with a square RGB image in neutral light."""
        self.colour = background
        self.light = Image.new("L", background.size, NEUTRAL)
        self.size = background.size[0]

    def paint(self, mask: Mask, colour: Colour, light: Image.Image | int | None = None) -> None:
        """Paints a shape.

        Args:
          mask: the shape.
          colour: its colour.
          light: an "L" image of the mask's size, or one value; None for NEUTRAL.
        """
        self.colour.paste(tuple(int(c) for c in colour), mask.box, mask.image)
        self.shade(mask, NEUTRAL if light is None else light)

    def shade(self, mask: Mask, light: Image.Image | int) -> None:
        """Changes the light on a shape, but not its colour; `light` as in `paint`."""
        self.light.paste(light, mask.box, mask.image)

    def flatten(self) -> Image.Image:
        """Returns the RGB image: light below NEUTRAL darkens, light above it brightens to white."""
        dark = self.light.point([min(255, 142 + int(113 * v / NEUTRAL)) for v in range(256)])
        bright = self.light.point([max(0, int(0.55 * (v - NEUTRAL))) for v in range(256)])
        shaded = ImageChops.multiply(self.colour, Image.merge("RGB", (dark,) * 3))
        return ImageChops.screen(shaded, Image.merge("RGB", (bright,) * 3))


def relief(
    mask: Mask,
    radius: float,
    sun: np.ndarray,
    texture: np.ndarray | None = None,
    height: float = 1.0,
    offset: float = 0.0,
) -> Image.Image:
    """Returns the light on a shape that is rounded like a cushion: an "L" image of the mask's size.

    Args:
      mask: the shape.
      radius: width of the rounded rim in pixels.
      sun: direction towards the light, (x, y), y pointing down.
      texture: light to add, `[h, w]` float in grey levels, at least as large as the mask.
      height: factor on the height of the cushion.
      offset: light to add everywhere, in grey levels.
    """
    factor = 4 if radius >= 8 else 2
    small = mask.image.reduce(factor).filter(ImageFilter.GaussianBlur(radius / factor))
    heights = np.asarray(small, np.float32) * (2 * radius / factor / 255.0 * height)
    slope_y, slope_x = np.gradient(heights)
    light = -(slope_x * sun[0] + slope_y * sun[1])
    fall = np.linspace(0.16, -0.16, light.shape[0], dtype=np.float32)[:, None]
    light = np.tanh(1.1 * (light + fall)) * 100 + offset
    image = Image.fromarray(np.clip(light + NEUTRAL, 0, 255).astype(np.uint8))
    image = image.resize(mask.image.size, Image.Resampling.BILINEAR)
    if texture is None:
        return image
    grain = texture[: image.size[1], : image.size[0]]
    return Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))
