"""Decodes an image file into the square picture that training loads.

The squares are those of StackGAN's preprocessing: the bird is cut out by its box, then the cut is
reduced to 76 or 304 pixels.
"""

import contextlib
import dataclasses
import io
import threading

import numpy as np
from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
CROPS = ("none", "square", "bbox")
MAX_PIXELS = 100_000_000  # a larger decoded image is treated as a decompression bomb
LARGE_PIXELS = 16_000_000  # larger images are decoded one at a time, which bounds the memory
MIN_SIDE = 4  # pixels; smaller images (tracking pixels) show nothing

_one_large_image = threading.Lock()
_ORIENTATION = 0x0112  # the EXIF tag
_TRANSPOSES = {  # EXIF orientation → how the image is turned upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
Box = tuple[float, float, float, float]


class DamagedImage(Exception):
    """The image can't be used. The message is the reason; reports print it after "name: "."""


@dataclasses.dataclass(frozen=True)
class Picture:
    """A decoded image.

    Attributes:
      pixels: uint8 `[size, size, 3]`.
      width: of the image after EXIF rotation, before it is cut and resized, in pixels.
      height: likewise.
    """

    pixels: np.ndarray
    width: int
    height: int


def decode(content: bytes, size: int, crop: str = "none", box: Box | None = None) -> Picture:
    """Decodes an image file into a square picture.

    Greyscale, palette and 16-bit images become RGB. Transparent images are composed over white.
    EXIF rotation is applied. An animation gives its first frame. Shrinking averages areas.

    Args:
      content: a JPEG, PNG, WebP or GIF file.
      size: side of the result in pixels.
      crop: "none" squeezes the whole image into the square; "square" cuts the largest square at
        the image's centre; "bbox" cuts the square around the box's centre whose half-side is
        0.75·max(w, h).
      box: (left, top, width, height) in pixels of the image after EXIF rotation, for "bbox".

    Returns:
      The picture.

    Raises:
      DamagedImage: the file is truncated or not an image, the image is too small or too large, or
        the crop needs a box and the box is missing or empty.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            return _decode(image, size, crop, box)
    except DamagedImage:
        raise
    except Image.DecompressionBombError as error:
        raise DamagedImage(f"more than {2 * Image.MAX_IMAGE_PIXELS:,} pixels") from error
    except Image.UnidentifiedImageError as error:
        raise DamagedImage(f"not a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image") from error
    except Exception as error:  # Pillow raises a dozen kinds of errors for damaged bytes
        raise DamagedImage(str(error) or type(error).__name__) from error


def _decode(image: Image.Image, size: int, crop: str, box: Box | None) -> Picture:
    orientation = _orientation(image)
    width, height = image.size[::-1] if orientation in (5, 6, 7, 8) else image.size
    if min(width, height) < MIN_SIDE:
        raise DamagedImage(f"only {width}x{height} pixels")
    cut = _cut(width, height, crop, box)
    # A large JPEG is decoded at 1/2, 1/4 or 1/8, which averages areas, if the cut stays larger
    # than the result.
    needed = size / min(cut[2] - cut[0], cut[3] - cut[1])
    full = image.size
    image.draft(None, (int(full[0] * needed) + 1, int(full[1] * needed) + 1))
    pixels = image.size[0] * image.size[1]
    if pixels > MAX_PIXELS:
        raise DamagedImage(f"{width}x{height} is more than {MAX_PIXELS:,} pixels")
    # A progressive JPEG keeps all its coefficients in memory, however much it is reduced.
    large = max(pixels, width * height // 4) > LARGE_PIXELS
    with _one_large_image if large else contextlib.nullcontext():
        upright = to_rgb(image)
        if orientation in _TRANSPOSES:
            upright = upright.transpose(_TRANSPOSES[orientation])
        return Picture(_resized(upright, width, height, cut, size), width, height)


def _resized(image: Image.Image, width: int, height: int, cut: Box, size: int) -> np.ndarray:
    """Cuts and resizes an upright image, which may be reduced already, to `[size, size, 3]`.

    `cut` is in pixels of the full `width` x `height`.
    """
    across, down = image.size[0] / width, image.size[1] / height
    cut = (cut[0] * across, cut[1] * down, cut[2] * across, cut[3] * down)
    shrinks = min(cut[2] - cut[0], cut[3] - cut[1]) >= size
    method = Image.Resampling.BOX if shrinks else Image.Resampling.BICUBIC
    return np.asarray(image.resize((size, size), method, box=cut))


def to_rgb(image: Image.Image) -> Image.Image:
    """Converts a Pillow image of any mode to RGB: 16 bits to 8, transparency over white.

    Raises:
      DamagedImage: the pixels are floating-point numbers, whose range is not known.
    """
    if image.mode == "F":
        raise DamagedImage("floating-point pixels")
    if image.mode.startswith("I"):  # 16-bit grey
        grey = np.asarray(image, np.float32) / 257
        image = Image.fromarray(np.round(np.clip(grey, 0, 255)).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def published_crop(width: int, height: int, box: Box) -> tuple[int, int, int, int]:
    """Returns the published square around a box in whole pixels: (left, top, right, bottom).

    The centre and the half-side 0.75·max(w, h) are rounded down, and the square is clipped to the
    image, as StackGAN's `custom_crop` does for CUB.

    Args:
      width: of the image in pixels.
      height: of the image in pixels.
      box: (left, top, width, height) in pixels.
    """
    x, y = int(box[0] + box[2] / 2), int(box[1] + box[3] / 2)
    half = int(max(box[2], box[3]) * 0.75)
    return max(0, x - half), max(0, y - half), min(width, x + half), min(height, y + half)


def _cut(width: int, height: int, crop: str, box: Box | None) -> Box:
    """Returns (left, top, right, bottom) of the part of the image that is kept."""
    if crop == "none":
        return 0, 0, width, height
    if crop == "square":
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        return left, top, left + side, top + side
    if box is None:
        raise DamagedImage("no box, which --config.data.crop=bbox needs")
    left, top, right, bottom = published_crop(width, height, box)
    if min(right - left, bottom - top) < MIN_SIDE:
        raise DamagedImage(f"its box {tuple(box)} is empty or outside {width}x{height} pixels")
    return left, top, right, bottom


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except Exception:  # a picture with damaged EXIF data can still be used
        return 1
