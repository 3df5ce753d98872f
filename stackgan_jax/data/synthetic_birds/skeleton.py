"""The geometry of a synthetic bird: positions and outlines of its parts, in pixels."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from stackgan_jax.data.synthetic_birds import canvas

SIZE = 304  # side of the picture in pixels
MARGIN = 26  # pixels between the upper edge of the picture and the bird
Points = np.ndarray | Sequence[tuple[float, float]]

# Pose → tilt of the body, the neck and the head, in degrees. The poses and the builds differ
# little, so that the first minutes of training learn from the colours and not from the places of
# the parts.
_BEND = {"upright": (33, 56, 5), "level": (25, 50, 0), "forward": (16, 43, -8)}
# Size → body height, head radius, neck, legs (in body lengths), and share of the frame that is
# filled.
_BUILD = {
    "small": (0.375, 0.272, 0.15, 0.19, 0.76),
    "medium": (0.362, 0.256, 0.17, 0.22, 0.81),
    "large": (0.350, 0.240, 0.20, 0.26, 0.86),
}


def rotation(degrees: float) -> np.ndarray:
    """Returns the matrix `[2, 2]` that turns counter-clockwise on the screen (y points down)."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[c, s], [-s, c]])


@dataclasses.dataclass
class Skeleton:
    """The places of the parts of a bird that faces right.

    Attributes:
      tilt: of the body in degrees.
      gaze: of the head in degrees.
      height: half the body's height in body lengths.
      unit: one body length in pixels.
      centre: of the body, (x, y) in pixels.
      head: from the body's centre to the head's, (x, y) in body lengths.
      radius: of the head in body lengths.
      legs: their length in body lengths.
    """

    tilt: float
    gaze: float
    height: float
    unit: float = 1.0
    centre: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(2))
    head: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(2))
    radius: float = 0.2
    legs: float = 0.2

    def body(self, points: Points) -> np.ndarray:
        """Converts body coordinates `[n, 2]` to pixels.

        They point forwards (1 is the body's length) and upwards (1 is half its height).
        """
        points = np.asarray(points, np.float64) * (1.0, -self.height)
        return self.centre + self.unit * points @ rotation(self.tilt).T

    def face(self, points: Points) -> np.ndarray:
        """Converts head coordinates `[n, 2]` (forwards, upwards; 1 is its radius) to pixels."""
        points = np.asarray(points, np.float64) * (1.0, -1.0)
        place = self.centre + self.unit * self.head
        return place + self.unit * self.radius * points @ rotation(self.gaze).T

    def around(self, degrees: Sequence[float], reach: float = 1.0) -> np.ndarray:
        """Returns points `[n, 2]` around the head in pixels.

        Args:
          degrees: n angles from the beak upwards.
          reach: distance from the head's centre in head radii.
        """
        radians = np.deg2rad(np.asarray(degrees, np.float64))
        return self.face(np.stack([np.cos(radians), np.sin(radians)], 1) * reach)


def pose_skeleton(bird: Mapping[str, str], rng: np.random.Generator) -> Skeleton:
    """Returns the skeleton of a bird in body lengths (unit 1, centre 0) with a small variation."""
    tilt, neck_angle, gaze = _BEND[bird["pose"]]
    height, radius, neck, legs, _ = _BUILD[bird["size"]]
    skeleton = Skeleton(
        tilt=tilt + rng.normal(0, 1.5),
        gaze=gaze + rng.normal(0, 2.5),
        height=height * rng.uniform(0.95, 1.05),
        radius=radius * rng.uniform(0.96, 1.04),
        legs=legs,
    )
    shoulder = skeleton.body([(0.33, 0.30)])[0]
    radians = np.deg2rad(neck_angle + rng.normal(0, 2.5))
    neck *= rng.uniform(0.9, 1.1)
    skeleton.head = shoulder + neck * np.array([np.cos(radians), -np.sin(radians)])
    return skeleton


def silhouette(bones: Skeleton) -> np.ndarray:
    """Returns the outline `[n, 2]` of head and body as one smooth curve."""
    head = bones.around([16, 52, 92, 132])
    back = bones.body([(0.10, 0.97), (-0.14, 0.90), (-0.36, 0.62), (-0.52, 0.28)])
    belly = bones.body([(-0.52, -0.12), (-0.36, -0.62), (-0.10, -0.98), (0.20, -0.96)])
    breast = bones.body([(0.42, -0.50)])
    nape = 0.62 * bones.around([168], 1.02) + 0.38 * back[:1]
    throat = 0.5 * bones.around([-50], 1.05) + 0.5 * bones.body([(0.45, -0.45)])
    chin = bones.around([-32], 0.98)
    return canvas.smooth(np.concatenate([head, nape, back, belly, breast, throat, chin]))


