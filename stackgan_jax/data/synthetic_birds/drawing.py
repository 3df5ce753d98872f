"""Draws one synthetic bird, part by part, with its colours, plumage, feathers and light."""

import itertools
from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageOps

from stackgan_jax.data.synthetic_birds import canvas, scenery, skeleton, textures
from stackgan_jax.data.synthetic_birds.attributes import BARE_PART_COLOURS, COLOURS, EYE_COLOURS
from stackgan_jax.data.synthetic_birds.skeleton import SIZE

# Direction towards the light: (x, y), y pointing down.
SUN = np.array([-0.5, -0.86])


def _varied(rng: np.random.Generator, colour: canvas.Colour) -> np.ndarray:
    """Returns the colour with small random changes of brightness and, unless it is grey, of hue."""
    colour = np.array(colour, np.float64)
    hue_change = rng.normal(0, 0.035, 3) * np.ptp(colour)
    return np.clip(colour * rng.uniform(0.93, 1.05) + hue_change, 0, 255)


class Painter:
    """Paints one bird on a canvas, part by part from the far side to the near side.

    The order of the calls is the order of the random draws, so it is part of the data set.
    """

    def __init__(
        self,
        bird: Mapping[str, str],
        bones: skeleton.Skeleton,
        picture: canvas.Canvas,
        rng: np.random.Generator,
    ) -> None:
        """Draws the bird's colours.

        Args:
          bird: attribute → value.
          bones: where its parts are.
          picture: the canvas with the scene.
          rng: draws the variations.
        """
        self.bird, self.bones, self.picture, self.rng = bird, bones, picture, rng
        self.colours = {
            part: _varied(rng, COLOURS[bird[part]]) for part in ("crown", "back", "belly", "wings")
        }
        self.tile = textures.feather_tile(round(bones.tilt / 12) * 12, 9)

    def _texture(self) -> np.ndarray:
        """Returns the feather texture from a random offset."""
        x, y = self.rng.integers(0, 90, 2)
        return self.tile[y:, x:]

    def tail(self, outlines: list[np.ndarray]) -> None:
        """Paints the feathers of the tail; outlines `[n, 2]` in pixels."""
        for outline in outlines:
            mask = canvas.polygons([outline], SIZE, margin=2)
            self.picture.paint(
                mask, self.colours["back"], canvas.relief(mask, 4, SUN, height=0.9, offset=-10)
            )

    def legs(self, ground: np.ndarray) -> None:
        """Paints legs and toes down to the ground (x, y)."""
        colour = _varied(self.rng, (96, 74, 60))
        hips = self.bones.body([(-0.06, -0.80), (0.07, -0.84)])
        feet = np.array([(hips[0][0] - 3, ground[1]), (hips[1][0] + 5, ground[1] + 1.5)])
        toes = np.array([(0.10, 0.0), (0.05, 0.0), (-0.06, 0.0)]) * self.bones.unit + (0, 3)
        curves = []
        for hip, foot in zip(hips, feet, strict=True):
            knee = (hip + foot) / 2 - (2.5, 0)
            curves += [np.stack([hip, knee, foot]), *(np.stack([foot, foot + t]) for t in toes)]
        width = 2.6 + self.bones.unit / 60
        mask = canvas.lines(curves, width, SIZE, 2)
        self.picture.paint(mask, colour, canvas.relief(mask, 2, SUN))

    def body(self, outline: np.ndarray) -> canvas.Mask:
        """Paints the whole body in the belly's colour, then back and crown within the outline.

        Returns:
          The mask of the body.
        """
        whole = canvas.polygons([outline], SIZE, margin=8)
        self.picture.shade(whole.blurred(4).faded(0.45), 60)
        light = canvas.relief(whole, 20, SUN, self._texture(), height=1.35)
        self.picture.paint(whole, self.colours["belly"], light)
        nape = self.bones.around([172, 200, 215], 0.98)
        upper = self.bones.body([(0.10, 0.30), (-0.2, 0.0), (-0.5, -0.05), (-0.75, 0.3)])
        outside = self.bones.body([(-0.5, 1.3), (0.0, 1.5)])
        back = canvas.smooth(np.concatenate([nape, upper, outside, self.bones.around([150], 1.3)]))
        self._region(back, "back", whole, 1.6)
        face = self.bones.face(
            [(1.3, 0.06), (0.85, 0.02), (0.3, -0.16), (-0.4, -0.20), (-0.9, -0.42)]
        )
        over = self.bones.face([(-1.5, -0.2), (-1.3, 1.2), (0.0, 1.6), (1.4, 1.0)])
        self._region(canvas.smooth(np.concatenate([face, over])), "crown", whole, 0.9)
        return whole

    def _region(self, outline: np.ndarray, part: str, whole: canvas.Mask, softness: float) -> None:
        """Colours a region of the body, but keeps its light; `softness` blurs the edge (pixels)."""
        mask = canvas.polygons([outline], SIZE, margin=6).blurred(softness).within(whole)
        self.picture.colour.paste(tuple(int(c) for c in self.colours[part]), mask.box, mask.image)

    def markings(self, whole: canvas.Mask) -> None:
        """Paints spots or streaks on breast and belly, if the bird has any."""
        if self.bird["pattern"] not in ("spotted", "streaked"):
            return
        grid = np.array(
            [(u, v) for u in np.arange(-0.4, 0.5, 0.105) for v in np.arange(-0.9, 0.2, 0.24)]
        )
        grid[1::2, 0] += 0.03
        grid = grid + self.rng.normal(0, 0.018, grid.shape)
        places = self.bones.body(grid)
        dark = np.mean(COLOURS[self.bird["belly"]]) > 75
        if self.bird["pattern"] == "spotted":
            radii = self.bones.unit * self.rng.uniform(0.014, 0.022, len(places))
            mask = canvas.discs(places, radii, SIZE)
        else:
            turn = skeleton.rotation(self.bones.tilt).T
            reach = np.array([self.bones.unit * 0.038, 0]) @ turn
            mask = canvas.lines([np.stack([p - reach, p + reach]) for p in places], 2.6, SIZE)
        mask = mask.within(whole)
        self.picture.paint(mask.faded(0.85), (52, 40, 34) if dark else (214, 210, 200))

    def wing(self) -> None:
        """Paints the wing with its feathers, and bars if the bird has any."""
        outline = skeleton.wing_outline(self.bones)
        mask = canvas.polygons([outline], SIZE, margin=6)
        self.picture.shade(mask.blurred(3).faded(0.5), 70)
        light = canvas.relief(mask, 11, SUN, self._texture(), height=1.2)
        self.picture.paint(mask, self.colours["wings"], light)
        quills, edges = self._quills()
        coverts = self._coverts()
        self.picture.shade(canvas.lines(coverts, 1.4, SIZE, 2).within(mask).faded(0.5), 66)
        self.picture.shade(canvas.lines(quills, 1.5, SIZE, 2).within(mask).faded(0.75), 62)
        self.picture.shade(canvas.lines(edges, 1.0, SIZE, 2).within(mask).faded(0.6), 190)
        if self.bird["pattern"] == "wing_bars":
            self._bars(mask)

    def _quills(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Returns the dark gaps between the flight feathers and the light edges next to them."""
        tip = np.array([-0.72, 0.0])
        starts = [(-0.10, 0.26), (-0.12, 0.10), (-0.13, -0.06), (-0.13, -0.22), (-0.12, -0.38)]
        quills, edges = [], []
        for index, start in enumerate(starts):
            end = tip + np.array([0.055, -0.045]) * index
            middle = (np.array(start) + end) / 2 + (0, -0.05)
            curve = np.array([start, middle, end])
            quills.append(canvas.smooth(self.bones.body(curve), closed=False, samples=5))
            edges.append(quills[-1] + (0.6, 1.5))
        return quills, edges

    def _coverts(self) -> list[np.ndarray]:
        """Returns the scalloped rims of the small feathers that cover the front of the wing."""
        rims = []
        for offset, count in ((0.0, 6), (0.11, 5), (0.21, 4)):
            places = np.linspace((-0.10 + offset, 0.42), (-0.10 + offset, -0.48), count + 1)
            places[:, 0] -= 0.07 * (1 - (places[:, 1] / 0.5) ** 2)
            for low, high in itertools.pairwise(places):
                lobe = low + (high - low) * np.array([[0.0], [0.12], [0.5], [0.88], [1.0]])
                lobe[:, 0] -= (0.0, 0.035, 0.06, 0.035, 0.0)
                rims.append(canvas.smooth(self.bones.body(lobe), closed=False, samples=4))
        return rims

    def _bars(self, mask: canvas.Mask) -> None:
        """Paints two bars across the wing."""
        pale = np.mean(COLOURS[self.bird["wings"]]) < 180
        curves = [
            canvas.smooth(self.bones.body(points), closed=False)
            for points in (
                [(0.10, 0.48), (0.05, 0.10), (0.08, -0.30), (0.12, -0.46)],
                [(-0.08, 0.46), (-0.13, 0.05), (-0.10, -0.32), (-0.06, -0.50)],
            )
        ]
        bars = canvas.lines(curves, 0.042 * self.bones.unit, SIZE, 2).within(mask)
        self.picture.paint(bars, (246, 244, 236) if pale else (46, 42, 44))

    def beak(self) -> None:
        """Paints the beak, the lower half first."""
        colour = _varied(self.rng, BARE_PART_COLOURS[self.bird["beak"]])
        upper, lower = skeleton.beak_outlines(self.bird, self.bones)
        for outline, offset in ((lower, -26), (upper, 6)):
            mask = canvas.polygons([outline], SIZE, margin=2)
            self.picture.paint(mask, colour, canvas.relief(mask, 4, SUN, offset=offset))

    def eye(self) -> None:
        """Paints the eye with its ring, pupil and highlight."""
        radius = 0.17 * self.bones.radius * self.bones.unit + 1.4
        centre = self.bones.face([(0.36, 0.14)])
        ring = canvas.discs(centre, [radius * 1.22], SIZE)
        dark = np.mean(COLOURS[self.bird["crown"]]) < 110
        self.picture.paint(ring.faded(0.8), (196, 192, 184) if dark else (64, 56, 50))
        self.picture.paint(canvas.discs(centre, [radius], SIZE), EYE_COLOURS[self.bird["eyes"]])
        self.picture.paint(canvas.discs(centre, [radius * 0.58], SIZE), (14, 12, 12))
        glint = centre + np.array([-0.32, -0.36]) * radius
        self.picture.paint(canvas.discs(glint, [radius * 0.27], SIZE), (255, 255, 255))


def draw(
    bird: Mapping[str, str], rng: np.random.Generator
) -> tuple[Image.Image, tuple[float, float, float, float]]:
    """Draws a bird.

    Args:
      bird: attribute → value, every attribute of `attributes.ATTRIBUTES`.
      rng: the picture is a function of its state and `bird`.

    Returns:
      RGB image of 304 x 304 pixels, bounding box (ymin, xmin, ymax, xmax) in [0, 1].
    """
    bones, feathers = skeleton.posed(bird, rng)
    outline = skeleton.silhouette(bones)
    hip = bones.body([(0.0, -0.9)])[0]
    feet = np.array([hip[0] + 1, hip[1] + bones.legs * bones.unit])
    picture = scenery.paint(bird["background"], rng, SIZE, feet, SUN)
    painter = Painter(bird, bones, picture, rng)
    scenery.contact_shadow(bird["background"], picture, feet)
    painter.tail(feathers)
    painter.legs(feet)
    painter.beak()
    whole = painter.body(outline)
    painter.markings(whole)
    painter.wing()
    painter.eye()
    scenery.foreground(bird["background"], picture, rng, feet)
    parts = [outline, *feathers, *skeleton.beak_outlines(bird, bones), feet[None] + (0, 6)]
    return _facing(bird["direction"], picture.flatten(), np.concatenate(parts))


def _facing(
    direction: str, image: Image.Image, points: np.ndarray
) -> tuple[Image.Image, tuple[float, float, float, float]]:
    """Returns the image, mirrored if the bird faces left, and the bounding box of its points."""
    (x0, y0), (x1, y1) = np.clip(points.min(0) / SIZE, 0, 1), np.clip(points.max(0) / SIZE, 0, 1)
    if direction == "left":
        image, x0, x1 = ImageOps.mirror(image), 1 - x1, 1 - x0
    return image, (float(y0), float(x0), float(y1), float(x1))
