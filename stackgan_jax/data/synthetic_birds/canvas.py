"""Anti-aliased painting: smooth outlines, soft masks, and light kept apart from colour."""

import functools

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

SUPERSAMPLING = 4
NEUTRAL = 128


@functools.lru_cache(maxsize=128)
def _spline(count, closed, samples):
    """Which four points each stretch of a Catmull-Rom spline bends by, and their [4] weights."""
    first = np.arange(count if closed else count - 1)
    corners = first[:, None] + np.arange(-1, 3)
    corners = corners % count if closed else np.clip(corners, 0, count - 1)
    t = (np.arange(samples) / samples)[:, None]
    weights = [-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2]
    return corners, 0.5 * np.concatenate(weights, 1)


def smooth(points, closed=True, samples=7):
    """Catmull-Rom spline through `points` [n, 2] → [n * samples, 2] (open: one stretch fewer)."""
    points = np.asarray(points, np.float64)
    corners, weights = _spline(len(points), closed, samples)
    curve = (weights @ points[corners]).reshape(-1, 2)
    return curve if closed else np.concatenate([curve, points[-1:]])


class Mask:
    """Coverage of a shape: an 8-bit image and the corner where it lies on the canvas."""

    def __init__(self, image, corner):
        self.image, self.corner = image, corner

    @property
    def box(self):
        (x, y), (width, height) = self.corner, self.image.size
        return x, y, x + width, y + height

    def within(self, other):
        """The part of this shape that lies inside another."""
        clipped = other.image.crop(
            (
                self.box[0] - other.box[0],
                self.box[1] - other.box[1],
                self.box[2] - other.box[0],
                self.box[3] - other.box[1],
            )
        )
        return Mask(ImageChops.multiply(self.image, clipped), self.corner)

    def blurred(self, radius):
        return Mask(self.image.filter(ImageFilter.GaussianBlur(radius)), self.corner)

    def faded(self, strength):
        """The same shape with its coverage multiplied by `strength` in [0, 1]."""
        return Mask(self.image.point([int(v * strength) for v in range(256)]), self.corner)


def _drawn(points, margin, size, draw_shapes):
    """Mask over the bounding box of `points`, drawn large and reduced by area."""
    low = np.clip(np.floor(points.min(0) - margin), 0, size - 4).astype(int)
    high = np.clip(np.ceil(points.max(0) + margin) + 1, low + 4, size).astype(int)
    width, height = (high - low).tolist()
    large = Image.new("L", (width * SUPERSAMPLING, height * SUPERSAMPLING))
    draw_shapes(ImageDraw.Draw(large), low)
    return Mask(large.reduce(SUPERSAMPLING), tuple(low.tolist()))


def _flat(points, low):
    return ((points - low) * SUPERSAMPLING).ravel().tolist()


def polygons(shapes, size, margin=0):
    """Mask of the union of outlines, each [n, 2] in pixels."""

    def draw_shapes(draw, low):
        for shape in shapes:
            draw.polygon(_flat(shape, low), fill=255)

    return _drawn(np.concatenate(shapes), margin, size, draw_shapes)


def lines(curves, width, size, margin=0):
    """Mask of curves, each [n, 2] in pixels, `width` pixels wide."""

    def draw_shapes(draw, low):
        for curve in curves:
            draw.line(_flat(curve, low), fill=255, width=max(1, round(width * SUPERSAMPLING)))

    return _drawn(np.concatenate(curves), margin + width, size, draw_shapes)


def discs(centres, radii, size):
    """Mask of discs: centres [n, 2] and radii [n] in pixels."""

    def draw_shapes(draw, low):
        for centre, radius in zip(centres, radii, strict=True):
            (x0, y0), (x1, y1) = centre - radius - low, centre + radius - low
            s = SUPERSAMPLING
            draw.ellipse((x0 * s, y0 * s, x1 * s, y1 * s), fill=255)

    return _drawn(np.asarray(centres), max(radii), size, draw_shapes)


class Canvas:
    """A picture in two layers, colour and light, so that shading follows whatever is painted."""

    def __init__(self, background):
        self.colour = background
        self.light = Image.new("L", background.size, NEUTRAL)
        self.size = background.size[0]

    def paint(self, mask, colour, light=None):
        """Colour (and light: an "L" image of the mask's size, or one value; default neutral)."""
        self.colour.paste(tuple(int(c) for c in colour), mask.box, mask.image)
        self.shade(mask, NEUTRAL if light is None else light)

    def shade(self, mask, light):
        self.light.paste(light, mask.box, mask.image)

    def flatten(self):
        """RGB image: light below neutral darkens the colour, light above it lifts it to white."""
        dark = self.light.point([min(255, 142 + int(113 * v / NEUTRAL)) for v in range(256)])
        bright = self.light.point([max(0, int(0.55 * (v - NEUTRAL))) for v in range(256)])
        shaded = ImageChops.multiply(self.colour, Image.merge("RGB", (dark,) * 3))
        return ImageChops.screen(shaded, Image.merge("RGB", (bright,) * 3))


def relief(mask, radius, sun, texture=None, height=1.0, offset=0.0):
    """Light on a shape that bulges like a cushion: an "L" image of the mask's size.

    `radius` is how far the rounding reaches inwards (pixels), `sun` the direction the light comes
    from (x, y down), `texture` a float array in [-1, 1] at least as large as the mask.
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


@functools.lru_cache(maxsize=32)
def feather_tile(angle, pitch, side=420):
    """[side, side] float32 light offsets: overlapping scale-like feathers along `angle` degrees."""
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
def bark_tile(side=420):
    """[side, side] float32 light offsets: streaks along the horizontal, as on bark."""
    rng = np.random.default_rng(11)
    noise = rng.normal(0, 1, (side // 3, side // 22)).astype(np.float32)
    streaks = Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC)
    return 14 * np.asarray(streaks)