def _feather(root: np.ndarray, angle: float, length: float, width: float) -> np.ndarray:
    """Returns the outline of one long feather from its root, in pixels; `angle` in degrees."""
    turn = rotation(angle).T
    shape = np.array(
        [
            (0, -0.35),
            (0.5, -0.5),
            (0.9, -0.48),
            (1.0, -0.2),
            (1.0, 0.1),
            (0.92, 0.42),
            (0.5, 0.5),
            (0, 0.35),
        ]
    )
    return canvas.smooth(root + (shape * (length, width)) @ turn, samples=4)


def tail_feathers(
    bird: Mapping[str, str], bones: Skeleton, rng: np.random.Generator
) -> list[np.ndarray]:
    """Returns the outlines of the tail's feathers, from the far side to the near side."""
    spreads = {"short": 5, "long": 3.5, "forked": 12, "fanned": 24}
    lengths = {"short": 0.27, "long": 0.74, "forked": 0.56, "fanned": 0.44}
    angle = 180 + bones.tilt + rng.normal(0, 4) + {"upright": 6}.get(bird["pose"], -4)
    length, spread = lengths[bird["tail"]] * rng.uniform(0.94, 1.06), spreads[bird["tail"]]
    root, width = bones.body([(-0.40, 0.10)])[0], 0.13 + 0.02 * (bird["tail"] == "fanned")
    outlines = []
    for place in (-1.0, 1.0, -0.5, 0.5, 0.0):
        stretch = 1.0 - 0.10 * abs(place)
        if bird["tail"] == "forked":
            stretch = 0.52 + 0.48 * abs(place)
        reach = (length * stretch + 0.14) * bones.unit
        outlines.append(_feather(root, angle + place * spread, reach, width * bones.unit))
    return outlines


def posed(bird: Mapping[str, str], rng: np.random.Generator) -> tuple[Skeleton, list[np.ndarray]]:
    """Returns a bird's skeleton in its place, and `tail_feathers`: the first draws of a picture."""
    bones = pose_skeleton(bird, rng)
    place(bird, bones, rng)
    return bones, tail_feathers(bird, bones, rng)


# Beak shape → outlines of the upper and the lower half, in head coordinates.
_BEAKS = {
    "conical": (
        [(0.78, 0.46), (1.25, 0.34), (1.62, -0.02), (1.2, 0.0), (0.8, 0.02)],
        [(0.8, 0.02), (1.2, 0.0), (1.56, -0.06), (1.2, -0.26), (0.78, -0.32)],
    ),
    "long": (
        [(0.85, 0.24), (1.6, 0.13), (2.45, 0.0), (1.6, 0.0), (0.85, 0.02)],
        [(0.85, 0.02), (1.6, 0.0), (2.38, -0.02), (1.6, -0.10), (0.82, -0.16)],
    ),
    "hooked": (
        [(0.78, 0.42), (1.22, 0.38), (1.58, 0.10), (1.56, -0.34), (1.38, -0.06), (0.8, 0.02)],
        [(0.8, 0.02), (1.1, -0.02), (1.38, -0.08), (1.3, -0.20), (0.78, -0.26)],
    ),
    "curved": (
        [(0.84, 0.28), (1.45, 0.22), (2.0, -0.06), (2.32, -0.50), (1.9, -0.14), (0.84, 0.04)],
        [(0.84, 0.04), (1.4, 0.02), (1.9, -0.14), (2.24, -0.46), (1.8, -0.26), (0.82, -0.14)],
    ),
}


def beak_outlines(bird: Mapping[str, str], bones: Skeleton) -> list[np.ndarray]:
    """Returns the outlines of the upper and the lower half of the beak, in pixels."""
    upper, lower = _BEAKS[bird["beak_shape"]]
    return [canvas.smooth(bones.face(np.array(points)), samples=5) for points in (upper, lower)]


def wing_outline(bones: Skeleton) -> np.ndarray:
    """Returns the outline `[n, 2]` of the wing in pixels."""
    return canvas.smooth(
        bones.body(
            [
                (0.27, 0.05),
                (0.16, 0.30),
                (-0.10, 0.28),
                (-0.40, 0.12),
                (-0.72, -0.06),
                (-0.40, -0.36),
                (-0.10, -0.62),
                (0.14, -0.56),
                (0.25, -0.26),
            ]
        )
    )


def place(bird: Mapping[str, str], bones: Skeleton, rng: np.random.Generator) -> None:
    """Scales the skeleton to the bird's size and moves it near the middle of the picture."""
    bones.unit = SIZE * _BUILD[bird["size"]][-1] * rng.uniform(0.97, 1.03) / 1.62
    bones.centre = SIZE * (np.array([0.48, 0.53]) + rng.normal(0, 0.008, 2))
    low = silhouette(bones).min(0)
    # Training crops a random 256 of the 304 pixels. The margin keeps the head in nearly every
    # crop; the tail may be cut off.
    bones.centre[1] += max(0, MARGIN - low[1])
