"""Drawn birds are deterministic, lie within the frame, and have the colours of their labels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stackgan_jax.data.synthetic_birds import canvas, drawing, skeleton
from stackgan_jax.data.synthetic_birds.attributes import ATTRIBUTES, COLOUR_ATTRIBUTES, COLOURS

BIRD = {name: values[0] for name, values in ATTRIBUTES.items()} | {"direction": "right"}
BIRDS = st.fixed_dictionaries({name: st.sampled_from(v) for name, v in ATTRIBUTES.items()})


def drawn(seed=0, **changes):
    image, box = drawing.draw(BIRD | changes, np.random.default_rng(seed))
    return np.asarray(image, np.int32), box


@settings(max_examples=12)
@given(bird=BIRDS, seed=st.integers(0, 2**32 - 1))
def test_every_bird_can_be_drawn_within_its_frame(bird, seed):
    image, (top, left, bottom, right) = drawing.draw(bird, np.random.default_rng(seed))
    assert image.size == (skeleton.SIZE, skeleton.SIZE) and image.mode == "RGB"
    assert 0.05 < top < bottom <= 1 and 0 <= left < right <= 1
    assert 0.4 < max(bottom - top, right - left) <= 1


def test_a_picture_is_a_function_of_its_bird_and_seed():
    first, again, other = drawn(1)[0], drawn(1)[0], drawn(2)[0]
    assert np.array_equal(first, again)
    assert np.mean(np.abs(first - other)) > 5


def test_facing_left_mirrors_the_picture_and_its_box():
    right, (top, x0, bottom, x1) = drawn(direction="right")
    left, box = drawn(direction="left")
    assert np.array_equal(right[:, ::-1], left)
    assert box == pytest.approx((top, 1 - x1, bottom, 1 - x0))


@pytest.mark.parametrize("part", COLOUR_ATTRIBUTES)
def test_a_colour_attribute_fills_an_area_with_its_colour(part):
    """A new colour of a part changes a region, and the region has that colour."""
    one, two = drawn(**{part: "blue"})[0], drawn(**{part: "yellow"})[0]
    changed = np.abs(one - two).max(-1) > 60
    # In a 64-pixel picture this is an area of at least 6 x 6.
    assert changed.mean() > 36 / 64**2
    for image, colour in ((one, "blue"), (two, "yellow")):
        mean = image[changed].mean(0)
        distances = {name: np.abs(mean - rgb).sum() for name, rgb in COLOURS.items()}
        assert min(distances, key=distances.get) == colour


@pytest.mark.parametrize("attribute", [n for n in ATTRIBUTES if n not in COLOUR_ATTRIBUTES])
def test_every_attribute_changes_the_picture(attribute):
    pictures = [drawn(**{attribute: value})[0] for value in ATTRIBUTES[attribute]]
    for index, picture in enumerate(pictures):
        for other in pictures[:index]:
            assert (np.abs(picture - other).max(-1) > 40).sum() > 40


def test_edges_are_anti_aliased():
    mask = canvas.polygons([np.array([(2.0, 2.0), (20.0, 5.0), (9.0, 21.0)])], 24)
    values = np.asarray(mask.image)
    assert len(np.unique(values)) > 8
    area = abs((20 - 2) * (21 - 2) - (9 - 2) * (5 - 2)) / 2
    assert values.sum() / 255 == pytest.approx(area, rel=0.06)


def test_a_spline_goes_through_its_points():
    points = np.array([(0.0, 0.0), (4.0, 1.0), (5.0, 6.0), (1.0, 3.0)])
    assert np.allclose(canvas.smooth(points, samples=5)[::5], points)
    curve = canvas.smooth(points, closed=False, samples=5)
    assert np.allclose(curve[::5], points) and len(curve) == 16
