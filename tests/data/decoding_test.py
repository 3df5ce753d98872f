"""Images of every kind are decoded into the expected square, or rejected with a reason."""

import io
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from stackgan_jax.data import picture_files
from stackgan_jax.data.decoding import (
    DamagedImage,
    decode,
    decode_whole,
    published_crop,
    upright_size,
)


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def photograph(width, height, seed=0):
    """A smooth coloured picture."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def quarters(mode="RGB", size=64):
    """Four squares: red and green above blue and black."""
    image = Image.new("RGB", (size, size))
    half = size // 2
    for place, colour in {(0, 0): "red", (half, 0): "lime", (0, half): "blue"}.items():
        image.paste(colour, (*place, place[0] + half, place[1] + half))
    return image.convert(mode)


def test_shrinking_averages_areas():
    pixels = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    picture = decode(encoded(Image.fromarray(pixels)), 10)
    expected = pixels.reshape(10, 6, 10, 9, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(picture.pixels, expected, atol=1)  # rounded twice
    assert (picture.width, picture.height) == (90, 60)


def test_shrinking_a_large_jpeg_averages_areas():
    image = photograph(1024, 1024)
    exact = decode(encoded(image), 64).pixels.astype(int)
    quick = decode(encoded(image, "JPEG", quality=95), 64).pixels
    assert np.abs(exact - quick).mean() < 1


FORMATS = ["PNG", "WEBP", "GIF", "JPEG", "BMP", "TIFF", "MPO", "JPEG2000", "PPM"]
OF_PHONES = ["AVIF", "HEIF"]  # Pillow 11.3 reads the one, the package pillow-heif the other.
EXACTLY = {
    "WEBP": {"lossless": True},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
    "HEIF": {"quality": -1, "chroma": 444},
}


def require_readable(kind):
    if kind not in picture_files.formats():
        pytest.skip(picture_files.PLUGINS[kind])


@pytest.mark.parametrize("kind", [*FORMATS, *OF_PHONES])
def test_every_file_format_is_decoded(kind):
    require_readable("JPEG" if kind == "MPO" else kind)
    pixels = decode(encoded(quarters(), kind, **EXACTLY.get(kind, {})), 4).pixels
    np.testing.assert_allclose(pixels, np.asarray(quarters(size=4)), atol=4)


@pytest.mark.parametrize("mode", ["L", "P", "LA", "RGBA", "1", "CMYK"])
def test_every_colour_mode_becomes_rgb(mode):
    image = quarters(mode)
    pixels = decode(encoded(image, "JPEG" if mode == "CMYK" else "PNG"), 64).pixels
    np.testing.assert_allclose(pixels, np.asarray(image.convert("RGB")), atol=4)


def test_sixteen_bit_grey_becomes_rgb():
    grey = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    pixels = decode(encoded(Image.fromarray(grey)), 64).pixels
    np.testing.assert_allclose(pixels, np.repeat(grey[..., None] / 257, 3, -1), atol=0.51)


def test_floating_point_grey_is_read_from_0_to_1():
    grey = np.linspace(0, 1, 64 * 64, dtype=np.float32).reshape(64, 64)
    pixels = decode(encoded(Image.fromarray(grey), "TIFF"), 64).pixels
    np.testing.assert_allclose(pixels[..., 0], grey * 255, atol=0.51)
    for other in (grey * 255, grey - 0.5, np.full_like(grey, np.nan), np.int32(grey * 1e6)):
        with pytest.raises(DamagedImage, match=r"grey values .* are read"):
            decode(encoded(Image.fromarray(other), "TIFF"), 64)


def test_transparent_pixels_are_composed_over_white():
    image = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    image.putpixel((0, 0), (255, 0, 0, 255))
    image.putpixel((1, 0), (255, 0, 0, 128))
    pixels = decode(encoded(image), 8).pixels
    assert pixels[0, 0].tolist() == [255, 0, 0]
    assert pixels[0, 1].tolist() == [255, 127, 127]
    assert (pixels[4:] == 255).all()
    palette = Image.new("P", (8, 8), 3)
    assert (decode(encoded(palette, "GIF", transparency=3), 8).pixels == 255).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(orientation):
    image = photograph(96, 64)
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(image, "JPEG", exif=exif, quality=95)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    picture = decode(content, 16)
    assert (picture.width, picture.height) == upright.size
    expected = upright.resize((16, 16), Image.Resampling.BOX)
    assert np.abs(picture.pixels.astype(int) - np.asarray(expected)).mean() < 2


@pytest.mark.parametrize("kind", OF_PHONES)
def test_pictures_of_phones_are_turned_once(kind):
    require_readable(kind)
    image, exif = photograph(96, 64), Image.Exif()
    exif[0x0112] = 6
    content = encoded(image, kind, exif=exif.tobytes(), quality=95)
    expected = image.transpose(Image.Transpose.ROTATE_270).resize((16, 16), Image.Resampling.BOX)
    picture = decode(content, 16)
    assert (picture.width, picture.height) == (64, 96) == upright_size(content)[::-1]
    assert np.abs(picture.pixels.astype(int) - np.asarray(expected)).mean() < 3
    assert decode_whole(content).shape == (96, 64, 3)


def test_damaged_metadata_do_not_condemn_the_pixels():
    image, exif = photograph(96, 64), Image.Exif()
    exif[0x0112] = 6
    for kind in ("PNG", "JPEG", "WEBP"):
        content = bytearray(encoded(image, kind, exif=exif, icc_profile=bytes(range(256))))
        sound = decode(bytes(content), 16)
        start = content.find(b"iCCP") if kind == "PNG" else content.find(bytes(range(64)))
        content[start + 20 : start + 40] = b"?" * 20
        picture = decode(bytes(content), 16)
        np.testing.assert_array_equal(picture.pixels, sound.pixels)
        assert (picture.width, picture.height) == (64, 96)
        exif_data = content.find(b"MM\0*")
        content[exif_data : exif_data + 9] = b"?" * 9
        assert decode(bytes(content), 16).pixels.shape == (16, 16, 3)


def test_an_animation_gives_its_first_frame():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime")]
    for kind in ("GIF", "WEBP", "PNG"):
        content = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        assert decode(content, 4).pixels[0, 0, 0] > 240


def test_crop_square_cuts_the_largest_square_at_the_centre():
    image = Image.new("RGB", (120, 40), "red")
    image.paste("blue", (40, 0, 80, 40))
    pixels = decode(encoded(image), 20, "square").pixels
    assert (pixels == [0, 0, 255]).all()


def test_crop_bbox_cuts_the_published_square():
    # 20 high, 40 wide, centre (40, 50), half-side 30.
    assert published_crop(80, 100, (20, 40, 40, 20)) == (10, 20, 70, 80)
    # CUB's first image, 500x335: int((2*60+325)/2) = 222, 179, half-side 243.
    assert published_crop(500, 335, (60.0, 27.0, 325.0, 304.0)) == (0, 0, 465, 335)
    image = photograph(80, 100)
    pixels = decode(encoded(image), 20, "bbox", (20, 40, 40, 20)).pixels
    expected = np.asarray(image)[20:80, 10:70].reshape(20, 3, 20, 3, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(pixels, expected, atol=1)


def test_crop_bbox_follows_jpeg_reduction_and_exif_rotation():
    image = Image.new("RGB", (1600, 800), "white")
    image.paste("red", (1200, 200, 1400, 400))
    content = encoded(image, "JPEG")
    cut = decode(content, 30, "bbox", (1233, 233, 134, 134)).pixels
    np.testing.assert_allclose(cut.mean(axis=(0, 1)), [254, 0, 0], atol=4)
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees: (x, y) is shown at (800 - y, x)
    turned = encoded(image, "JPEG", exif=exif)
    cut = decode(turned, 30, "bbox", (433, 1233, 134, 134)).pixels
    np.testing.assert_allclose(cut.mean(axis=(0, 1)), [254, 0, 0], atol=4)


def bomb():
    """A PNG of a few hundred bytes whose header claims 30,000 x 30,000 pixels."""
    content = bytearray(encoded(Image.new("1", (8, 8))))
    content[16:24] = (30_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("content", "crop", "reason"),
    [
        (b"", "none", "not a JPEG, PNG, WEBP, GIF, BMP, TIFF"),
        (b"<html>404</html>", "none", "not a JPEG"),
        (encoded(photograph(64, 64))[:-300], "none", "truncated"),
        (encoded(photograph(64, 64), "JPEG")[:-300], "none", "truncated"),
        (encoded(Image.new("RGB", (1, 1))), "none", "only 1x1 pixels"),
        (encoded(Image.new("1", (30_000, 3_500))), "none", "more than 100,000,000 pixels"),
        (bomb(), "none", "more than 178,956,970 pixels"),
        (encoded(photograph(64, 64)), "bbox", "no box"),
    ],
)
def test_damaged_images_raise_the_reason(content, crop, reason):
    with pytest.raises(DamagedImage, match=reason):
        decode(content, 8, crop)


@pytest.mark.parametrize("box", [(70, 70, 5, 5), (5, 5, 0, 0), (5, 5, -9, 3), (0, 0, 1, 1)])
def test_an_empty_box_is_rejected(box):
    with pytest.raises(DamagedImage, match="is empty or outside 64x64"):
        decode(encoded(photograph(64, 64)), 8, "bbox", box)


IMAGES = [
    encoded(photograph(20, 30), kind) if kind != "GIF" else encoded(quarters("P"), kind)
    for kind in FORMATS
]


@given(st.sampled_from(IMAGES), st.data())
def test_damaged_bytes_give_a_picture_or_a_reason(content, data):
    content = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    try:
        picture = decode(bytes(content), 6, data.draw(st.sampled_from(("none", "square"))))
    except DamagedImage as damaged:
        assert str(damaged)
    else:
        assert picture.pixels.shape == (6, 6, 3) and picture.pixels.dtype == np.uint8
