"""Pictures as arrays: conversion, resizing, grids and PNG files."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from stackgan_jax.data import images


def test_every_byte_survives_conversion_to_float_and_back():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    np.testing.assert_array_equal(images.to_uint8(images.to_float(levels)), levels)
    assert images.to_float(levels).min() == -1 and images.to_float(levels).max() == 1
    np.testing.assert_array_equal(images.to_uint8(np.array([-7.0, 7.0])), [0, 255])


def test_shrinking_averages_areas():
    picture = np.zeros((4, 4, 3), np.uint8)
    picture[:2, :2] = [[[100]], [[200]]]
    assert images.resize(picture, 2)[0, 0, 0] == 150
    assert images.resize(picture, 2)[1, 1, 0] == 0


@given(
    rows=st.integers(1, 3),
    columns=st.integers(1, 4),
    caption=st.text(max_size=200),
    size=st.sampled_from([8, 31, 64]),
)
def test_a_grid_holds_every_picture_with_any_caption(rows, columns, caption, size):
    picture = np.full((size, size, 3), 7, np.uint8)
    page = images.captioned_grid([[picture] * columns] * rows, [caption] * rows)
    assert (page == 7).all(-1).sum() >= rows * columns * size * size
    assert page.dtype == np.uint8


def test_many_pictures_wrap_into_even_lines():
    picture = np.full((32, 32, 3), 7, np.uint8)
    for count in (8, 9, 40, 100):
        page = images.captioned_grid([[picture] * count])
        height, width, _ = page.shape
        assert width <= 8 * 38 + 6 and height == 6 + 38 * -(-count // 8)
        assert (page == 7).all(-1).sum() == count * 32 * 32


def test_a_long_caption_wraps_and_stays_on_the_page():
    picture = np.full((64, 64, 3), 255, np.uint8)
    for caption in ("a bird that is " * 60, "W" * 500, "鸟" * 300):
        page = images.captioned_grid([[picture]], [caption])
        ink = np.argwhere((page < 128).any(-1))
        assert ink[:, 1].max() < page.shape[1] - images.MARGIN // 2
        assert len(page) - 64 > 5 * 13


def test_save_png_leaves_one_whole_file(tmp_path):
    page = images.captioned_grid([[np.zeros((8, 8, 3), np.uint8)]], ["a bird"], ["Stage I"])
    images.save_png(tmp_path / "page.png", page)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "page.png")), page)
    assert [path.name for path in tmp_path.iterdir()] == ["page.png"]
